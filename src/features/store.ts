// The feature store: what an encoder makes of a data set, kept by content, so that a second evaluation computes nothing again.
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { DataError } from '../errors.js';
import { writeJson } from '../results/files.js';
import { hashOf } from '../tensor/hash.js';
import { MatrixFile, MatrixWriter } from './chunks.js';

/** Everything that decides the contents of an entry; its hash is the entry's name. */
export interface StoreKey {
  /** `features`, or `labels`, which no encoder has a part in. */
  kind: 'features' | 'labels';
  /** What to call it in a list: encoder and data as the user named them. Not part of the hash. */
  title: string;
  /** Weights hash of the encoder; patch size for labels. */
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

/** `CAPI_CACHE`, else `capi` in the user's cache folder. */
export function defaultStoreFolder(): string {
  const base = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return process.env.CAPI_CACHE || join(base, 'capi');
}

const entryName = ({ title: _, ...key }: StoreKey): string => hashOf(key).slice(0, 24);

/** Rows of some images, by part; each [images * perImage, width]. */
export type PartRows = Record<string, Float32Array | Uint8Array>;

/**
 * The parts of an entry, from the store or computed now. `compute(first)` gives the rows of images from `first` on, in order,
 * in pieces of whole images; what an interrupted call had written is kept.
 * @throws DataError when the disk is full or an entry is damaged
 */
export async function storedParts<P extends Record<string, StorePart>>(
  folder: string,
  key: StoreKey,
  parts: P,
  images: number,
  compute: (first: number) => AsyncIterable<PartRows>,
): Promise<{ parts: { [K in keyof P]: PartFile<P[K]['dtype']> }; computed: number }> {
  const home = join(folder, entryName(key));
  const names = Object.keys(parts);
  const path = (name: string): string => join(home, `${name}.mat`);
  let computed = 0;
  if (!names.every((name) => existsSync(path(name)))) {
    await mkdir(home, { recursive: true }).catch((error) => {
      throw new DataError(
        `cannot write ${home}: ${(error as Error).message}; name another folder with CAPI_CACHE`,
      );
    });
    await writeJson(join(home, META), { ...key, images, parts });
    await touch(home);
    computed = await fill(path, parts, images, compute);
  }
  await touch(home);
  const opened: Record<string, unknown> = {};
  for (const name of names) {
    const file = await MatrixFile.open(path(name), parts[name]!.dtype);
    const { perImage, width } = parts[name]!;
    if (file.count !== images * perImage || file.width !== width) {
      throw new DataError(
        `${path(name)} holds ${file.count} x ${file.width} values, expected ${images * perImage} x ${width}: remove ${home}`,
      );
    }
    opened[name] = file;
  }
  return { parts: opened as never, computed };
}

/** Notes that an entry was used now. */
async function touch(home: string): Promise<void> {
  const now = new Date();
  await utimes(join(home, META), now, now).catch(() => {}); // a store on a read-only disk can still be read
}

/** Writes the parts that are not there yet; returns how many images were computed. */
async function fill(
  path: (name: string) => string,
  parts: Record<string, StorePart>,
  images: number,
  compute: (first: number) => AsyncIterable<PartRows>,
): Promise<number> {
  const writers: Record<string, MatrixWriter> = {};
  try {
    for (const [name, { dtype, width }] of Object.entries(parts)) {
      if (!existsSync(path(name))) writers[name] = await MatrixWriter.open(path(name), { dtype, width });
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
  /** False for one that an interrupted evaluation left. */
  complete: boolean;
  used: Date;
}

/** Entries of a store, least recently used first. */
export async function listStore(folder: string): Promise<StoreEntry[]> {
  const entries: StoreEntry[] = [];
  for (const name of existsSync(folder) ? await readdir(folder) : []) {
    const home = join(folder, name);
    const meta = join(home, META);
    if (!existsSync(meta)) continue;
    const about = JSON.parse(await readFile(meta, 'utf8')) as StoreKey & { images: number; parts: object };
    const files = await readdir(home);
    const sizes = await Promise.all(files.map(async (file) => (await stat(join(home, file))).size));
    entries.push({
      name,
      kind: about.kind,
      title: about.title,
      images: about.images,
      bytes: sizes.reduce((a, b) => a + b, 0),
      complete: Object.keys(about.parts).every((part) => files.includes(`${part}.mat`)),
      used: (await stat(meta)).mtime,
    });
  }
  return entries.sort((a, b) => a.used.getTime() - b.used.getTime());
}

/** Removes entries, least recently used first, until at most `keepBytes` are left. Returns what was removed. */
export async function pruneStore(folder: string, keepBytes: number): Promise<StoreEntry[]> {
  const entries = await listStore(folder);
  let total = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  const removed: StoreEntry[] = [];
  for (const entry of entries) {
    if (total <= keepBytes) break;
    await rm(join(folder, entry.name), { recursive: true });
    total -= entry.bytes;
    removed.push(entry);
  }
  return removed;
}
