// One writer a folder: a lock that the operating system holds, so that it ends with its process; where it cannot, one that names the process.

import { constants } from 'node:fs';
import { type FileHandle, open, readFile, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import system from 'fs-native-extensions';
import { DataError, InterruptedError } from '../../errors.js';
import { type HeldLock, type Holder, holderText, type LockAnswer, ownHolder, parseHolder } from './holder.js';
import { fileLockHolder, tryFileLock } from './lock_by_name.js';
import { makeFolders, writeFailure } from './write.js';

const POLL_MS = 300;
/** A folder that takes no file at all (/proc, a link to nowhere) says the same as one that is removed this moment. */
const MOST_TRIES = 20;
const TELL_MS = 60_000;

const NOBODY: Holder = { pid: 0, host: '', start: '', doing: '', since: '' };

/** The system's errors where a file system has no locks. */
const WITHOUT_LOCKS = new Set(['ENOLCK', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL', 'ENOTTY']);

/** Opens a lock file without waiting for anything. */
async function openLockFile(file: string): Promise<FileHandle> {
  const handle = await open(file, constants.O_RDWR | constants.O_CREAT | constants.O_NONBLOCK, 0o666);
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw new DataError(`${file} is no lock file: remove it`, { path: file });
}

/** Takes the system's lock of an open file: true, or false where another has it, or undefined where there are no locks. */
function lockOpen(handle: FileHandle): boolean | undefined {
  if (process.env.CAPI_LOCKS === 'names') return undefined;
  try {
    return system.tryLock(handle.fd);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EAGAIN') return false;
    if (WITHOUT_LOCKS.has(code ?? '')) return undefined;
    throw error;
  }
}

const sameFile = async (handle: FileHandle, file: string): Promise<boolean> => {
  const [own, named] = await Promise.all([handle.stat(), stat(file).catch(() => undefined)]);
  return named !== undefined && own.ino === named.ino && own.dev === named.dev;
};

/**
 * Takes the lock `file`, or says who holds it; never waits. `doing` is what others are told. The file is there while the lock is held; one
 * that a killed process left is no lock. `CAPI_LOCKS=names` does without the system's locks, as file systems without them do.
 * @throws DataError when the file cannot be written
 */
export async function tryLock(file: string, doing = ''): Promise<LockAnswer> {
  try {
    for (let attempt = 0; ; attempt++) {
      await makeFolders(dirname(file));
      const handle = await openLockFile(file).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' && attempt < MOST_TRIES) return undefined; // its folder was removed this moment
        throw error;
      });
      if (!handle) continue;
      const got = lockOpen(handle);
      if (got === undefined) {
        await handle.close();
        return await tryFileLock(file, ownHolder(doing));
      }
      if (got && (await sameFile(handle, file))) return await held(handle, file, doing);
      await handle.close();
      if (got) continue; // its last holder removed the file meanwhile
      const holder = await readHolder(file);
      if (holder.pid > 0 || attempt >= 5) return { holder };
      await sleep(20); // somebody looks at the lock, or takes it this moment
    }
  } catch (error) {
    throw writeFailure(file, error);
  }
}

async function held(handle: FileHandle, file: string, doing: string): Promise<HeldLock> {
  try {
    await handle.truncate(0);
    await handle.write(JSON.stringify(ownHolder(doing)), 0);
  } catch (error) {
    await rm(file, { force: true }).catch(() => {}); // the disk is full: nothing is left of it
    await handle.close();
    throw error;
  }
  return {
    async release() {
      await rm(file, { force: true }).catch(() => {}); // while it is held: whoever opened it meanwhile looks again
      await handle.close();
    },
  };
}

/** What a lock file says of its holder; NOBODY where it says nothing that can be read. */
async function readHolder(file: string): Promise<Holder> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return parseHolder(text) ?? NOBODY;
}

/** Who holds the lock `file` now; undefined where it is free. Takes nothing. */
export async function lockHolder(file: string): Promise<Holder | undefined> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => undefined);
  if (!handle) return undefined;
  try {
    if (!(await handle.stat()).isFile()) return undefined;
    if (process.env.CAPI_LOCKS === 'names') return await fileLockHolder(file);
    try {
      if (system.tryLock(handle.fd, 0, 0, { shared: true })) return undefined;
    } catch (error) {
      if (WITHOUT_LOCKS.has((error as NodeJS.ErrnoException).code ?? '')) return await fileLockHolder(file);
    }
    return await readHolder(file);
  } finally {
    await handle.close();
  }
}

export interface LockWait {
  /** What others are told that this process does. */
  doing?: string;
  signal?: AbortSignal;
  /** Hears one line at once where the lock is held, and one a minute while it is. */
  onWait?: (line: string) => void;
}

/**
 * Takes the lock `file`, waiting while another process holds it.
 * @throws InterruptedError when the signal stops the waiting, DataError when the file cannot be written
 */
export async function takeLock(file: string, { doing, signal, onWait }: LockWait = {}): Promise<HeldLock> {
  const begin = performance.now();
  let told = Number.NEGATIVE_INFINITY;
  for (;;) {
    const lock = await tryLock(file, doing);
    if ('release' in lock) return lock;
    const who = holderText(lock.holder);
    if (signal?.aborted)
      throw new InterruptedError(`interrupted while waiting for ${who}, which holds ${file}`);
    const waited = performance.now() - begin;
    if (waited - told >= TELL_MS) {
      const long = waited < 1000 ? '' : ` (${Math.round(waited / 1000)} s so far)`;
      onWait?.(`waiting for ${who}, which holds ${file}${long}`);
      told = waited;
    }
    await sleep(POLL_MS);
  }
}

/**
 * Takes the lock `name` of a folder, which need not be there yet, or says who holds it; never waits. Releasing it removes the folders that
 * this call made where nothing was written into them. @throws DataError when the folder cannot be written
 */
export async function holdFolder(folder: string, name: string, doing: string): Promise<LockAnswer> {
  const file = join(folder, name);
  const holder = await lockHolder(file);
  if (holder) return { holder };
  const made = await makeFolders(folder).catch((error) => {
    throw writeFailure(folder, error);
  });
  const leave = async (): Promise<void> => {
    for (let at = resolve(folder); made && at.length >= resolve(made).length; at = dirname(at)) {
      await rmdir(at).catch(() => {}); // only what this call made, and only when empty
    }
  };
  let lock: LockAnswer | undefined;
  try {
    lock = await tryLock(file, doing);
  } finally {
    if (!lock || 'holder' in lock) await leave();
  }
  if ('holder' in lock) return lock;
  const { release } = lock;
  return {
    async release() {
      await release();
      await leave();
    },
  };
}
