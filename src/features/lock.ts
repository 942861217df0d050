// One writer an entry: a lock file that names its process, so that one left by a process that died is taken over.
import { mkdir, open, readFile, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { DataError, InterruptedError } from '../errors.js';

/** A lock of another machine, whose processes cannot be seen, counts as left behind when it was not renewed for this long. */
const LEFT_BEHIND_MS = 10 * 60_000;
const RENEW_MS = 60_000;
const POLL_MS = 300;

/** Who holds a lock. */
export interface Holder {
  pid: number;
  host: string;
}

/** Who holds the lock `file` and still runs; undefined where it is free. */
export async function lockHolder(file: string): Promise<Holder | undefined> {
  try {
    const { mtimeMs } = await stat(file);
    const text = await readFile(file, 'utf8');
    const recent = Date.now() - mtimeMs < LEFT_BEHIND_MS;
    if (text === '') return recent ? { pid: 0, host: '' } : undefined; // being written this moment
    const holder = JSON.parse(text) as Holder;
    const runs = holder.host === hostname() ? isRunning(holder.pid) : recent;
    return runs ? holder : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Takes the lock `file`, or says who holds it. @throws DataError when it cannot be written */
export async function tryLock(file: string): Promise<{ release: () => Promise<void> } | { holder: Holder }> {
  for (;;) {
    try {
      await mkdir(dirname(file), { recursive: true });
      const handle = await open(file, 'wx');
      await handle.writeFile(JSON.stringify({ pid: process.pid, host: hostname() } satisfies Holder));
      await handle.close();
      break;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') continue; // its folder was removed this moment
      if (code !== 'EEXIST') throw new DataError(`cannot write ${file}: ${message}`);
    }
    const holder = await lockHolder(file);
    if (holder) return { holder };
    await rm(file, { force: true });
  }
  const renewal = setInterval(() => void utimes(file, new Date(), new Date()).catch(() => {}), RENEW_MS);
  renewal.unref();
  const release = async (): Promise<void> => {
    clearInterval(renewal);
    await rm(file, { force: true });
  };
  return { release };
}

/**
 * Takes the lock `file`, waiting while a process that runs holds it, and returns what gives it back.
 * @throws InterruptedError when the signal stops the waiting, DataError when the file cannot be written
 */
export async function takeLock(file: string, signal?: AbortSignal): Promise<() => Promise<void>> {
  for (;;) {
    const lock = await tryLock(file);
    if ('release' in lock) return lock.release;
    if (signal?.aborted) {
      const { pid, host } = lock.holder;
      throw new InterruptedError(
        `interrupted while waiting for process ${pid} on ${host}, which holds ${file}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
