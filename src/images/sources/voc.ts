// `voc:DIR`: PASCAL VOC 2012 semantic segmentation, 20 classes and background, with its own lists or the augmented one.

import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { DataError, UsageError } from '../../errors.js';
import type { ImageSource, SourceKind, SourceOptions, SourceUri } from '../source.js';
import { problem, readText } from './files/label_file.js';
import { labelMapSource } from './files/label_maps.js';
import { checkFolder, isFolder, sameForm, stemOf } from './files/listing.js';
import { pairsBelow } from './files/map_files.js';
import { canonicalUri, SPLIT_OPTION, splitOption } from './uri.js';

export const voc: SourceKind = {
  reads: 'PASCAL VOC 2012 segmentation, also with the augmented list, with label maps',
  place: 'DIR',
  example: 'voc:/data/VOCdevkit/VOC2012?list=train_aug',
  options: { ...SPLIT_OPTION, list: 'a list of ImageSets/Segmentation, such as train_aug' },
  open,
};

/** Names of labels 0 to 20 (Everingham et al. 2012, development kit). */
const CLASSES =
  'background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, dining table, dog, horse, motorbike, person, potted plant, sheep, sofa, train, tv monitor'.split(
    ', ',
  );

/** The border of objects and what is hard to tell. */
const IGNORE = [255];

const IMAGES = 'JPEGImages';
const MAPS = 'SegmentationClass';
const AUGMENTED_MAPS = 'SegmentationClassAug';
const LISTS = 'ImageSets/Segmentation';

/**
 * Opens the images of one list of `DIR/ImageSets/Segmentation`, where DIR is VOC2012, VOCdevkit or the folder that holds it: `train` for
 * the train split, `val` for the test split, or the one that `?list=NAME` names (of the test split if it is `val`, else of the train split).
 * Label maps are those of SegmentationClass, and for lists with `aug` in their name (`train_aug`, the labels of Hariharan et al. 2011) of
 * SegmentationClassAug. Throws UsageError for a split that is not the list's, DataError for what is missing.
 */
async function open(uri: SourceUri, options: SourceOptions): Promise<ImageSource> {
  const named = uri.query.get('list');
  const list = named ?? (splitOption(uri, options.split) === 'test' ? 'val' : 'train');
  const split = list === 'val' ? 'test' : 'train';
  if (named !== undefined && splitOption(uri, split) !== split) {
    throw new UsageError(
      `Image source '${uri.text}' asks for split ${uri.query.get('split')}, but list ${list} is of the ${split} split: name one of the two`,
    );
  }
  const root = await findRoot(resolve(uri.place));
  const stems = await readList(root, list);
  const folders = { images: IMAGES, maps: /aug/i.test(list) ? AUGMENTED_MAPS : MAPS };
  const { pairs } = await pairsBelow(root, folders, 'expected the layout of VOCdevkit/VOC2012', stems);
  return labelMapSource({
    uri: canonicalUri('voc', root, { list }),
    split,
    root,
    pairs,
    classes: CLASSES,
    ignoreLabels: IGNORE,
  });
}

/** The folder VOC2012: `given` or one that it holds. */
async function findRoot(given: string): Promise<string> {
  await checkFolder(given);
  for (const below of ['', 'VOC2012', 'VOCdevkit/VOC2012']) {
    if (await isFolder(join(given, below, LISTS))) return join(given, below);
  }
  throw new DataError(`${given} has no ${LISTS}/: expected the layout of VOCdevkit/VOC2012`, {
    folder: given,
  });
}

/**
 * Names of images in a list: one a line, or as the augmented list has it, `/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png`.
 */
async function readList(root: string, list: string): Promise<string[]> {
  const path = join(root, LISTS, `${list}.txt`);
  const text = /[/\\]/.test(list) || !existsSync(path) ? undefined : await readText(path);
  if (text === undefined) {
    const there = (await readdir(join(root, LISTS))).filter((name) => name.endsWith('.txt')).sort();
    throw new DataError(
      `${path} cannot be read; lists there: ${there.map((name) => name.slice(0, -4)).join(', ') || 'none'}`,
      { file: path },
    );
  }
  const stems = text
    .split(/\r\n|\n|\r/)
    .map((line) => line.trim().split(/\s+/)[0]!)
    .filter(Boolean)
    .map((first) => sameForm(first.includes('/') ? stemOf(basename(first)) : first));
  const seen = new Set<string>();
  const twice = stems.filter((stem) => seen.size === seen.add(stem).size);
  if (twice.length > 0)
    throw new DataError(`${path} has ${problem('names twice', twice)[0]}`, { file: path });
  if (stems.length === 0) throw new DataError(`${path} names no images`, { file: path });
  return stems;
}
