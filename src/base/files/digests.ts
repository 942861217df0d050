// Digests of the contents of many files: each file is read once, and again only where its size, times or inode say that it may have changed.

import { once } from 'node:events';
import { type BigIntStats, stat } from 'node:fs';
import { join, resolve } from 'node:path';
import { setImmediate as yielded } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { DataError, InterruptedError } from '../../errors.js';
import { type Digests, digestsFile, readDigests, writeDigests } from './digest_cache.js';
import { type DigestAnswer, MOST_DIGESTED, stampOf, tryDigest } from './digest_file.js';
import { tooLarge } from './read.js';

/** How to go about it; changes no digest. */
export interface DigestOptions {
  /** Read every file, whatever is known of it. */
  fresh?: boolean;
  /** Called now and then with the files done so far. */
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal | undefined;
}

/** Questions to the file system at once. */
const LANES = 32;
/** Files read sooner than threads have started. */
const WORTH_THREADS = 500;
const THREADS = 4;
const FILES_A_MESSAGE = 64;
/** The event loop is kept waiting for so long at most. */
const BURST_MS = 10;
/** Between two savings of what is known, where reading takes long. */
const SAVE_MS = 5 * 60_000;

/**
 * SHA-256 of the contents of the files `names` below `root`, hexadecimal, in their order. What is known is kept in the cache folder.
 * @throws DataError for a file that has gone or cannot be read, InterruptedError when the signal stops it (what was read is kept)
 */
export async function fileDigests(
  root: string,
  names: readonly string[],
  options: DigestOptions = {},
): Promise<string[]> {
  const { fresh = false, onProgress, signal } = options;
  const file = digestsFile(resolve(root));
  const known: Digests = await readDigests(file);
  const digests = new Array<string>(names.length);
  const unread = fresh ? [...names.keys()] : await changed(root, names, known, digests);
  if (unread.length === 0) return digests;
  let done = names.length - unread.length;
  let saved = performance.now();
  const take = (at: number, answer: DigestAnswer): void => {
    const name = names[at]!;
    if ('code' in answer) throw unreadable(join(root, name), answer);
    digests[at] = answer.digest;
    known.delete(name);
    if (answer.stamp !== '') known.set(name, answer);
    done++;
  };
  const look = async (): Promise<void> => {
    onProgress?.(done, names.length);
    if (signal?.aborted) {
      throw new InterruptedError(
        `interrupted after reading ${done} of ${names.length} files for their digest; the same command goes on`,
      );
    }
    if (performance.now() - saved < SAVE_MS) return;
    await writeDigests(file, known, names.length);
    saved = performance.now();
  };
  try {
    await digestAll(unread, (at) => join(root, names[at]!), take, look);
  } finally {
    await writeDigests(file, known, names.length);
  }
  return digests;
}

/** Tells, from the third second on and then every ten, how far the reading of the files of `what` has come. */
export function digestMessages(
  what: string,
  tell: (text: string) => void,
): (done: number, total: number) => void {
  let due = performance.now() + 3000;
  return (done, total) => {
    if (performance.now() < due) return;
    due = performance.now() + 10_000;
    tell(`reading the files of ${what} for their digest: ${done} of ${total}`);
  };
}

/** Places of the names whose digest is not known; fills in those that are. */
async function changed(
  root: string,
  names: readonly string[],
  known: Digests,
  digests: string[],
): Promise<number[]> {
  if (known.size === 0) return [...names.keys()];
  const unread: number[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < names.length) {
      const at = next++;
      const before = known.get(names[at]!);
      const found = before && (await statOf(join(root, names[at]!)));
      if (found && stampOf(found) === before.stamp) digests[at] = before.digest;
      else unread.push(at);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return unread.sort((a, b) => a - b);
}

const statOf = (path: string): Promise<BigIntStats | undefined> =>
  new Promise((done) => stat(path, { bigint: true }, (error, found) => done(error ? undefined : found)));

/** Digests the files at `places`; `look` is waited for now and then, and may end it. */
async function digestAll(
  places: number[],
  pathOf: (at: number) => string,
  take: (at: number, answer: DigestAnswer) => void,
  look: () => Promise<void>,
): Promise<void> {
  // Threads start from compiled JavaScript only.
  if (places.length >= WORTH_THREADS && import.meta.url.endsWith('.js')) {
    await inThreads(places, pathOf, take, look);
    return;
  }
  let begin = performance.now();
  for (const at of places) {
    take(at, tryDigest(pathOf(at)));
    if (performance.now() - begin < BURST_MS) continue;
    await yielded();
    await look();
    begin = performance.now();
  }
}

async function inThreads(
  places: number[],
  pathOf: (at: number) => string,
  take: (at: number, answer: DigestAnswer) => void,
  look: () => Promise<void>,
): Promise<void> {
  let next = 0;
  let failure: { error: unknown } | undefined;
  const lane = async (): Promise<void> => {
    const thread = new Worker(new URL('./digest_thread.js', import.meta.url));
    try {
      while (next < places.length && !failure) {
        const chosen = places.slice(next, next + FILES_A_MESSAGE);
        next += chosen.length;
        thread.postMessage(chosen.map(pathOf));
        const [answers] = (await once(thread, 'message')) as [DigestAnswer[]];
        answers.forEach((answer, i) => {
          take(chosen[i]!, answer);
        });
        await look();
      }
    } catch (error) {
      failure ??= { error };
    } finally {
      await thread.terminate();
    }
  };
  await Promise.all(Array.from({ length: THREADS }, lane));
  if (failure) throw failure.error;
}

function unreadable(path: string, { code, bytes }: { code: string; bytes?: number }): DataError {
  if (bytes !== undefined) return new DataError(`${path} ${tooLarge(bytes, MOST_DIGESTED)}`, { path, code });
  const why: Record<string, string> = {
    ENOENT: 'has gone since the folder was listed',
    EBUSY: 'is being written: wait until it is whole',
  };
  return new DataError(`${path} ${why[code] ?? `cannot be read: ${code}`}`, { path, code });
}
