// Style and script of the picture page, put into it whole: the page opens from a folder, without server or network.

export const PICTURES_STYLE = `
:root { color-scheme: light dark; --tile: 144px; --line: #d5d5d5; --quiet: #595959; --paper: #fff; --ink: #1a1a1a; --accent: #0b57d0; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3d3d3d; --quiet: #ababab; --paper: #161616; --ink: #ececec; --accent: #8ab4f8; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem clamp(0.75rem, 3vw, 2.5rem) 4rem; max-width: 110rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 0.25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 0.5rem; }
h3 { font-size: 0.95rem; margin: 0 0 0.4rem; font-weight: 600; }
p { max-width: 48rem; margin: 0.4rem 0; }
a { color: var(--accent); }
code, .mono { font: 0.86em/1.45 ui-monospace, monospace; }
pre { margin: 0.5rem 0; padding: 0.6rem 0.8rem; border: 1px solid var(--line); border-radius: 6px; white-space: pre-wrap; }
.quiet, figcaption, th { color: var(--quiet); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.92rem; margin: 0.75rem 0; }
th, td { text-align: left; padding: 0.3rem 1.4rem 0.3rem 0; border-bottom: 1px solid var(--line); font-weight: 400; vertical-align: top;
  white-space: nowrap; }
.facts td { white-space: normal; }
.bar { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; align-items: center; margin: 1rem 0;
  padding: 0.5rem 0; background: var(--paper); border-bottom: 1px solid var(--line); font-size: 0.92rem; }
.bar label { display: inline-flex; gap: 0.4rem; align-items: center; min-height: 2rem; }
.bar input[type="range"] { width: 8rem; }
.images { display: grid; gap: 1.6rem 2rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, calc(var(--across) * (var(--tile) + 0.6rem))), 1fr)); }
article { min-width: 0; }
.encoder { max-width: 100%; }
.row { display: flex; flex-wrap: wrap; gap: 0.6rem; margin: 0.3rem 0; align-items: flex-start; }
.label { font-size: 0.85rem; color: var(--quiet); }
.encoder > .row { margin: 0; }
.row > figure[data-kind="image"]:has(+ .encoder) { align-self: flex-end; }
figure { margin: 0; width: var(--tile); max-width: 100%; }
figcaption { font-size: 0.78rem; line-height: 1.3; padding-top: 0.2rem; }
.tile { display: block; width: 100%; padding: 0; border: 0; background: none; cursor: zoom-in; border-radius: 3px; }
.tile img { display: block; width: 100%; height: auto; border-radius: 3px; image-rendering: pixelated; }
.tile img.photo { image-rendering: auto; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.small { --tile: 112px; }
.small figure { width: 112px; }
summary { cursor: pointer; font-size: 0.88rem; color: var(--quiet); min-height: 1.8rem; }
.hide-image [data-kind="image"], .hide-own [data-kind="own"], .hide-joint [data-kind="joint"], .hide-prototypes [data-kind="prototypes"] { display: none; }
.scale { display: flex; align-items: center; gap: 0.6rem; max-width: 26rem; font-size: 0.85rem; }
.scale span { flex: 1; height: 0.9rem; border-radius: 3px; }
.strip { display: flex; gap: 0.8rem; align-items: center; margin: 0.5rem 0; flex-wrap: wrap; }
.strip .what { width: 9.5rem; font-size: 0.85rem; }
.strip img { display: block; max-width: 100%; height: auto; }
.missing { display: none; padding: 0.5rem 0.8rem; border: 2px solid #c5221f; border-radius: 6px; }
[data-pictures="missing"] .missing { display: block; }
dialog { width: min(94vw, 70rem); max-height: 96vh; border: 1px solid var(--line); border-radius: 8px; padding: 1rem; background: var(--paper); color: var(--ink); }
dialog::backdrop { background: rgb(0 0 0 / 0.75); }
dialog img { display: block; margin: 0 auto; width: min(100%, 74vh); height: auto; image-rendering: pixelated; }
dialog img.photo { image-rendering: auto; }
dialog p { text-align: center; max-width: none; }
dialog .keys { display: flex; justify-content: center; gap: 0.6rem; }
dialog button { font: inherit; padding: 0.35rem 0.9rem; }
@media print { .bar, dialog { display: none; } article { break-inside: avoid; } }
`;

export const PICTURES_SCRIPT = `
const root = document.documentElement;
for (const box of document.querySelectorAll('.bar input[type="checkbox"]')) {
  box.addEventListener('change', () => document.body.classList.toggle('hide-' + box.value, !box.checked));
}
const size = document.querySelector('.bar input[type="range"]');
size.addEventListener('input', () => root.style.setProperty('--tile', size.value + 'px'));

const dialog = document.querySelector('dialog');
const large = dialog.querySelector('img');
const text = dialog.querySelector('p');
let at = 0;
// Those in a closed part of the page are passed over.
const shown = (tile) => (tile.checkVisibility ? tile.checkVisibility() : tile.offsetParent !== null);
const tiles = () => [...document.querySelectorAll('.tile')].filter(shown);
function show(list, i) {
  at = (i + list.length) % list.length;
  const img = list[at].querySelector('img');
  large.src = img.src;
  large.alt = img.alt;
  large.className = img.className;
  text.textContent = img.alt;
}
for (const tile of document.querySelectorAll('.tile')) {
  tile.addEventListener('click', () => {
    const list = tiles();
    show(list, list.indexOf(tile));
    dialog.showModal();
  });
}
const step = (by) => show(tiles(), at + by);
dialog.addEventListener('keydown', (event) => {
  if (event.key === 'ArrowRight' || event.key === 'ArrowLeft') step(event.key === 'ArrowRight' ? 1 : -1);
});
dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener('close', () => { tiles()[at]?.focus(); });
dialog.querySelector('[data-do="before"]').addEventListener('click', () => step(-1));
dialog.querySelector('[data-do="next"]').addEventListener('click', () => step(1));
dialog.querySelector('[data-do="close"]').addEventListener('click', () => dialog.close());

// Says so when the page was moved without its pictures; lazily loaded ones report when they come.
const missing = () => { root.dataset.pictures = 'missing'; };
addEventListener('error', (event) => { if (event.target instanceof HTMLImageElement) missing(); }, true);
addEventListener('load', () => {
  const all = [...document.images].filter((img) => img !== large);
  if (all.some((img) => img.complete && img.naturalWidth === 0 && img.loading !== 'lazy')) missing();
  root.dataset.pictures ??= 'loaded';
});
`;
