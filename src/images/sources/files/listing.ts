// Folders of files: what lies in them, in an order that does not depend on the machine, and what is passed over.

import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import pLimit from 'p-limit';
import { shown } from '../../../base/text.js';
import { DataError } from '../../../errors.js';
import type { LeftOut } from '../../source.js';

/** Endings of the image files that can be decoded, in lower case. */
export const IMAGE_ENDINGS = new Set(['.jpg', '.jpeg', '.png', '.webp', '.tif', '.tiff']);

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

async function list(directory: string): Promise<Dirent[]> {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    throw unlistable(directory, error);
  }
}

/** Names of what lies in a folder, sorted. @throws DataError */
export const listNames = async (directory: string): Promise<string[]> =>
  (await list(directory)).map(({ name }) => name).sort();

function unlistable(directory: string, error: unknown): DataError {
  const name = directory.length > 300 ? `${directory.slice(0, 100)}…${directory.slice(-100)}` : directory;
  return new DataError(`${shown(name)} cannot be listed: ${(error as NodeJS.ErrnoException).code}`, {
    folder: directory,
  });
}

/** Folders that systems and viewers put among pictures: thumbnails, archives' leftovers, bins. Whatever they hold is no data. */
const SYSTEM_FOLDERS = new Set(
  '@eadir, @__thumb, @recycle, @tmp, #recycle, #snapshot, __macosx, __pycache__, $recycle.bin, system volume information, lost+found'.split(
    ', ',
  ),
);

/** Whether a folder of this name holds no data: hidden, or made by a system. */
export const isSystemFolder = (name: string): boolean =>
  name.startsWith('.') || SYSTEM_FOLDERS.has(name.toLowerCase());

/** Images as most people know them, of kinds that are not decoded. */
const OTHER_IMAGES = new Set(
  '.gif .bmp .heic .heif .avif .jp2 .j2k .jxl .jfif .svg .ppm .pgm .pbm .pnm .tga .dcm .nef .cr2 .dng .exr .hdr .psd .npy'.split(
    ' ',
  ),
);

/** Names of one kind as LeftOut, or nothing where there are none. */
export function leftOut(what: string, names: readonly string[]): LeftOut[] {
  return names.length === 0 ? [] : [{ what, count: names.length, examples: names.slice(0, 3) }];
}

/** `3 hidden files (a, b, c)`: one phrase of a message; names without control characters. */
export function phrase({ what, count, examples }: LeftOut): string {
  return `${count} ${what} (${examples.map(shown).join(', ')}${count > examples.length ? ', …' : ''})`;
}

/** What a folder holds. */
export interface Listing {
  /** Paths of the image files, relative to the folder, with forward slashes and sorted. */
  files: string[];
  /** Folders of the first level, sorted, those without images too. */
  folders: string[];
  /** Files of the first level called labels.csv or labels.txt; they count as left out where nobody reads them. */
  labelFiles: string[];
  leftOut: LeftOut[];
}

/** Folders that links show again, and entries of these, at most: links that fan out would be followed for ever. */
const REPEATS = { folders: 1000, entries: 1_000_000 };

/**
 * Lists the image files below `part`, those with one of the `endings`. Links are followed, though not in circles; hidden names, folders of systems (`@eaDir`, `__MACOSX`),
 * other kinds of files and links to nowhere are counted. Throws DataError for a folder that cannot be listed, and for links that show the same
 * folders again and again.
 */
export async function listFolder(
  part: string,
  endings: ReadonlySet<string> = IMAGE_ENDINGS,
): Promise<Listing> {
  const files: string[] = [];
  const folders: string[] = [];
  const labelFiles: string[] = [];
  const passed = { hidden: [], system: [], images: [], other: [], links: [], special: [] } as Record<
    string,
    string[]
  >;
  const seen = new Set<string>();
  const repeats = { folders: 0, entries: 0 };
  const visit = async (relative: string, above: string[]): Promise<void> => {
    const directory = join(part, relative);
    const real = await realpath(directory).catch((error) => {
      throw unlistable(directory, error);
    });
    if (above.includes(real)) return; // a link back to a folder that holds it
    const entries = await list(directory);
    if (seen.size === seen.add(real).size) {
      repeats.folders++;
      repeats.entries += entries.length;
      if (repeats.folders > REPEATS.folders || repeats.entries > REPEATS.entries) {
        throw new DataError(
          `${shown(part)} has links that show the same folders again and again (${shown(directory.slice(0, 200))} is ${shown(real)}): remove them`,
          { folder: part },
        );
      }
    }
    for (const entry of entries) {
      const path = relative === '' ? entry.name : `${relative}/${entry.name}`;
      const kind = entry.isSymbolicLink() ? await stat(join(part, path)).catch(() => undefined) : entry;
      if (!kind) passed.links!.push(path);
      else if (kind.isDirectory()) {
        if (isSystemFolder(entry.name)) passed.system!.push(`${path}/`);
        else {
          if (relative === '') folders.push(path);
          await visit(path, [...above, real]);
        }
      } else if (entry.name.startsWith('.') || /^(thumbs\.db|desktop\.ini)$/i.test(entry.name)) {
        passed.hidden!.push(path);
      } else {
        const ending = extname(entry.name).toLowerCase();
        const image = endings.has(ending);
        if (image && kind.isFile()) files.push(path);
        else if (/^labels\.(csv|txt)$/.test(path)) labelFiles.push(path);
        else passed[image ? 'special' : OTHER_IMAGES.has(ending) ? 'images' : 'other']!.push(path);
      }
    }
  };
  await visit('', []);
  return {
    files: files.sort(),
    folders: folders.sort(),
    labelFiles: labelFiles.sort(),
    leftOut: [
      ...leftOut('images of kinds that are not read', passed.images!.sort()),
      ...leftOut('files of other kinds', passed.other!.sort()),
      ...leftOut('hidden files', passed.hidden!.sort()),
      ...leftOut('hidden folders, of thumbnails or of a system', passed.system!.sort()),
      ...leftOut('links that lead nowhere', passed.links!.sort()),
      ...leftOut('devices, sockets or pipes named as images', passed.special!.sort()),
    ],
  };
}

/** Paths of the image files below `part` (see listFolder). */
export async function listImages(part: string): Promise<string[]> {
  return (await listFolder(part)).files;
}

/** Names as they are compared: one Unicode form (NFC), since systems write é in one character or in two. */
export const sameForm = (name: string): string => name.normalize('NFC');

/** A path without its ending: `a/b.png` gives `a/b`. */
export function stemOf(path: string): string {
  return path.slice(0, path.length - extname(path).length);
}

/**
 * SHA-256 over names and sizes of files, in the order given: what older versions knew a folder by. `name` is relative to `root`.
 * Throws DataError for a file that has gone.
 */
export async function sizesIdentity(root: string, names: string[], ...more: string[]): Promise<string> {
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
