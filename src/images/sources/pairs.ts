// `pairs:IMAGES,MAPS`: anyone's images and their label maps or depth maps, in two folders with the same names.

import { join, relative, resolve } from 'node:path';
import { shown } from '../../base/text.js';
import { DataError, UsageError } from '../../errors.js';
import type { ImageSource, LeftOut, SourceKind, SourceOptions, SourceUri, Split } from '../source.js';
import { depthMapSource } from './files/depth_maps.js';
import { HOLD_OUT_OPTIONS, heldOut, holdOutOption, holdOutSettings } from './files/hold_out.js';
import { problem, readText } from './files/label_file.js';
import { labelMapSource } from './files/label_maps.js';
import { checkFolder, listFolder, sameForm } from './files/listing.js';
import { MAP_FILES, pairFiles } from './files/map_files.js';
import { askedPart, choosePart, findParts, isDivided, lacksPart, PART_OPTIONS } from './files/parts.js';
import { canonicalUri, numberOption, RANGE_OPTION, rangeOption } from './uri.js';

export const pairs: SourceKind = {
  reads: 'two folders: images, and label maps (PNG) or depth maps (PNG, .npy) of the same names',
  place: 'IMAGES,MAPS',
  example: 'pairs:/data/images,/data/labels?classes=21&ignore=255',
  options: {
    ...PART_OPTIONS,
    classes: 'N: labels go from 0 to N - 1',
    names: 'a file with the name of a label a line, from 0 on; it stands for classes',
    ignore: 'labels that no score counts, joined by commas; 255 where it is not given',
    depth: 'METRES: the maps hold depth in units of so many metres, such as 0.001 for millimetres',
    ...HOLD_OUT_OPTIONS,
    ...RANGE_OPTION,
  },
  open,
};

/**
 * Opens two folders whose files have the same paths but for the ending: images of any kind that can be decoded, label maps as PNG.
 * `classes=N` says that labels go from 0 to N - 1, `names=FILE` names them, one a line from label 0 on; one of the two is needed.
 * `ignore=0,255` are the labels that no score counts (default 255, `ignore=` for none). With `depth=0.001` instead the maps hold depth in units of so many
 * metres: greyscale PNG of up to 16 bits or NumPy arrays, 0 where nothing was measured (see decodeDepthMap). `train/`, `val/` and `test/` inside both folders are splits (in
 * any case, see findParts); without them there is one, `all`, of which `holdout=0.2` makes two. Names are compared in one Unicode form.
 * `range=0,4095` says which values of images of 16 bits or floats are black and white. Throws UsageError for bad options, DataError for files that do not match.
 */
async function open(uri: SourceUri, options: SourceOptions): Promise<ImageSource> {
  const { places } = uri;
  const holdOut = holdOutOption(uri);
  if (places.length !== 2 || places.includes('')) {
    throw new UsageError(
      `Image source '${uri.text}' must name two folders joined by one comma, pairs:IMAGES,MAPS (a comma of a name is written %2C)`,
    );
  }
  const depth = depthOption(uri);
  const kind = depth === undefined ? 'label map' : 'depth map';
  const ignoreLabels = ignoreOption(uri);
  const range = rangeOption(uri);
  const classes = depth === undefined ? await classNames(uri) : undefined;
  const [imageRoot, mapRoot] = places.map((place) => resolve(place)) as [string, string];
  await checkFolder(imageRoot);
  await checkFolder(mapRoot);
  const found = await findSplit(uri, imageRoot, mapRoot, options);
  const { images, maps, beside } = found;
  if (holdOut && found.split !== 'all') {
    throw new UsageError(
      `Image source '${uri.text}' holds images out, but its folders have parts of their own: leave out holdout`,
    );
  }
  const split = holdOut ? (found.asked ?? 'train') : found.split;
  const listed = [await listFolder(images), await listFolder(maps, MAP_FILES[kind].endings)] as const;
  const files = { images: listed[0].files, maps: listed[1].files };
  if (files.images.length === 0 && files.maps.length === 0) {
    throw new DataError(`${shown(images)} and ${shown(maps)} hold no images`, { images, label_maps: maps });
  }
  const mapsFrom = relative(images, maps);
  const names = uri.query.get('names');
  const all = pairFiles({ images, maps }, files, undefined, kind);
  const chosen = holdOut
    ? heldOut(
        all.map(({ image }) => image),
        undefined,
        holdOut,
        split as 'train' | 'test',
      ).map((i) => all[i]!)
    : all;
  if (chosen.length === 0) {
    throw new DataError(`${uri.text} leaves no ${split} images of ${all.length}: change holdout`);
  }
  const held = holdOutSettings(holdOut);
  const made = {
    uri: canonicalUri('pairs', [imageRoot, mapRoot], {
      split: holdOut ? split : found.name,
      depth,
      classes: names === undefined ? classes?.length : undefined,
      names: names === undefined ? undefined : resolve(names),
      ignore: classes && ignoreLabels.join(','),
      parts: uri.query.get('parts'),
      range: range?.join(','),
      ...held,
    }),
    split,
    root: images,
    pairs: chosen.map(({ image, map }) => ({ image, map: join(mapsFrom, map) })),
    range,
  };
  const source = classes ? labelMapSource({ ...made, classes, ignoreLabels }) : depthMapSource(made, depth!);
  return {
    ...source,
    leftOut: [...beside, ...listed[0].leftOut, ...listed[1].leftOut],
    settings: { ...source.settings, ...held },
  };
}

/** The folders of the split that is asked for (both sides are divided, or neither), what was asked for, and the split's name in the canonical URI. */
async function findSplit(
  uri: SourceUri,
  imageRoot: string,
  mapRoot: string,
  options: SourceOptions,
): Promise<{
  split: Split;
  images: string;
  maps: string;
  asked?: 'train' | 'test';
  name?: string;
  beside: LeftOut[];
}> {
  const asked = askedPart(uri, options.split);
  const [ofImages, ofMaps] = [await findParts(imageRoot, uri), await findParts(mapRoot, uri)];
  const beside = [...ofImages.beside, ...ofMaps.beside];
  if (!isDivided(ofImages) && !isDivided(ofMaps)) {
    if (!uri.query.has('holdout') && lacksPart(uri, options, asked)) {
      throw new DataError(
        `${shown(imageRoot)} and ${shown(mapRoot)} have no test part: each needs a subfolder test or val beside train; as they are, all is one split (add holdout=0.2 to hold a fifth of the images out)`,
        { folder: imageRoot },
      );
    }
    const side = asked && { asked: asked === 'train' ? ('train' as const) : ('test' as const) };
    return { split: 'all', images: imageRoot, maps: mapRoot, beside, ...side };
  }
  const { wanted, split, folder: images, name } = choosePart(ofImages, asked);
  const { folder: maps } = choosePart(ofMaps, wanted);
  if (images === undefined || maps === undefined) {
    const without = [images === undefined ? imageRoot : [], maps === undefined ? mapRoot : []].flat();
    throw new DataError(
      `${without.map(shown).join(' and ')} ${without.length > 1 ? 'have' : 'has'} no subfolder ${wanted === 'test' ? 'test or val' : wanted}`,
      { folder: without[0] },
    );
  }
  return { split, images: join(imageRoot, images), maps: join(mapRoot, maps), beside, name };
}

/** Metres a unit of the depth maps, where there are such. */
function depthOption(uri: SourceUri): number | undefined {
  if (!uri.query.has('depth')) return undefined;
  const other = ['classes', 'names', 'ignore'].find((key) => uri.query.has(key));
  const metres = numberOption(uri, 'depth', 0, { low: 0, high: Number.MAX_VALUE, whole: false });
  if (other === undefined && metres > 0) return metres;
  throw new UsageError(
    other === undefined
      ? `Image source '${uri.text}' has depth=0; it must be the metres of a unit, such as 0.001 for depth in millimetres`
      : `Image source '${uri.text}' has depth and ${other}: its maps hold depth or labels, leave out one`,
  );
}

function ignoreOption(uri: SourceUri): number[] {
  const text = uri.query.get('ignore') ?? '255';
  const labels = text
    .split(',')
    .filter((part) => part !== '')
    .map((part) => (/^\d{1,3}$/.test(part) ? Number(part) : Number.NaN));
  if (labels.some((label) => !(label <= 255))) {
    throw new UsageError(
      `Image source '${uri.text}' has ignore=${text}; it must be labels from 0 to 255 joined by commas, or nothing`,
    );
  }
  return [...new Set(labels)].sort((a, b) => a - b);
}

/** Names of the labels from 0: of the file, or their numbers. */
async function classNames(uri: SourceUri): Promise<string[]> {
  const file = uri.query.get('names');
  if ((file === undefined) === !uri.query.has('classes')) {
    throw new UsageError(
      `Image source '${uri.text}' must say which labels there are: classes=N (labels 0 to N - 1) or names=FILE (one name a line), one of the two; or depth=METRES for depth maps`,
    );
  }
  if (file === undefined) {
    const count = numberOption(uri, 'classes', 0, { low: 1, high: 256 });
    return Array.from({ length: count }, (_, i) => `${i}`);
  }
  const text = await readText(file);
  const names = text.replace(/\s+$/, '').split(/\r\n|\n|\r/);
  if (names.length > 256 || names.some((name) => name.trim() === '')) {
    throw new DataError(`${file} must hold 1 to 256 names, one a line from label 0 on, no line empty`, {
      file,
    });
  }
  const trimmed = names.map((name) => sameForm(name.trim()));
  const twice = trimmed.filter((name, i) => trimmed.indexOf(name) < i);
  if (twice.length > 0) {
    throw new DataError(
      `${shown(file)} has ${problem('names twice', twice)[0]}: two labels cannot be told apart by it`,
      {
        file,
      },
    );
  }
  return trimmed;
}
