// The one way to write a file: whole or not at all, on the disk before it has its name, under a temporary name that is the process's own.

import { randomBytes } from 'node:crypto';
import {
  type FileHandle,
  link,
  lstat,
  mkdir,
  rename as move,
  open,
  readdir,
  realpath,
  rm,
  stat,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DataError } from '../../errors.js';

/** Ending of the file that an unfinished write leaves if the process is killed; never read, safe to delete. */
export const PARTIAL = '.partial';

const PARTIAL_NAME = /^(.+?)(?:\.\d+-[0-9a-f]{8})?\.partial$/;

/** A name beside `file` under which no other process writes. */
export const partialName = (file: string): string =>
  join(dirname(file), `${basename(file)}.${process.pid}-${randomBytes(4).toString('hex')}${PARTIAL}`);

/** The name that an unfinished file was to have, or undefined where `name` is no unfinished file. */
export const partialOf = (name: string): string | undefined => PARTIAL_NAME.exec(name)?.[1];

/** `value` as indented JSON; see writeWhole. */
export async function writeJson(file: string, value: unknown): Promise<void> {
  await writeWhole(file, `${JSON.stringify(value, null, 2)}\n`);
}

/** Writes a small text file; see writeWhole. @throws DataError */
export const writeText = (file: string, text: string): Promise<void> => writeWhole(file, text);

/**
 * Writes a file whole or not at all, whenever the process or the machine stops: a reader sees the old file or the new one.
 * @throws DataError, in the user's words, when the disk is full or the folder cannot be written; then the old file is still there
 */
export async function writeWhole(file: string, content: string | Uint8Array): Promise<void> {
  await writeThrough(file, (handle) => handle.writeFile(content)).catch((error) => {
    throw writeFailure(file, error);
  });
}

/**
 * Writes a file that must not be there yet, whole or not at all; two processes cannot both have written it.
 * Returns false, having written nothing, where a file of that name exists. @throws DataError
 */
export async function writeNew(file: string, content: string | Uint8Array): Promise<boolean> {
  try {
    await writeThrough(file, (handle) => handle.writeFile(content), { replace: false });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw writeFailure(file, error);
  }
}

/**
 * The same for a writer that streams: `write` fills the file under its temporary name; then the bytes are flushed to the disk, the file
 * takes its name, and the folder is flushed. With `replace: false` a file that exists is left alone.
 * Throws the system's own errors (EEXIST for a file that exists); nothing is left behind then.
 */
export async function writeThrough(
  file: string,
  write: (handle: FileHandle, partial: string) => Promise<void>,
  options: { replace?: boolean } = {},
): Promise<void> {
  const target = await targetOf(file);
  if (target === undefined) {
    // A device or a pipe, such as /dev/stdout: it is no file that could be replaced.
    const handle = await open(file, 'w');
    return write(handle, file).finally(() => handle.close());
  }
  const partial = partialName(target);
  try {
    const handle = await open(partial, 'wx');
    try {
      await write(handle, partial);
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (options.replace ?? true) await move(partial, target);
    else await nameOnce(partial, target);
    await syncFolder(dirname(target));
  } catch (error) {
    await rm(partial, { force: true }).catch(() => {});
    throw error;
  }
}

/** Where a file lies that may be a link; undefined for what is there and is no file. */
async function targetOf(file: string): Promise<string | undefined> {
  const found = await lstat(file).catch(() => undefined);
  const target = found?.isSymbolicLink() ? await realpath(file).catch(() => file) : file;
  const there = target === file ? found : await stat(target).catch(() => undefined);
  return there === undefined || there.isFile() || there.isDirectory() || there.isSymbolicLink()
    ? target
    : undefined;
}

/** Gives a file that was written and flushed the name `to`, and flushes the folder. @throws DataError */
export async function giveName(from: string, to: string): Promise<void> {
  try {
    await move(from, to);
    await syncFolder(dirname(to));
  } catch (error) {
    throw writeFailure(to, error);
  }
}

/** Gives a file its name unless another has it, in one step. */
async function nameOnce(partial: string, file: string): Promise<void> {
  try {
    await link(partial, file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS') throw error;
    await (await open(file, 'wx')).close(); // a file system without links: the name is taken first
    await move(partial, file);
    return;
  }
  await rm(partial);
}

/**
 * Adds one line to a file, in one piece beside those of other processes, and flushes it to the disk. A last line that a kill or a full
 * disk cut short stays a line of its own, and swallows none. @throws DataError
 */
export async function appendLine(file: string, line: string): Promise<void> {
  try {
    const handle = await open(file, 'a+');
    try {
      const { size } = await handle.stat();
      const last = Buffer.alloc(1);
      if (size > 0) await handle.read(last, 0, 1, size - 1);
      await handle.writeFile(size > 0 && last.toString() !== '\n' ? `\n${line}\n` : `${line}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw writeFailure(file, error);
  }
}

/** Makes a folder and those above it. @throws DataError in the user's words */
export async function makeFolder(folder: string): Promise<void> {
  await makeFolders(folder).catch((error) => {
    throw writeFailure(folder, error);
  });
}

/**
 * Makes a folder and those above it; the uppermost one that was made, or undefined. Node's own way never ends below a folder that takes none
 * and says ENOENT (/proc). Throws the system's errors.
 */
export async function makeFolders(folder: string): Promise<string | undefined> {
  const made = async (): Promise<boolean> =>
    mkdir(folder).then(
      () => true,
      async (error: NodeJS.ErrnoException) => {
        const there = await stat(folder).catch(() => undefined);
        if (there?.isDirectory()) return false;
        throw there ? Object.assign(error, { code: 'ENOTDIR' }) : error;
      },
    );
  try {
    return (await made()) ? folder : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(folder) === folder) throw error;
    const first = await makeFolders(dirname(folder));
    return (await made()) ? (first ?? folder) : first;
  }
}

/** Removes what killed processes left half written in a folder; only for the one process that may write there. */
export async function removePartials(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => [] as string[]);
  for (const name of names) {
    if (partialOf(name) !== undefined) await rm(join(folder, name), { force: true }).catch(() => {});
  }
}

/** Flushes the names of a folder's files to the disk. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return; // Windows cannot open a folder, and orders renames itself
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } catch (error) {
    // Some network file systems cannot flush a folder; they order renames themselves.
    if (!['EINVAL', 'ENOTSUP', 'EBADF'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    await handle.close();
  }
}

/** The error of a file that could not be written, in the user's words; `bytes` are what it needed. */
export function writeFailure(file: string, error: unknown, bytes?: number): DataError {
  if (error instanceof DataError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  const details = { path: file, ...(code ? { code } : {}), ...(bytes === undefined ? {} : { bytes }) };
  if (code !== 'ENOSPC' && code !== 'EDQUOT')
    return new DataError(`cannot write ${file}: ${message}`, details);
  const cause = code === 'ENOSPC' ? 'disk full' : 'disk quota exceeded';
  const needs = bytes === undefined ? '' : `, which needs ${bytes} bytes`;
  return new DataError(
    `${cause}: cannot write ${file}${needs}. Free some space; the same command goes on`,
    details,
  );
}
