// The lock of file systems that have none: a file that names its process, by host, number and start; one left behind is removed by one process.

import { randomBytes } from 'node:crypto';
import { link, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { sha256 } from '../hash.js';
import { type Holder, type LockAnswer, parseHolder } from './holder.js';
import { startIfRunning } from './process_start.js';
import { partialName } from './write.js';

/** A lock of another machine, whose processes cannot be seen, counts as left behind when it was not renewed for this long. */
const LEFT_BEHIND_MS = 10 * 60_000;
const RENEW_MS = 60_000;

/** Takes the lock, or says who holds it. Throws the system's errors. */
export async function tryFileLock(file: string, own: Holder): Promise<LockAnswer> {
  const text = JSON.stringify({ ...own, nonce: randomBytes(8).toString('hex') });
  const mine = partialName(file);
  await writeFile(mine, text, { flag: 'wx' });
  try {
    for (;;) {
      const got = await link(mine, file).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          if (error.code === 'EEXIST') return false;
          throw error;
        },
      );
      if (got) break;
      const found = await readFile(file, 'utf8').catch(() => undefined);
      if (found === undefined) continue;
      const holder = await runningHolder(file, found);
      if (holder) return { holder };
      await removeDead(file, found, own);
    }
  } finally {
    await rm(mine, { force: true });
  }
  const renewal = setInterval(() => void utimes(file, new Date(), new Date()).catch(() => {}), RENEW_MS);
  renewal.unref();
  return {
    async release() {
      clearInterval(renewal);
      if ((await readFile(file, 'utf8').catch(() => '')) === text) await rm(file, { force: true });
    },
  };
}

/**
 * Removes a dead lock. Only the one process that holds the guard of just this dead lock may do so, and looks again first: a lock that another
 * took meanwhile is never touched. A guard is a lock like any other, so that one of a process that was killed here is removed too.
 */
async function removeDead(file: string, dead: string, own: Holder): Promise<void> {
  const guard = await tryFileLock(`${file}.${sha256(dead).slice(0, 8)}`, own);
  if ('holder' in guard) {
    await sleep(10); // another removes it this moment
    return;
  }
  try {
    if ((await readFile(file, 'utf8').catch(() => undefined)) === dead) await rm(file, { force: true });
  } finally {
    await guard.release();
  }
}

/** Who holds it and still runs. */
export async function fileLockHolder(file: string): Promise<Holder | undefined> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : runningHolder(file, text);
}

async function runningHolder(file: string, text: string): Promise<Holder | undefined> {
  const holder = parseHolder(text);
  if (!holder) return undefined; // it appears whole: one that says nothing is not ours
  if (holder.host !== hostname()) {
    const renewed = (await stat(file).catch(() => undefined))?.mtimeMs ?? 0;
    return Date.now() - renewed < LEFT_BEHIND_MS ? holder : undefined;
  }
  const start = startIfRunning(holder.pid);
  if (start === undefined) return undefined;
  return start === '' || holder.start === '' || start === holder.start ? holder : undefined;
}
