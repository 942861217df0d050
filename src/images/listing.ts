// Folders of files: what lies in them, in an order that does not depend on the machine, and their train and test parts.

import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import pLimit from 'p-limit';
import { DataError } from '../errors.js';

/** Endings of the image files that can be decoded, in lower case. */
export const IMAGE_ENDINGS = new Set(['.jpg', '.jpeg', '.png', '.webp', '.tif', '.tiff']);

/** Folder names of the parts, in order of preference. */
const PARTS = { train: ['train', 'training'], test: ['test', 'val', 'valid', 'validation'] };

/** Throws DataError unless `root` is a folder. */
export async function checkFolder(root: string): Promise<void> {
  const found = await stat(root).catch(() => undefined);
  if (!found)
    throw new DataError(`${root} does not exist: give the folder that holds the images`, { folder: root });
  if (!found.isDirectory())
    throw new DataError(`${root} is a file: give the folder that holds it`, { folder: root });
}

/** Whether `path` is a folder. */
export async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

/** Names of the folders of the two parts. One alone beside other folders with images is a class that happens to be called so. */
export async function findParts(root: string): Promise<{ train?: string; test?: string }> {
  const names = new Set<string>();
  for (const { name } of await list(root)) {
    if (!name.startsWith('.') && (await isFolder(join(root, name)))) names.add(name);
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
export async function listImages(part: string): Promise<string[]> {
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
      else if (kind?.isFile() && IMAGE_ENDINGS.has(extname(entry.name).toLowerCase())) files.push(path);
    }
  };
  await visit('', []);
  return files.sort();
}

/** A path without its ending: `a/b.png` gives `a/b`. */
export function stemOf(path: string): string {
  return path.slice(0, path.length - extname(path).length);
}

/**
 * SHA-256 over names and sizes of files, in the order given: what a folder is known by, wherever it lies. `name` is relative to `root`.
 * Throws DataError for a file that has gone.
 */
export async function identityOfFiles(root: string, names: string[], ...more: string[]): Promise<string> {
  const limit = pLimit(16);
  const sizes = await limit.map(names, async (name) => {
    const found = await stat(join(root, name)).catch(() => undefined);
    if (!found) {
      throw new DataError(`${join(root, name)} has gone since the folder was listed`, { folder: root });
    }
    return found.size;
  });
  const hash = createHash('sha256');
  names.forEach((name, i) => {
    hash.update(`${name}\0${sizes[i]}\n`);
  });
  for (const text of more) hash.update(`${text}\n`);
  return hash.digest('hex');
}
