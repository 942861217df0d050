// `folder:DIR`: image files in class folders or flat, in train and test parts where the folder has them.

import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { extname, join, resolve } from 'node:path';
import { DataError } from '../errors.js';
import { decodeImage } from './pixels.js';
import type { ImageSource, SourceOptions } from './source.js';
import { canonicalUri, checkOptions, type SourceUri, splitOption } from './uri.js';

const EXTENSIONS = new Set(['.jpg', '.jpeg', '.png', '.webp', '.tif', '.tiff']);
const KINDS = 'JPEG, PNG, WebP or TIFF';

/** Folder names of the parts, in order of preference. */
const PARTS = { train: ['train', 'training'], test: ['test', 'val', 'valid', 'validation'] };

/**
 * Opens a folder of images. `train/` and `test/` (or `val/`) inside it are its splits; without them it is one split, `all`. Where
 * all images lie in subfolders, the first level names the classes (those of the train part, sorted); otherwise there are no labels.
 * Files are ordered by their path, character code by character code. Throws DataError for a folder that is missing, empty, or lacks the asked split.
 */
export async function openFolder(uri: SourceUri, options: SourceOptions): Promise<ImageSource> {
  checkOptions(uri, ['split']);
  const root = resolve(uri.place);
  const found = await stat(root).catch(() => undefined);
  if (!found)
    throw new DataError(`${root} does not exist: give the folder that holds the images`, { folder: root });
  if (!found.isDirectory())
    throw new DataError(`${root} is a file: give the folder that holds it`, { folder: root });

  const { train, test } = await findParts(root);
  const divided = train !== undefined || test !== undefined;
  const wanted = splitOption(uri, options.split) ?? (train || !test ? 'train' : 'test');
  if (wanted === 'test' && !test) {
    throw new DataError(
      `${root} has no test images: it needs a subfolder test or val${divided ? '' : ' beside train; as it is, all its images are one split'}`,
      { folder: root },
    );
  }
  if (divided && wanted === 'train' && !train) {
    throw new DataError(`${root} has no train images: it has ${test}/ but no subfolder train`, {
      folder: root,
    });
  }
  const split = divided ? wanted : 'all';
  const part = divided ? join(root, (wanted === 'train' ? train : test)!) : root;
  const files = await listImages(part);
  if (files.length === 0) {
    throw new DataError(`${part} holds no images: put ${KINDS} files into it, in class folders or flat`, {
      folder: part,
    });
  }
  let classes = classesOf(files);
  if (classes && split === 'test' && train) {
    classes = classesOf(await listImages(join(root, train))) ?? classes;
  }
  const labels = classes ? labelFiles(files, classes, part) : undefined;
  return {
    uri: canonicalUri('folder', root, { split: divided ? split : undefined }),
    split,
    length: files.length,
    classes,
    name: (i) => join(part, files[i]!),
    label: labels ? (i) => labels[i] : undefined,
    read: (i) => decodeImage(join(part, files[i]!)),
    async identity() {
      const hash = createHash('sha256');
      for (const file of files) {
        const { size } = await stat(join(part, file)).catch(() => {
          throw new DataError(`${join(part, file)} has gone since the folder was listed`, { folder: part });
        });
        hash.update(`${file}\0${size}\n`);
      }
      return hash.digest('hex');
    },
  };
}

/** Names of the folders of the two parts. One alone beside other folders with images is a class that happens to be called so. */
async function findParts(root: string): Promise<{ train?: string; test?: string }> {
  const names = new Set<string>();
  for (const { name } of await list(root)) {
    const found = name.startsWith('.') ? undefined : await stat(join(root, name)).catch(() => undefined);
    if (found?.isDirectory()) names.add(name);
  }
  const train = PARTS.train.find((name) => names.has(name));
  const test = PARTS.test.find((name) => names.has(name));
  if (train === undefined || test === undefined) {
    for (const name of names) {
      if (name !== train && name !== test && (await listImages(join(root, name))).length > 0) return {};
    }
  }
  return { train, test };
}

async function list(directory: string): Promise<Dirent[]> {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    throw new DataError(`${directory} cannot be listed: ${(error as NodeJS.ErrnoException).code}`, {
      folder: directory,
    });
  }
}

/** Paths of the image files below `part`, relative to it, with forward slashes and sorted. Links are followed, hidden names left out. */
async function listImages(part: string): Promise<string[]> {
  const files: string[] = [];
  const visit = async (relative: string, above: string[]): Promise<void> => {
    const directory = join(part, relative);
    const real = await realpath(directory);
    if (above.includes(real)) return; // a link back to a folder that holds it
    for (const entry of await list(directory)) {
      if (entry.name.startsWith('.')) continue;
      const path = relative === '' ? entry.name : `${relative}/${entry.name}`;
      const kind = entry.isSymbolicLink() ? await stat(join(part, path)).catch(() => undefined) : entry;
      if (kind?.isDirectory()) await visit(path, [...above, real]);
      else if (kind?.isFile() && EXTENSIONS.has(extname(entry.name).toLowerCase())) files.push(path);
    }
  };
  await visit('', []);
  return files.sort();
}

/** The sorted first-level folder names, where every file lies in one. */
function classesOf(files: string[]): string[] | undefined {
  const names = new Set<string>();
  for (const file of files) {
    const slash = file.indexOf('/');
    if (slash < 0) return undefined;
    names.add(file.slice(0, slash));
  }
  return [...names].sort();
}

function labelFiles(files: string[], classes: string[], part: string): Int32Array {
  const index = new Map(classes.map((name, i) => [name, i]));
  return Int32Array.from(files, (file) => {
    const name = file.slice(0, file.indexOf('/'));
    const label = index.get(name);
    if (label === undefined) {
      throw new DataError(`${part} has the class folder '${name}', which the train images do not have`, {
        folder: part,
      });
    }
    return label;
  });
}
