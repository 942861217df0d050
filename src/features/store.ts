// The feature store: what an encoder makes of a data set, kept by content, so that a second evaluation computes nothing again.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { Holder } from '../base/files/holder.js';
import { lockHolder, takeLock, tryLock } from '../base/files/lock.js';
import { readSealed, unseal, writeSealed } from '../base/files/seal.js';
import { writeFailure } from '../base/files/write.js';
import { hashOf } from '../base/hash.js';
import { DataError } from '../errors.js';
import { atEnd } from '../stops.js';
import { MatrixFile, MatrixWriter } from './chunks.js';

/** Everything that decides the contents of an entry; its hash is the entry's name. */
export interface StoreKey {
  /** `features`, or `labels` and `depths`, which no encoder has a part in. */
  kind: 'features' | 'labels' | 'depths';
  /** What to call it in a list: encoder and data as the user named them. Not part of the hash. */
  title: string;
  /** Weights hash of the encoder; patch size for labels and depths. */
  made_by: string;
  /** Identity of the data. */
  data: string;
  /** Transform, size and choice of images, as plain JSON values. */
  how: Record<string, unknown>;
}

/** One matrix of an entry: `perImage` rows of `width` values for every image. */
export interface StorePart {
  dtype: 'float32' | 'uint8';
  perImage: number;
  width: number;
}

export type PartFile<D extends StorePart['dtype']> = MatrixFile<
  D extends 'float32' ? Float32Array : Uint8Array
>;

const META = 'entry.json';
const LOCK = 'entry.lock';

export { cacheFolder as defaultStoreFolder } from '../base/files/cache_folder.js';

const entryName = ({ kind, made_by, data, how }: StoreKey): string =>
  hashOf({ kind, made_by, data, how }).slice(0, 24);

/** The folder of an entry, which need not be there. */
export const entryFolder = (folder: string, key: StoreKey): string => join(folder, entryName(key));

/** Whether all parts of an entry are there, so that nothing would be computed. */
export const isStored = (home: string, parts: readonly string[]): boolean =>
  parts.every((name) => existsSync(join(home, `${name}.mat`)));

/** Rows of some images, by part; each [images * perImage, width]. */
export type PartRows = Record<string, Float32Array | Uint8Array>;

/**
 * The parts of an entry, from the store or computed now. `compute(first)` gives the rows of images from `first` on, in order,
 * in pieces of whole images; what an interrupted call had written is kept. One process computes an entry, others wait for it.
 * Where the store cannot be written or locked (a read-only disk), what it lacks is computed into a temporary folder that ends with this
 * process, and `onMessage` hears of it once.
 * With `renewed` nothing that was stored is read: every entry is computed anew, once for all calls with the same set, and replaces the old one.
 * @throws DataError when the disk is full or an entry is damaged, InterruptedError when `signal` stops the waiting
 */
export async function storedParts<P extends Record<string, StorePart>>(
  folder: string,
  key: StoreKey,
  parts: P,
  images: number,
  compute: (first: number) => AsyncIterable<PartRows>,
  options: {
    signal?: AbortSignal | undefined;
    renewed?: Set<string> | undefined;
    onMessage?: (line: string) => void;
  } = {},
): Promise<{ parts: { [K in keyof P]: PartFile<P[K]['dtype']> }; computed: number }> {
  const { signal, renewed } = options;
  const home = entryFolder(folder, key);
  const names = Object.keys(parts);
  const path = (name: string): string => join(home, `${name}.mat`);
  const about = { ...key, images, parts };
  const renew = renewed !== undefined && !renewed.has(home);
  const complete = (): boolean => !renew && isStored(home, names);
  let computed = 0;
  if (!complete()) {
    const lock = await takeLock(join(home, LOCK), {
      doing: `features: ${key.title}`,
      ...(signal ? { signal } : {}),
      ...(options.onMessage ? { onWait: options.onMessage } : {}),
    }).catch((error) => {
      if (!(error instanceof DataError)) throw error;
      if (folder !== aside && cannotStore(error)) return error;
      throw new DataError(`${error.message}; name another folder with CAPI_CACHE`, error.details);
    });
    if (lock instanceof DataError)
      return storedParts(asideFolder(lock, options.onMessage), key, parts, images, compute, options);
    try {
      if (!complete()) {
        await writeSealed(join(home, META), about);
        await touch(home);
        computed = await fill(path, parts, images, compute, renew);
        renewed?.add(home);
      }
    } finally {
      await lock.release();
    }
  }
  if (!(await describes(home, key))) await writeSealed(join(home, META), about).catch(() => {});
  await touch(home);
  const opened: Record<string, MatrixFile<Float32Array | Uint8Array>> = {};
  const remedy = `remove the entry: capi data cache --prune ${entryName(key)}`;
  try {
    for (const name of names) {
      const file = await MatrixFile.open(path(name), parts[name]!.dtype, remedy);
      opened[name] = file;
      const { perImage, width } = parts[name]!;
      const { entry, part } = file.meta; // older files do not have these
      if ((entry ?? entryName(key)) !== entryName(key) || (part ?? name) !== name) {
        throw new DataError(
          `${path(name)} holds ${part} of the entry ${entry}, not ${name} of its own: ${remedy}`,
        );
      }
      if (file.count !== images * perImage || file.width !== width) {
        throw new DataError(
          `${path(name)} holds ${file.count} x ${file.width} values, expected ${images * perImage} x ${width}: ${remedy}`,
        );
      }
    }
  } catch (error) {
    for (const file of Object.values(opened)) await file.close();
    throw error;
  }
  return { parts: opened as never, computed };
}

/** What is no property of a place: it would meet the next one too, or goes away when something is done. */
const NOT_THE_PLACE = ['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE', 'ENOMEM', 'EIO'];

/** Whether nothing can be written, or locked, where the store is. */
const cannotStore = ({ details: { code } }: DataError): boolean =>
  typeof code === 'string' && !NOT_THE_PLACE.includes(code);

/** Where this process keeps what the store cannot take. */
let aside: string | undefined;

function asideFolder(why: DataError, say: (line: string) => void = () => {}): string {
  if (aside) return aside;
  try {
    const made = mkdtempSync(join(tmpdir(), 'capi-features-'));
    atEnd(() => rmSync(made, { recursive: true, force: true }));
    aside = made;
  } catch (error) {
    throw writeFailure(tmpdir(), error);
  }
  say(
    `warning: features are not kept: ${why.message}; this process computes its own (CAPI_CACHE names another folder)`,
  );
  return aside;
}

/** The name of the entry that a description is of. */
export const entryOf = (about: Record<string, unknown>): string => entryName(about as unknown as StoreKey);

/** Whether the description of an entry is whole and of this entry. */
async function describes(home: string, key: StoreKey): Promise<boolean> {
  const found = await readSealed(join(home, META)).catch(() => undefined);
  return found !== undefined && entryOf(found.value) === entryName(key);
}

/** Notes that an entry was used now. */
async function touch(home: string): Promise<void> {
  const now = new Date();
  await utimes(join(home, META), now, now).catch(() => {}); // a store on a read-only disk can still be read
}

/** Writes the parts that are not there yet, or all of them anew; returns how many images were computed. */
async function fill(
  path: (name: string) => string,
  parts: Record<string, StorePart>,
  images: number,
  compute: (first: number) => AsyncIterable<PartRows>,
  renew: boolean,
): Promise<number> {
  const writers: Record<string, MatrixWriter> = {};
  try {
    for (const [name, { dtype, width }] of Object.entries(parts)) {
      if (renew) await MatrixWriter.discard(path(name));
      if (!renew && existsSync(path(name))) continue;
      // Which entry and part it is stands in the file, so that one that was put in another's place is noticed.
      const meta = { entry: basename(dirname(path(name))), part: name };
      const begin = () => MatrixWriter.open(path(name), { dtype, width, meta });
      writers[name] = await begin().catch(async (error) => {
        if (!(error instanceof DataError && error.details.found)) throw error;
        await MatrixWriter.discard(path(name)); // of an older version, or a damaged list of checksums
        return begin();
      });
    }
    const whole = (name: string): number => Math.floor(writers[name]!.rows / parts[name]!.perImage);
    const first = Math.min(...Object.keys(writers).map(whole));
    let image = first;
    if (image < images) {
      for await (const piece of compute(first)) {
        let count = 0;
        for (const [name, writer] of Object.entries(writers)) {
          const { perImage, width } = parts[name]!;
          const rows = piece[name]!;
          count = rows.length / (perImage * width);
          const known = Math.max(0, writer.rows - image * perImage); // rows that this part already has of the piece
          if (known * width < rows.length) await writer.append(rows.subarray(known * width));
        }
        image += count;
      }
    }
    for (const [name, writer] of Object.entries(writers)) {
      if (writer.rows !== images * parts[name]!.perImage) {
        throw new Error(
          `${writer.rows} rows of ${name} were computed, expected ${images * parts[name]!.perImage}`,
        );
      }
    }
    for (const [name, writer] of Object.entries(writers)) {
      await writer.finish();
      delete writers[name];
    }
    return images - first;
  } finally {
    for (const writer of Object.values(writers)) await writer.close().catch(() => {});
  }
}

/** An entry as `capi data cache` lists it. */
export interface StoreEntry {
  name: string;
  kind: string;
  title: string;
  images: number;
  bytes: number;
  /** False for one that an interrupted evaluation left, and while it is computed. */
  complete: boolean;
  /** The process that computes it now. */
  writer?: Holder;
  used: Date;
}

/** Entries of a store, least recently used first. Those that vanish meanwhile are left out. */
export async function listStore(folder: string): Promise<StoreEntry[]> {
  const entries: StoreEntry[] = [];
  for (const name of existsSync(folder) ? await readdir(folder) : []) {
    const entry = await readEntry(folder, name).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
      throw error;
    });
    if (entry) entries.push(entry);
  }
  return entries.sort((a, b) => a.used.getTime() - b.used.getTime());
}

async function readEntry(folder: string, name: string): Promise<StoreEntry | undefined> {
  const home = join(folder, name);
  const meta = join(home, META);
  const used = (await stat(meta)).mtime;
  const about = entryText(meta, await readFile(meta, 'utf8'));
  if (!about) return undefined; // no entry of ours
  const files = await readdir(home);
  const sizes = await Promise.all(
    files.map((file) =>
      stat(join(home, file)).then(
        (found) => found.size,
        () => 0,
      ),
    ),
  );
  const writer = await lockHolder(join(home, LOCK));
  return {
    name,
    kind: about.kind,
    title: about.title,
    images: about.images,
    bytes: sizes.reduce((a, b) => a + b, 0),
    complete:
      about.kind !== DAMAGED && Object.keys(about.parts).every((part) => files.includes(`${part}.mat`)),
    ...(writer ? { writer } : {}),
    used,
  };
}

function entryText(
  file: string,
  text: string,
): { kind: string; title: string; images: number; parts: object } | undefined {
  try {
    const about = unseal(file, text).value as unknown as StoreKey & { images: number; parts: object };
    return typeof about.parts === 'object' && typeof about.title === 'string' ? about : undefined;
  } catch {
    const ours = ENTRY_NAME.test(basename(dirname(file)));
    return ours ? { kind: DAMAGED, title: 'its description is damaged', images: 0, parts: {} } : undefined;
  }
}

const ENTRY_NAME = /^[0-9a-f]{24}$/;
const DAMAGED = 'damaged';

/** Which entries to remove; a condition that is absent restricts nothing, and without any nothing is removed. */
export interface PruneSelection {
  /** These, by name. */
  names?: readonly string[];
  /** Those last used before this. */
  usedBefore?: Date;
  /** Of those, only the least recently used ones, until the whole store has at most so many bytes. */
  keepBytes?: number;
}

/** Removes the entries of a selection but those that a process computes now. Returns both; `dryRun` removes nothing. */
export async function pruneStore(
  folder: string,
  { names, usedBefore, keepBytes }: PruneSelection,
  dryRun = false,
): Promise<{ removed: StoreEntry[]; busy: StoreEntry[] }> {
  const entries = await listStore(folder);
  const chosen = entries.filter(
    ({ name, used }) =>
      (names === undefined || names.includes(name)) && (usedBefore === undefined || used < usedBefore),
  );
  const removed: StoreEntry[] = [];
  const busy: StoreEntry[] = [];
  if (names === undefined && usedBefore === undefined && keepBytes === undefined) return { removed, busy };
  let total = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  for (const entry of chosen) {
    if (keepBytes !== undefined && total <= keepBytes) break;
    const home = join(folder, entry.name);
    const lock = dryRun ? undefined : await tryLock(join(home, LOCK));
    const holder = lock && 'holder' in lock ? lock.holder : entry.writer;
    if (holder) {
      busy.push({ ...entry, writer: holder });
      continue;
    }
    if (lock && 'release' in lock) {
      await rm(home, { recursive: true, force: true });
      await lock.release();
    }
    total -= entry.bytes;
    removed.push(entry);
  }
  return { removed, busy };
}
