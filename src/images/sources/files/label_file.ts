// `labels.csv` and `labels.txt`: the labels of a folder's images where they do not follow from class folders, several an image if need be.

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { shown } from '../../../base/text.js';
import { DataError } from '../../../errors.js';
import { leftOut, phrase, sameForm } from './listing.js';

export const LABEL_FILES = ['labels.csv', 'labels.txt'];

/** Labels as written: for each image of the folder, in the order of its files. */
export interface LabelFile {
  path: string;
  text: string;
  labels: string[][];
}

/**
 * Reads `labels.csv` or `labels.txt` of `folder`, if it has one: UTF-8, with or without a byte order mark. A line holds the path of an image below
 * the folder and its labels, with `;` between several: `val_0001.jpg,65` or `val_0002.jpg,970;795`; in `labels.txt` the path ends at the
 * last white space or comma instead of at the last comma, in `labels.csv` fields may be quoted. No label after it leaves the image without one.
 * Empty lines, lines that begin with `#`, and a first line such as `path,label` are passed over. Paths are compared in one Unicode form. With
 * `optional`, a file that names none of the images is taken for another kind of list (of class names, say), as if it were not there. Throws one
 * DataError for everything that is wrong: images without a line, lines without an image, paths named twice, both files at once.
 */
export async function readLabelFile(
  folder: string,
  files: string[],
  optional = false,
): Promise<LabelFile | undefined> {
  const found = LABEL_FILES.filter((name) => existsSync(join(folder, name)));
  if (found.length === 0) return undefined;
  if (found.length > 1) {
    throw new DataError(`${shown(folder)} has labels.csv and labels.txt: keep one`, { folder });
  }
  const path = join(folder, found[0]!);
  const text = await readText(path);
  const csv = path.endsWith('.csv');
  const known = new Map(files.map((file) => [sameForm(file), file]));
  const named = new Map<string, string[]>();
  const twice: string[] = [];
  let first = true;
  let header: string | undefined;
  for (const line of text.split(/\r\n|\n|\r/)) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const parsed =
      csv && /^\s*"|,\s*"/.test(line) ? parseQuoted(path, line) : parseLine(line, csv ? /,/ : /[\s,]/);
    const image = nameOf(parsed.image, known);
    const isHeader = first && !known.has(image) && extname(image) === '';
    first = false;
    if (isHeader) {
      header = line;
      continue;
    }
    if (named.has(image)) twice.push(image);
    named.set(image, parsed.labels);
  }
  if (optional && ![...named.keys()].some((file) => known.has(file))) return undefined;
  if (header !== undefined) checkHeader(path, header);
  const problems = [
    ...problem(
      'images without a line',
      [...known].flatMap(([form, file]) => (named.has(form) ? [] : file)),
    ),
    ...problem(
      'lines whose image is not there',
      [...named.keys()].filter((file) => !known.has(file)),
    ),
    ...problem('images on several lines', twice),
  ];
  if (problems.length > 0) {
    throw new DataError(
      `${shown(path)} does not fit ${shown(folder)}: ${problems.join('; ')}; one line an image, 'path,label' (nothing after the comma for an image without label)`,
      { file: path },
    );
  }
  return { path, text, labels: files.map((file) => named.get(sameForm(file))!) };
}

/** The text of a UTF-8 file without its byte order mark. @throws DataError for a file that cannot be read or is no such text */
export async function readText(path: string): Promise<string> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw new DataError(`${shown(path)} cannot be read: ${error.code}`, { file: path });
  });
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (!text.includes('\0')) return text;
  } catch {
    // told below
  }
  throw new DataError(`${shown(path)} is not UTF-8 text: save it in that encoding`, { file: path });
}

/** A path of a label file as the folder's files are known: one Unicode form, no `./`, no backslashes of another system. */
function nameOf(written: string, known: ReadonlyMap<string, string>): string {
  const plain = sameForm(written).replace(/^\.\//, '');
  const turned = plain.replaceAll('\\', '/').replace(/^\.\//, '');
  return !known.has(plain) && known.has(turned) ? turned : plain;
}

/** Throws DataError for a first line whose columns are not path and label. */
function checkHeader(path: string, line: string): void {
  const columns = line.split(/[,\t]/).map((name) => name.trim().replace(/^"|"$/g, ''));
  const about = (word: RegExp, i: number): boolean => word.test(columns[i] ?? '');
  const swapped =
    columns.length === 2 &&
    about(/label|class|target|category/i, 0) &&
    about(/path|file|image|img|name/i, columns.length - 1);
  if (columns.length > 2 || swapped) {
    throw new DataError(
      `${shown(path)} has the columns ${columns.slice(0, 5).map(shown).join(', ')}; expected two, the path and the label`,
      { file: path },
    );
  }
}

const several = (text: string): string[] => [
  ...new Set(
    text
      .split(';')
      .map((label) => sameForm(label.trim()))
      .filter(Boolean),
  ),
];

function parseLine(line: string, separator: RegExp): { image: string; labels: string[] } {
  const trimmed = line.trim();
  let end = trimmed.length;
  for (let at = trimmed.length - 1; at >= 0 && end === trimmed.length; at--) {
    if (separator.test(trimmed[at]!)) end = at;
  }
  return { image: trimmed.slice(0, end).trim(), labels: several(trimmed.slice(end + 1)) };
}

/** A line with quoted fields: a quote inside of one is doubled. */
function parseQuoted(path: string, line: string): { image: string; labels: string[] } {
  const fields: string[] = [];
  const field = /\s*(?:"((?:[^"]|"")*)"\s*|([^",][^,]*|))(,|$)/y;
  while (field.lastIndex < line.length || fields.length === 0) {
    const found = field.exec(line);
    if (!found)
      throw new DataError(`${shown(path)} has quotes that do not match: ${shown(line.slice(0, 80))}`, {
        file: path,
      });
    fields.push(found[1]?.replaceAll('""', '"') ?? found[2]!.trim());
    if (found[3] === '') break;
    if (field.lastIndex === line.length) fields.push('');
  }
  return { image: fields.slice(0, -1).join(','), labels: several(fields.at(-1)!) };
}

/** One phrase with the count and the first three names, or nothing where there are none. */
export function problem(what: string, names: string[]): string[] {
  return leftOut(what, names).map(phrase);
}

/**
 * The labels as indices of `classes`. Where `classes` is known (from the train images), a label is one of its names; numbers that are not all
 * names are refused, since a file does not say which order they count in, unless `numbers` is `sorted`: then they are places from 0 among
 * the sorted names. Where it is not known, whole numbers are class numbers, and other words are class names, sorted.
 * Throws DataError for labels that are none.
 */
export function numberLabels(
  { path, labels }: LabelFile,
  classes: string[] | undefined,
  numbers?: string,
): { classes: string[]; labels: number[][] } {
  const distinct = [...new Set(labels.flat())].sort();
  const numeric = distinct.every((label) => /^\d{1,6}$/.test(label));
  const negative = distinct.filter((label) => /^-\d+$/.test(label));
  if (negative.length > 0 && !classes?.includes(negative[0]!)) {
    throw new DataError(
      `${shown(path)} has the label ${negative[0]}: leave the label of an image without one empty`,
      { file: path },
    );
  }
  const given = classes;
  if (classes === undefined) {
    classes = distinct;
    if (numeric) {
      const highest = distinct.reduce((most, label) => Math.max(most, Number(label)), -1);
      classes = Array.from({ length: highest + 1 }, (_, i) => `${i}`);
    }
  }
  const index = new Map(classes.map((name, i) => [name, i]));
  const digits = classes.every((name) => /^\d+$/.test(name));
  if (
    given !== undefined &&
    numeric &&
    numbers === undefined &&
    !digits &&
    !distinct.every((l) => index.has(l))
  ) {
    throw new DataError(
      `${shown(path)} numbers its classes (${distinct.slice(0, 3).join(', ')}${distinct.length > 3 ? ', …' : ''}) while the train images name them (${classes.slice(0, 3).map(shown).join(', ')}${classes.length > 3 ? ', …' : ''}): write names, or add ?numbers=sorted to the source where 0 is the first of the sorted names (the ids of ImageNet's development kit are not)`,
      { file: path },
    );
  }
  const asNumbers = given === undefined ? numeric : numbers === 'sorted';
  if (asNumbers && !numeric) {
    throw new DataError(
      `${shown(path)} has labels that are no numbers (${distinct
        .filter((label) => !/^\d{1,6}$/.test(label))
        .slice(0, 3)
        .map(shown)
        .join(', ')}): leave out ?numbers=sorted`,
      { file: path },
    );
  }
  const number = (label: string): number | undefined =>
    asNumbers ? (Number(label) < classes.length ? Number(label) : undefined) : index.get(label);
  const unknown = distinct.filter((label) => number(label) === undefined);
  if (unknown.length > 0) {
    throw new DataError(
      `${shown(path)} has ${problem('labels that are no class', unknown)[0]}; there are ${classes.length}: ${asNumbers ? `numbers 0 to ${classes.length - 1}` : `names such as ${classes.slice(0, 3).map(shown).join(', ')}`}`,
      { file: path, unknown: unknown.slice(0, 20) },
    );
  }
  return { classes, labels: labels.map((own) => own.map((label) => number(label)!)) };
}
