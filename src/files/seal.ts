// JSON files that carry a digest of their own contents: an edited, torn or damaged one is told from one that was written.

import { readFile } from 'node:fs/promises';
import { DataError } from '../errors.js';
import { canonicalJson, sha256 } from './hash.js';
import { writeWhole } from './write.js';

/** The key that holds the digest, last in the file. */
export const SEAL = 'sha256';

/** The digest of an object: SHA-256 of its canonical JSON without the key of the digest itself. */
export function sealOf(value: object): string {
  const { [SEAL]: _, ...rest } = JSON.parse(JSON.stringify(value)) as Record<string, unknown>;
  return sha256(canonicalJson(rest));
}

/** The text of a sealed file. */
export function sealedText(value: object, indent: 1 | 2 = 1): string {
  return `${JSON.stringify({ ...value, [SEAL]: sealOf(value) }, null, indent)}\n`;
}

/** Writes an object with its digest; see writeWhole. @throws DataError */
export const writeSealed = (file: string, value: object): Promise<void> =>
  writeWhole(file, sealedText(value));

/** What a sealed file turned out to be. `unsealed` is one of an older version, which had no digest. */
export type Seal = 'intact' | 'unsealed';

/** A file's object without its digest, and whether it had one. */
export interface Unsealed {
  value: Record<string, unknown>;
  seal: Seal;
}

/**
 * Takes the text of a sealed file apart. Throws DataError, whose details hold `fault: 'torn'` for a text that is no whole JSON object
 * (as a kill or a full disk left it) and `fault: 'changed'` for one that does not match its digest.
 */
export function unseal(file: string, text: string): Unsealed {
  const torn = (why: string): DataError =>
    new DataError(`${file} is torn: ${why}`, { path: file, fault: 'torn' });
  if (text.trim() === '') throw torn('it is empty');
  let whole: unknown;
  try {
    whole = JSON.parse(text);
  } catch (error) {
    throw torn((error as Error).message);
  }
  if (typeof whole !== 'object' || whole === null || Array.isArray(whole))
    throw torn('it holds no JSON object');
  const { [SEAL]: digest, ...value } = whole as Record<string, unknown>;
  if (digest === undefined) return { value, seal: 'unsealed' };
  if (digest !== sealOf(value)) {
    throw new DataError(`${file} was changed after it was written: its contents do not match its sha256`, {
      path: file,
      fault: 'changed',
    });
  }
  return { value, seal: 'intact' };
}

/** Reads a sealed file; see unseal. @throws DataError naming the file */
export async function readSealed(file: string): Promise<Unsealed> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new DataError(`${file} cannot be read: ${error.code ?? error.message}`, {
      path: file,
      fault: error.code,
    });
  });
  return unseal(file, text);
}
