// JSON files that carry a digest of their own contents: an edited, torn or damaged one is told from one that was written.

import { readFile, stat } from 'node:fs/promises';
import { DataError } from '../../errors.js';
import { canonicalJson, sha256 } from '../hash.js';
import { writeWhole } from './write.js';

/** The key that holds the digest, last in the file. */
export const SEAL = 'sha256';

/** Objects of this version or a later one, by their key `schema`, always have a digest: that it was taken out is noticed. */
export const SEALED_SCHEMA = 2;

/** The digest of an object: SHA-256 of its canonical JSON without the key of the digest itself. */
export function sealOf(value: object): string {
  const { [SEAL]: _, ...rest } = JSON.parse(JSON.stringify(value)) as Record<string, unknown>;
  return sha256(canonicalJson(rest));
}

/** The text of a sealed file; the object's `schema`, if it has none, is the first one that needs a digest. */
export function sealedText(value: object, indent: 1 | 2 = 1): string {
  const whole = { schema: SEALED_SCHEMA, ...value };
  return `${JSON.stringify({ ...whole, [SEAL]: sealOf(whole) }, null, indent)}\n`;
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

/** Bytes of a JSON file at most; the largest record known has a few million. */
const MOST_BYTES = 256 * 2 ** 20;

/**
 * Takes the text of a sealed file apart; `remedy` says what to do about a bad one. Throws DataError, whose details hold `fault: 'torn'` for
 * a text that is no whole JSON object (as a kill or a full disk left it) and `fault: 'changed'` for one that does not match its digest.
 */
export function unseal(file: string, text: string, remedy?: string): Unsealed {
  const fail = (fault: 'torn' | 'changed', what: string): DataError =>
    new DataError(`${file} ${what}${remedy === undefined ? '' : `: ${remedy}`}`, { path: file, fault });
  const torn = (why: string): DataError => fail('torn', `is torn (${why})`);
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
  if (digest === undefined) {
    if (typeof value.schema === 'number' && value.schema >= SEALED_SCHEMA)
      throw fail('changed', `was changed after it was written (its ${SEAL} is gone)`);
    return { value, seal: 'unsealed' };
  }
  if (digest !== digestOf(value) || !sameText(text, whole))
    throw fail('changed', `was changed after it was written (its contents do not match its ${SEAL})`);
  return { value, seal: 'intact' };
}

/** Undefined for what cannot have been written, such as objects in objects without end. */
function digestOf(value: object): string | undefined {
  try {
    return sealOf(value);
  } catch {
    return undefined;
  }
}

/** Whether a text is how its value is written, apart from white space: no key twice, no number in another spelling. */
function sameText(text: string, value: unknown): boolean {
  return text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, '$1') === JSON.stringify(value);
}

/** Reads a sealed file; see unseal. @throws DataError naming the file */
export async function readSealed(file: string, remedy?: string): Promise<Unsealed> {
  return unseal(file, await readText(file), remedy);
}

/** The text of a plain file of a size that can be. @throws DataError naming the file */
export async function readText(file: string): Promise<string> {
  const fail = (why: string, fault?: string): DataError =>
    new DataError(`${file} cannot be read: ${why}`, { path: file, fault });
  try {
    const found = await stat(file);
    if (!found.isFile()) throw fail('it is no plain file', 'foreign');
    if (found.size > MOST_BYTES) throw fail(`it has ${found.size} bytes, more than ${MOST_BYTES}`, 'foreign');
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof DataError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw fail(code ?? message, code);
  }
}

/** One line of a file of lines, with its digest. */
export const sealedLine = (value: object): string =>
  JSON.stringify({ schema: SEALED_SCHEMA, ...value, [SEAL]: sealOf({ schema: SEALED_SCHEMA, ...value }) });

/** A line with its place, counted from 1: its object, or what is wrong with it. */
export type Line = { line: number } & ({ value: Record<string, unknown>; seal: Seal } | { fault: string });

/** Takes a text of sealed lines apart. A last line without an end is torn; empty lines are left out. */
export function unsealLines(text: string): Line[] {
  return text.split('\n').flatMap((own, i): Line[] => {
    if (own.trim() === '') return [];
    try {
      return [{ line: i + 1, ...unseal(`line ${i + 1}`, own) }];
    } catch (error) {
      return [{ line: i + 1, fault: (error as Error).message }];
    }
  });
}
