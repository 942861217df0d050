// `pairs:IMAGES,LABELS`: anyone's images and label maps, in two folders with the same names.

import { readFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { DataError, UsageError } from '../errors.js';
import { labelMapSource, pairFiles } from './label-maps.js';
import { checkFolder, findParts, listImages } from './listing.js';
import type { ImageSource, SourceOptions } from './source.js';
import { canonicalUri, checkOptions, numberOption, type SourceUri, splitOption } from './uri.js';

/**
 * Opens two folders whose files have the same paths but for the ending: images of any kind that can be decoded, label maps as PNG.
 * `classes=N` says that labels go from 0 to N - 1, `names=FILE` names them, one a line from label 0 on; one of the two is needed.
 * `ignore=0,255` are the labels that no score counts (default 255, `ignore=` for none). `train/` and `test/` (or `val/`) inside both
 * folders are splits; without them there is one, `all`. Throws UsageError for bad options, DataError for files that do not match.
 */
export async function openPairs(uri: SourceUri, options: SourceOptions): Promise<ImageSource> {
  checkOptions(uri, ['split', 'classes', 'names', 'ignore']);
  const places = uri.place.split(',');
  if (places.length !== 2 || places.includes('')) {
    throw new UsageError(
      `Image source '${uri.text}' must name two folders joined by one comma, pairs:IMAGES,LABELS (link a folder whose name has a comma)`,
    );
  }
  const ignoreLabels = ignoreOption(uri);
  const classes = await classNames(uri);
  const [imageRoot, mapRoot] = places.map((place) => resolve(place)) as [string, string];
  await checkFolder(imageRoot);
  await checkFolder(mapRoot);
  const { split, images, maps } = await findSplit(uri, imageRoot, mapRoot, options);
  const files = { images: await listImages(images), maps: await listImages(maps) };
  if (files.images.length === 0 && files.maps.length === 0) {
    throw new DataError(`${images} and ${maps} hold no images`, { images, label_maps: maps });
  }
  const mapsFrom = relative(images, maps);
  const names = uri.query.get('names');
  return labelMapSource({
    uri: canonicalUri('pairs', `${imageRoot},${mapRoot}`, {
      split: split === 'all' ? undefined : split,
      classes: names === undefined ? classes.length : undefined,
      names: names === undefined ? undefined : resolve(names),
      ignore: ignoreLabels.join(','),
    }),
    split,
    root: images,
    pairs: pairFiles({ images, maps }, files).map(({ image, map }) => ({ image, map: join(mapsFrom, map) })),
    classes,
    ignoreLabels,
  });
}

/** The folders of the split that is asked for: both sides are divided, or neither. */
async function findSplit(
  uri: SourceUri,
  imageRoot: string,
  mapRoot: string,
  options: SourceOptions,
): Promise<{ split: 'train' | 'test' | 'all'; images: string; maps: string }> {
  const asked = splitOption(uri, options.split);
  const [ofImages, ofMaps] = [await findParts(imageRoot), await findParts(mapRoot)];
  const divided = [ofImages, ofMaps].some(({ train, test }) => train !== undefined || test !== undefined);
  if (!divided) {
    if (asked === 'test' && !(options.whole && !uri.query.has('split'))) {
      throw new DataError(
        `${imageRoot} and ${mapRoot} have no test part: each needs a subfolder test or val beside train; as they are, all is one split`,
        { folder: imageRoot },
      );
    }
    return { split: 'all', images: imageRoot, maps: mapRoot };
  }
  const split = asked ?? (ofImages.train !== undefined || ofImages.test === undefined ? 'train' : 'test');
  const [images, maps] = [ofImages[split], ofMaps[split]];
  if (images === undefined || maps === undefined) {
    const without = [images === undefined ? imageRoot : [], maps === undefined ? mapRoot : []].flat();
    throw new DataError(
      `${without.join(' and ')} ${without.length > 1 ? 'have' : 'has'} no subfolder ${split === 'train' ? 'train' : 'test or val'}`,
      { folder: without[0] },
    );
  }
  return { split, images: join(imageRoot, images), maps: join(mapRoot, maps) };
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
      `Image source '${uri.text}' must say which labels there are: classes=N (labels 0 to N - 1) or names=FILE (one name a line), one of the two`,
    );
  }
  if (file === undefined) {
    const count = numberOption(uri, 'classes', 0, { low: 1, high: 256 });
    return Array.from({ length: count }, (_, i) => `${i}`);
  }
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new DataError(`${file} cannot be read: ${error.code}`, { file });
  });
  const names = text.replace(/\s+$/, '').split(/\r?\n/);
  if (names.length > 256 || names.some((name) => name.trim() === '')) {
    throw new DataError(`${file} must hold 1 to 256 names, one a line from label 0 on, no line empty`, {
      file,
    });
  }
  return names.map((name) => name.trim());
}
