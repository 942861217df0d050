// The page of `capi eval viz`: every picture with what it shows, beside the files that it reads from its own folder.
import { fileLink, escapeHtml as h } from './escape.js';
import { PICTURES_SCRIPT, PICTURES_STYLE } from './pictures_style.js';
import { contentPolicy } from './policy.js';

/** Files of one projection of one image. */
interface Components {
  rgb: string;
  heatmaps: readonly string[];
  signs: readonly string[];
}

/** Files of one image of one encoder, relative to the page. */
export interface PageImage {
  index: number;
  name: string;
  image: string;
  own: Components & { explained: readonly number[] };
  joint: Components;
  prototypes?: string;
}

export interface PageEncoder {
  /** As typed: what the page calls it. */
  label: string;
  /** What opens it again. */
  name: string;
  weightsHash: string;
  /** Height and width in pixels. */
  size: { height: number; width: number };
  patch: number;
  grid: { rows: number; columns: number };
  images: readonly PageImage[];
  jointExplained: readonly number[];
  grids: readonly { title: string; file: string }[];
  prototypes?: {
    count: number;
    used: number;
    sheet: string;
    rows: readonly {
      index: number;
      patches: number;
      share: number;
      file: string;
      nearest: readonly { index: number; row: number; column: number; probability: number }[];
    }[];
  };
  /** What was left out, and why. */
  notes: readonly string[];
}

export interface PicturesPage {
  command: string;
  /** Name and value of what decided the pictures. */
  settings: readonly (readonly [string, string])[];
  encoders: readonly PageEncoder[];
  /** Names of the sign variants, as `heatmaps` and `signs` are ordered. */
  signNames: readonly string[];
  /** CSS colours of the diverging scale from -2.3 to 2.3. */
  scale: readonly string[];
}

/** Pictures that a page loads at once; a larger page loads them as they come into sight. */
const EAGER = 600;

/** The page as one HTML text; its pictures are relative links. */
export function picturesPage(page: PicturesPage): string {
  const count = page.encoders.reduce((sum, e) => sum + e.images.reduce((n, i) => n + picturesOf(i), 0), 0);
  const lazy = count > EAGER ? ' loading="lazy"' : '';
  const title = `Patch features of ${page.encoders.map((e) => e.label).join(', ')}`;
  const hasPrototypes = page.encoders.some((e) => e.prototypes);
  const style = styleOf(page);
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
${contentPolicy({ style, script: PICTURES_SCRIPT, pictures: 'beside' })}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${h(title)}</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
<header>
<h1>${h(title)}</h1>
<p class="missing" role="alert">Some pictures are not beside this page. Move the page together with its folder.</p>
<pre>${h(page.command)}</pre>
${settingsTable(page)}
${encoderTable(page.encoders)}
</header>
${reading(page, hasPrototypes)}
${controls(hasPrototypes)}
<main>
<h2 id="images">Images</h2>
${imageArticles(page, lazy)}
${page.encoders.map((e) => prototypeSection(e)).join('')}
${gridSection(page.encoders)}
</main>
<dialog aria-label="Enlarged picture">
<img alt="">
<p></p>
<div class="keys"><button type="button" data-do="before">← Previous</button><button type="button" data-do="next" autofocus>Next →</button><button type="button" data-do="close">Close</button></div>
</dialog>
<script>${PICTURES_SCRIPT}</script>
</body>
</html>
`;
}

/** The style with what depends on the page: its policy allows no style in an attribute. */
function styleOf({ encoders, scale }: PicturesPage): string {
  const across = encoders.reduce((n, e) => n + (e.prototypes ? 3 : 2), 1);
  const colours = scale.filter((colour) => /^[\w#(), .%-]+$/.test(colour)).join(', ');
  return `${PICTURES_STYLE}.images { --across: ${across}; }\n.scale span { background: linear-gradient(to right, ${colours}); }\n`;
}

const picturesOf = (i: PageImage): number =>
  4 + i.own.heatmaps.length + i.own.signs.length + i.joint.heatmaps.length + i.joint.signs.length;

function settingsTable({ settings }: PicturesPage): string {
  const rows = settings.map(
    ([name, value]) => `<tr><th scope="row">${h(name)}</th><td>${h(value)}</td></tr>`,
  );
  return `<div class="scroll"><table class="facts">${rows.join('')}</table></div>`;
}

function encoderTable(encoders: readonly PageEncoder[]): string {
  const head = [
    'Encoder',
    'Weights (SHA-256)',
    'Input',
    'Patches',
    'Variance in 3 joint components',
    'Prototypes in use',
  ];
  const rows = encoders.map((e) => {
    const three = e.jointExplained.slice(0, 3).reduce((a, b) => a + b, 0);
    const used = e.prototypes ? `${e.prototypes.used} of ${e.prototypes.count}` : '–';
    const cells = [
      h(e.name),
      `<code title="${h(e.weightsHash)}">${h(e.weightsHash.slice(0, 16))}</code>`,
      `${e.size.height} × ${e.size.width} px`,
      `${e.grid.rows} × ${e.grid.columns} of ${e.patch} px`,
      percent(three),
      used,
    ];
    return `<tr>${cells.map((c) => `<td>${c}</td>`).join('')}</tr>`;
  });
  const notes = encoders.flatMap((e) => e.notes.map((n) => `<p class="quiet">${h(e.label)}: ${h(n)}</p>`));
  const heads = head.map((t) => `<th scope="col">${h(t)}</th>`).join('');
  return `<div class="scroll"><table><thead><tr>${heads}</tr></thead><tbody>${rows.join('')}</tbody></table></div>${notes.join('')}`;
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function reading(page: PicturesPage, hasPrototypes: boolean): string {
  const heat = page.encoders.some((e) => e.images.some((i) => i.own.heatmaps.length > 0));
  const scale = heat
    ? `<div class="scale">−2.3 <span role="img" aria-label="Diverging scale from blue through white to red"></span> 2.3 standard deviations</div>`
    : '';
  const prototypes = hasPrototypes
    ? '<p><strong>Prototypes</strong>: each patch in the colour of the prototype that it prefers. A prototype has the same colour everywhere.</p>'
    : '';
  return `<details><summary>How to read the pictures</summary>
<p><strong>PCA of each image</strong>: the first three whitened principal components of the image's own patches as red, green and blue, clipped at ±2.3 standard deviations. Equal colours in one picture are similar features; colours of different pictures have nothing to do with each other.</p>
<p><strong>PCA of all images</strong>: the same with components of all patches of all images together, so that colours mean the same in every picture of an encoder.</p>
<p>A component points the way in which it is skewed: few patches lie high, many low.</p>
${prototypes}${scale}
<p class="quiet">Enlarge a picture with a click or Enter; ← and → go on, Esc closes.</p></details>`;
}

function controls(hasPrototypes: boolean): string {
  const kinds = [
    ['image', 'Image'],
    ['own', 'PCA of each image'],
    ['joint', 'PCA of all images'],
    ...(hasPrototypes ? [['prototypes', 'Prototypes']] : []),
  ];
  const boxes = kinds.map(
    ([value, text]) => `<label><input type="checkbox" value="${value}" checked> ${text}</label>`,
  );
  return `<div class="bar" role="group" aria-label="What is shown">${boxes.join('')}<label>Size <input type="range" min="64" max="448" step="8" value="144"></label></div>`;
}

function imageArticles(page: PicturesPage, lazy: string): string {
  const articles = page.encoders[0]!.images.map(({ index, name }, position) => {
    const label = name === String(index) ? `Image ${index}` : `Image ${index}: ${name}`;
    const parts = page.encoders.map((e) => encoderPart(page, e, position, label, lazy));
    const more = page.encoders.map((e) => moreOf(page, e, position, label, lazy)).join('');
    const details = more && `<details><summary>Heat maps and sign variants</summary>${more}</details>`;
    return `<article aria-label="${h(label)}"><h3>${h(label)}</h3><div class="row">${parts.join('')}</div>${details}</article>\n`;
  });
  return `<div class="images">${articles.join('')}</div>`;
}

/** The pictures that every image has: itself, unless an encoder before saw the same one, and what the encoder makes of it. */
function encoderPart(
  page: PicturesPage,
  e: PageEncoder,
  position: number,
  label: string,
  lazy: string,
): string {
  const image = e.images[position]!;
  const [first] = page.encoders;
  const seen = e !== first && first!.images[position]!.image === image.image;
  const tile = (kind: string, file: string, caption: string, photo = false): string =>
    figure(e, file, `${caption}. ${labelOf(page, e, label)}`, caption, lazy, { kind, photo });
  const photo = seen ? '' : tile('image', image.image, 'Image', true);
  const tiles = [
    tile('own', image.own.rgb, 'PCA of this image'),
    tile('joint', image.joint.rgb, 'PCA of all images'),
    image.prototypes ? tile('prototypes', image.prototypes, 'Prototypes') : '',
  ];
  if (page.encoders.length === 1) return photo + tiles.join('');
  return `${photo}<section class="encoder"><div class="label">${h(e.label)}</div><div class="row">${tiles.join('')}</div></section>`;
}

const labelOf = (page: PicturesPage, e: PageEncoder, label: string): string =>
  page.encoders.length > 1 ? `${label}, ${e.label}` : label;

/** Heat maps and sign variants, where they were asked for. */
function moreOf(page: PicturesPage, e: PageEncoder, position: number, label: string, lazy: string): string {
  const image = e.images[position]!;
  const component = (shares: readonly number[]) => (i: number) =>
    `Component ${i + 1} (${percent(shares[i] ?? 0)})`;
  const signs = (i: number): string => `Signs ${page.signNames[i]}`;
  const sets: [string, readonly string[], string, (i: number) => string][] = [
    ['own', image.own.heatmaps, 'Heat maps of this image', component(image.own.explained)],
    ['joint', image.joint.heatmaps, 'Heat maps of all images', component(e.jointExplained)],
    ['own', image.own.signs, 'Sign variants of this image', signs],
    ['joint', image.joint.signs, 'Sign variants of all images', signs],
  ];
  const of = labelOf(page, e, label);
  return sets
    .filter(([, files]) => files.length > 0)
    .map(([kind, files, text, caption]) => {
      const tiles = files.map((f, i) => figure(e, f, `${text}: ${caption(i)}. ${of}`, caption(i), lazy, {}));
      const head = page.encoders.length > 1 ? `${text}, ${e.label}` : text;
      return `<section data-kind="${kind}"><div class="label">${h(head)}</div><div class="row small">${tiles.join('')}</div></section>`;
    })
    .join('');
}

function figure(
  e: PageEncoder,
  file: string,
  alt: string,
  caption: string,
  lazy: string,
  o: { kind?: string; photo?: boolean },
): string {
  const kind = o.kind ? ` data-kind="${o.kind}"` : '';
  const photo = o.photo ? ' class="photo"' : '';
  return `<figure${kind}><button type="button" class="tile"><img src="${fileLink(file)}" alt="${h(alt)}" width="${e.size.width}" height="${e.size.height}"${photo}${lazy} decoding="async"></button><figcaption>${h(caption)}</figcaption></figure>`;
}

function prototypeSection(e: PageEncoder): string {
  if (!e.prototypes) return '';
  const { rows, used, count, sheet } = e.prototypes;
  const strips = rows.map((r) => {
    const places = r.nearest.map((n) => `image ${n.index} (row ${n.row + 1}, column ${n.column + 1})`);
    const alt = `Patches nearest to prototype ${r.index}, nearest first: ${places.join(', ')}`;
    const best = r.nearest[0]?.probability ?? 0;
    const last = r.nearest.at(-1)?.probability ?? 0;
    return `<div class="strip"><div class="what"><strong>${r.index}</strong><br>${percent(r.share)} of patches<br><span class="quiet">probability ${best.toFixed(2)} to ${last.toFixed(2)}</span></div><img src="${fileLink(r.file)}" alt="${h(alt)}" decoding="async"></div>`;
  });
  return `<h2>Prototypes of ${h(e.label)}</h2>
<p class="quiet">${used} of ${count} prototypes are the first choice of some patch. The ${rows.length} most used, each with the patches nearest to it (framed): those where the clustering layer is surest of it, at most one of each image, the surest first. <a href="${fileLink(sheet)}">All in one picture</a></p>
${strips.join('\n')}
`;
}

function gridSection(encoders: readonly PageEncoder[]): string {
  const lists = encoders.map((e) => {
    const links = e.grids.map((g) => `<li><a href="${fileLink(g.file)}">${h(g.title)}</a></li>`);
    return `<h3>${h(e.label)}</h3><ul>${links.join('')}</ul>`;
  });
  return `<h2>Grids</h2>${lists.join('')}`;
}
