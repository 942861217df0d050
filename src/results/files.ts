// Small files written whole or not at all, and the words for those that could not be written.
import { open, rename, rm } from 'node:fs/promises';
import { DataError } from '../errors.js';
import { PARTIAL } from '../tensor/safetensors.js';

/** `value` as indented JSON; see writeText. */
export async function writeJson(file: string, value: unknown): Promise<void> {
  await writeText(file, `${JSON.stringify(value, null, 2)}\n`);
}

/** Writes a small file whole or not at all, whenever the process or the machine stops. @throws DataError */
export const writeText = (file: string, text: string): Promise<void> => writeWhole(file, text);

/** The same for bytes. @throws DataError */
export async function writeWhole(file: string, content: string | Uint8Array): Promise<void> {
  const partial = file + PARTIAL;
  try {
    const handle = await open(partial, 'w');
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(partial, file);
  } catch (error) {
    await rm(partial, { force: true }).catch(() => {});
    throw writeFailure(file, error);
  }
}

/** The error of a file that could not be written, in the user's words. */
export function writeFailure(file: string, error: unknown): DataError {
  const full = ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '');
  return new DataError(
    full
      ? `disk full: cannot write ${file}. Free some space; the same command goes on`
      : `cannot write ${file}: ${reason(error)}`,
    { path: file },
  );
}

const reason = (error: unknown): string => (error as Error).message;
