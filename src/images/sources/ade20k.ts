// `ade20k:DIR`: the ADE20K scene parsing challenge of 2016 as its archive unpacks, 150 classes.

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DataError } from '../../errors.js';
import type { ImageSource, SourceKind, SourceOptions, SourceUri } from '../source.js';
import { readText } from './files/label_file.js';
import { labelMapSource } from './files/label_maps.js';
import { checkFolder, isFolder, listNames, sameForm } from './files/listing.js';
import { pairsBelow } from './files/map_files.js';
import { quoted } from './files/parts.js';
import { canonicalUri, SPLIT_OPTION, splitOption } from './uri.js';

export const ade20k: SourceKind = {
  reads: 'ADE20K as the challenge archive has it (ADEChallengeData2016), with label maps',
  place: 'DIR',
  example: 'ade20k:/data/ADEChallengeData2016?split=test',
  options: SPLIT_OPTION,
  open,
};

const ARCHIVE = 'ADEChallengeData2016';
const CLASSES = 150;
const NAMES_FILE = 'objectInfo150.txt';
const FOLDER = { train: 'training', test: 'validation' } as const;

/** What no score counts, as published: 0 is everything that is no class, 255 stands in no file. */
const ADE20K_IGNORE = [0, 255];

/**
 * Opens `DIR/images/{training,validation}` with the label maps of `DIR/annotations/...`, where DIR is ADEChallengeData2016 or holds it.
 * Label 0 is `other` and ignored, 1 to 150 are the classes, named by objectInfo150.txt where it is there. Files are in the order of their
 * names (the official evaluation takes them as the file system lists them). Throws DataError for missing folders and for files that do not match.
 */
async function open(uri: SourceUri, options: SourceOptions): Promise<ImageSource> {
  const split = splitOption(uri, options.split) ?? 'train';
  const given = resolve(uri.place);
  await checkFolder(given);
  const inside = join(given, ARCHIVE);
  const root = !(await isFolder(join(given, 'images'))) && (await isFolder(inside)) ? inside : given;
  const folders = {
    images: await inAnyCase(root, 'images', FOLDER[split]),
    maps: await inAnyCase(root, 'annotations', FOLDER[split]),
  };
  const { pairs, leftOut } = await pairsBelow(root, folders, `expected the layout of ${ARCHIVE}.zip`);
  return {
    ...labelMapSource({
      uri: canonicalUri('ade20k', root, { split }),
      split,
      root,
      pairs,
      classes: ['other', ...(await classNames(root))],
      ignoreLabels: ADE20K_IGNORE,
    }),
    leftOut,
  };
}

/** `above/part` with the part's folder as it is written there, in whatever case. @throws DataError where two are */
async function inAnyCase(root: string, above: string, part: string): Promise<string> {
  const names = (await isFolder(join(root, above))) ? await listNames(join(root, above)) : [];
  const found = names.filter((name) => name.toLowerCase() === part);
  if (found.length > 1) {
    throw new DataError(`${join(root, above)} has ${quoted(found)}, which are one part: keep one`, {
      folder: join(root, above),
    });
  }
  return `${above}/${found[0] ?? part}`;
}

/** The 150 names of objectInfo150.txt, whose lines end with them after tabs; numbers without the file. */
async function classNames(root: string): Promise<string[]> {
  const path = join(root, NAMES_FILE);
  if (!existsSync(path)) return Array.from({ length: CLASSES }, (_, i) => `${i + 1}`);
  const text = await readText(path);
  const rows = text
    .split(/\r\n|\n|\r/)
    .map((line) => line.split('\t'))
    .filter(([first]) => /^\s*\d+\s*$/.test(first!));
  const inOrder = rows.every((row, i) => Number(row[0]) === i + 1 && row.length > 1);
  if (rows.length !== CLASSES || !inOrder) {
    throw new DataError(
      `${path} has ${rows.length} numbered lines; expected 1 to ${CLASSES} in order, the name after the last tab`,
      { file: path },
    );
  }
  return rows.map((row) => sameForm(row.at(-1)!.trim()));
}
