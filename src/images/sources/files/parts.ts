// The parts of a data folder: train, val and test folders under their usual names, and names that look like parts where they would be classes.

import { basename, join } from 'node:path';
import { shown } from '../../../base/text.js';
import { DataError, UsageError } from '../../../errors.js';
import type { LeftOut, SourceOptions, SourceUri } from '../../source.js';
import { isFolder, isSystemFolder, type Listing, leftOut, listFolder, listNames } from './listing.js';

/** The options that name parts, with what they accept. */
export const PART_OPTIONS = {
  split: 'train, val or test',
  parts: 'none: folders called train or test are classes',
};

/** Usual names of the parts, in lower case; folders are recognised in any case. */
const NAMES = {
  train: ['train', 'training', 'trn'],
  val: ['val', 'valid', 'validation', 'dev', 'eval'],
  test: ['test', 'testing', 'tst'],
} as const;

export type PartName = keyof typeof NAMES;
const PARTS = Object.keys(NAMES) as PartName[];

/** The part that a folder of this name is, in any case. */
export function partOf(name: string): PartName | undefined {
  const word = name.toLowerCase();
  return PARTS.find((part) => (NAMES[part] as readonly string[]).includes(word));
}

/** The part that a name looks like, be it that name, or that with an affix: `Test`, `train2017`, `training_set`, `val-images`. */
export function looksLikePart(name: string): PartName | undefined {
  const word = name.toLowerCase().replace(/[\s_.-]*(set|split|part|data|images|imgs|img|\d+)*$/, '');
  return (
    partOf(word) ??
    partOf(word.replace(/^(the|my|images|imgs|img|dataset|data|seg|set|split|part)[\s_.-]+/, ''))
  );
}

/** Endings that stand for parts in medical collections: imagesTr, imagesTs. */
const SHORT: Record<string, PartName> = { tr: 'train', ts: 'test' };

/** The part that some word of a name says: `01_train`, `trainA`, `imagesTs`, `cats-test`. Alone it says little (`crash test`), two parts of a kind do. */
function partInside(name: string): PartName | undefined {
  const words = name
    .replace(/([a-z])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^a-z]+/)
    .filter((word) => word !== '');
  const short = words.length > 1 ? SHORT[words.at(-1)!] : undefined;
  return short ?? words.map(partOf).find((part) => part !== undefined);
}

/** The folders of a data folder that are its parts; none where it is not divided. */
export interface Parts {
  train?: string;
  val?: string;
  test?: string;
  /** What lies beside the parts. */
  beside: LeftOut[];
  /** What a folder without parts holds, where it was listed. */
  listing?: Listing;
}

export const isDivided = ({ train, val, test }: Parts): boolean =>
  train !== undefined || val !== undefined || test !== undefined;

/** The folder that stands for the test part: test, else val. */
export const testPart = ({ val, test }: Parts): string | undefined => test ?? val;

/**
 * Finds the parts of `root`. Folders without images are none. Throws DataError for two folders that are the same part (`Test/` and `testing/`), and
 * for folders of which one cannot know whether they are parts or classes: one part alone beside other folders with images, names that
 * look like parts, parts inside of class folders. `?parts=none` says that there are no parts.
 */
export async function findParts(root: string, uri: SourceUri): Promise<Parts> {
  const said = uri.query.get('parts');
  if (said === 'none') return { beside: [] };
  if (said !== undefined) {
    throw new UsageError(
      `Image source '${uri.text}' has parts=${said}; it must be none, which takes folders called train or test for classes`,
    );
  }
  const found: Partial<Record<PartName, string[]>> = {};
  const others: string[] = [];
  const loose: string[] = [];
  for (const name of await listNames(root)) {
    if (isSystemFolder(name)) continue;
    if (!(await isFolder(join(root, name)))) {
      loose.push(name);
      continue;
    }
    const part = partOf(name);
    if (part) found[part] = [...(found[part] ?? []), name];
    else others.push(name);
  }
  const parts: Parts = { beside: [] };
  for (const part of PARTS) {
    const names = found[part] ?? [];
    const full = names.length < 2 ? names : await withImages(root, names);
    if (full.length > 1) {
      throw new DataError(
        `${shown(root)} has ${quoted(full)}, which are all its ${part} part: put them into one, or name the one that is meant by its path`,
        { folder: root },
      );
    }
    const name = full[0] ?? names[0];
    if (name !== undefined) parts[part] = name;
  }
  const named = PARTS.flatMap((part) => parts[part] ?? []);
  const filled = named.length === 0 ? [] : await withImages(root, others);
  const complete = parts.train !== undefined && testPart(parts) !== undefined;
  if (named.length > 0 && !complete && filled.length > 0) {
    throw new DataError(
      `${shown(root)} has ${quoted(named)} beside ${quoted(filled)}: is that a part or a class? ${OTHERWISE}, or name the part by its path`,
      { folder: root },
    );
  }
  if (named.length === 0) {
    const listing = await listFolder(root);
    refuseHiddenParts(root, listing);
    return { ...parts, listing };
  }
  const images = loose.filter((name) => /\.(jpe?g|png|webp|tiff?)$/i.test(name) && !name.startsWith('.'));
  parts.beside = [
    ...leftOut(
      'folders with images beside the parts',
      filled.map((name) => `${name}/`),
    ),
    ...leftOut('images beside the parts', images),
  ];
  return parts;
}

const OTHERWISE = 'Add ?parts=none to the source where all are classes';

async function withImages(root: string, names: string[]): Promise<string[]> {
  const full: string[] = [];
  for (const name of names) if ((await listFolder(join(root, name))).files.length > 0) full.push(name);
  return full;
}

/** Throws DataError where class folders look like parts, or have parts inside of them. */
function refuseHiddenParts(root: string, { files }: { files: string[] }): void {
  const [first, second] = [new Set<string>(), new Set<string>()];
  for (const file of files) {
    const [a, b, ...rest] = file.split('/');
    if (b !== undefined) first.add(a!);
    if (rest.length > 0) second.add(b!);
  }
  const inNames = new Set([...first].map(partInside));
  const several = inNames.has('train') && (inNames.has('test') || inNames.has('val'));
  const alike = [...first].filter((name) => looksLikePart(name) ?? (several ? partInside(name) : undefined));
  if (alike.length > 0) {
    throw new DataError(
      `${shown(root)} has ${quoted(alike)} among its class folders, which look${alike.length > 1 ? '' : 's'} like a part: call parts train, val and test. ${OTHERWISE}`,
      { folder: root },
    );
  }
  const inside = new Set([...second].map(partOf));
  if (first.size > 1 && inside.has('train') && (inside.has('test') || inside.has('val'))) {
    throw new DataError(
      `${shown(root)} has parts (${[...second].filter(partOf).slice(0, 3).join(', ')}) inside of its class folders, which would be read as one: put train/ and test/ above the classes. ${OTHERWISE} and no parts`,
      { folder: root },
    );
  }
}

/**
 * Throws DataError where the classes of a part are parts again: `train/train`, `train/test`, `train/val`. A class may be called train, as CIFAR-100
 * has one, unless it holds folders.
 */
export function refusePartsAsClasses(
  part: string,
  classes: readonly string[],
  files: readonly string[],
): void {
  const alike = classes.map(partOf);
  if (new Set(alike.filter(Boolean)).size > 1 || (classes.length > 0 && alike.every(Boolean))) {
    throw new DataError(
      `${shown(part)} has ${quoted([...classes].filter((name) => partOf(name)))} where its classes should be: name the folder above the parts, or add ?parts=none where they are classes`,
      { folder: part },
    );
  }
  const inside = classes.filter((name) => {
    const own = partOf(name);
    const holdsFolders = () =>
      files.some((file) => file.startsWith(`${name}/`) && file.split('/').length > 2);
    return own !== undefined && (own !== 'train' || holdsFolders());
  });
  if (inside.length === 1 && classes.length > 1) {
    throw new DataError(
      `${shown(part)} has ${quoted(inside)} among its classes, which looks like a part: move it beside ${shown(basename(part))}/, or name the part itself with ?parts=none (folder:${shown(part)}?parts=none) where it is a class`,
      { folder: part },
    );
  }
}

/** `'a', 'b' and 3 more`. */
export function quoted(names: readonly string[]): string {
  const first = names.slice(0, 3).map((name) => `'${shown(name)}'`);
  if (names.length > 3) return `${first.join(', ')} and ${names.length - 3} more`;
  return first.length > 1 ? `${first.slice(0, -1).join(', ')} and ${first.at(-1)}` : first.join('');
}

/** The part that a source with folders asks for: `?split=` may name val too, a caller asks for train or test. */
export function askedPart(uri: SourceUri, wanted: 'train' | 'test' | undefined): PartName | undefined {
  const value = uri.query.get('split');
  if (value === undefined) return wanted;
  const part = partOf(value);
  if (part === undefined) {
    throw new UsageError(`Image source '${uri.text}' has split '${value}'; it must be train, test or val`);
  }
  return part;
}

/** The folder of the part that is wanted: undefined where the data has none such; `name` is the part in the canonical URI, where val alone is called test. */
export interface ChosenPart {
  wanted: PartName;
  split: 'train' | 'test';
  folder: string | undefined;
  name: PartName;
}

/** Chooses a part of divided data: the one asked for, else train, else what there is. Test stands for val where there is no test; val itself can be asked for by name only. */
export function choosePart(parts: Parts, asked: PartName | undefined): ChosenPart {
  const own = testPart(parts);
  const wanted = asked ?? (parts.train !== undefined || own === undefined ? 'train' : 'test');
  const both = parts.val !== undefined && parts.test !== undefined;
  return {
    wanted,
    split: wanted === 'train' ? 'train' : 'test',
    folder: wanted === 'test' ? own : parts[wanted],
    name: wanted === 'val' && !both ? 'test' : wanted,
  };
}

/** Whether undivided data is asked for a test part, and does not stand for it as a whole. */
export const lacksPart = (
  uri: SourceUri,
  { whole }: SourceOptions,
  asked: PartName | undefined,
): asked is 'val' | 'test' => asked !== undefined && asked !== 'train' && !(whole && !uri.query.has('split'));
