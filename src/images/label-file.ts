// `labels.csv` and `labels.txt`: the labels of a folder's images where they do not follow from class folders, several an image if need be.

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError } from '../errors.js';

const NAMES = ['labels.csv', 'labels.txt'];

/** Labels as written: for each image of the folder, in the order of its files. */
export interface LabelFile {
  path: string;
  text: string;
  labels: string[][];
}

/**
 * Reads `labels.csv` or `labels.txt` of `folder`, if it has one. A line holds the path of an image below the folder and its labels,
 * with `;` between several: `val_0001.jpg,65` or `val_0002.jpg,970;795`; in `labels.txt` the path ends at the last white space or comma
 * instead of at the last comma. No label after it leaves the image without one. Empty lines, lines that begin with `#`, and a first line
 * `path,label` are passed over; there are no quotes. With `optional`, a file that names none of the images is taken for another kind of
 * list (of class names, say), as if it were not there. Throws one DataError for everything that is wrong: images without a line, lines
 * without an image, paths named twice, both files at once.
 */
export async function readLabelFile(
  folder: string,
  files: string[],
  optional = false,
): Promise<LabelFile | undefined> {
  const found = NAMES.filter((name) => existsSync(join(folder, name)));
  if (found.length === 0) return undefined;
  if (found.length > 1) throw new DataError(`${folder} has labels.csv and labels.txt: keep one`, { folder });
  const path = join(folder, found[0]!);
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new DataError(`${path} cannot be read: ${error.code}`, { file: path });
  });
  const separator = path.endsWith('.csv') ? /,/ : /[\s,]/;
  const named = new Map<string, string[]>();
  const twice: string[] = [];
  text.split(/\r?\n/).forEach((line, i) => {
    if (line.trim() === '' || line.startsWith('#')) return;
    const parsed = parseLine(line, separator);
    if (i === 0 && /^(path|file|filename|image)$/i.test(parsed.image)) return;
    if (named.has(parsed.image)) twice.push(parsed.image);
    named.set(parsed.image, parsed.labels);
  });
  const known = new Set(files);
  if (optional && ![...named.keys()].some((file) => known.has(file))) return undefined;
  const problems = [
    ...problem(
      'images without a line',
      files.filter((file) => !named.has(file)),
    ),
    ...problem(
      'lines whose image is not there',
      [...named.keys()].filter((file) => !known.has(file)),
    ),
    ...problem('images on several lines', twice),
  ];
  if (problems.length > 0) {
    throw new DataError(
      `${path} does not fit ${folder}: ${problems.join('; ')}; one line an image, 'path,label' (nothing after the comma for an image without label)`,
      { file: path },
    );
  }
  return { path, text, labels: files.map((file) => named.get(file)!) };
}

function parseLine(line: string, separator: RegExp): { image: string; labels: string[] } {
  const trimmed = line.trim();
  let end = trimmed.length;
  for (let at = trimmed.length - 1; at >= 0 && end === trimmed.length; at--) {
    if (separator.test(trimmed[at]!)) end = at;
  }
  const labels = trimmed.slice(end + 1).split(';');
  return {
    image: trimmed.slice(0, end).trim().replace(/^\.\//, ''),
    labels: [...new Set(labels.map((label) => label.trim()).filter(Boolean))],
  };
}

/** One phrase with the count and the first three names, or nothing where there are none. */
export function problem(what: string, names: string[]): string[] {
  if (names.length === 0) return [];
  return [`${names.length} ${what} (${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''})`];
}

/**
 * The labels as indices of `classes`. Where `classes` is known (from the train images), a label is one of its names or, where they do not
 * all name classes, its number from 0. Where it is not, whole numbers are class numbers, and other words are class names, sorted.
 * Throws DataError for labels that are none.
 */
export function numberLabels(
  { path, labels }: LabelFile,
  classes: string[] | undefined,
): { classes: string[]; labels: number[][] } {
  const distinct = [...new Set(labels.flat())].sort();
  const numeric = distinct.every((label) => /^\d{1,6}$/.test(label));
  if (classes === undefined) {
    classes = distinct;
    if (numeric) {
      const highest = distinct.reduce((most, label) => Math.max(most, Number(label)), -1);
      classes = Array.from({ length: highest + 1 }, (_, i) => `${i}`);
    }
  }
  const index = new Map(classes.map((name, i) => [name, i]));
  const asNumbers = numeric && !distinct.every((label) => index.has(label));
  const number = (label: string): number | undefined =>
    asNumbers ? (Number(label) < classes.length ? Number(label) : undefined) : index.get(label);
  const unknown = distinct.filter((label) => number(label) === undefined);
  if (unknown.length > 0) {
    throw new DataError(
      `${path} has ${problem('labels that are no class', unknown)[0]}; there are ${classes.length}: numbers 0 to ${classes.length - 1}, or names such as ${classes.slice(0, 3).join(', ')}`,
      { file: path, unknown: unknown.slice(0, 20) },
    );
  }
  return { classes, labels: labels.map((several) => several.map((label) => number(label)!)) };
}
