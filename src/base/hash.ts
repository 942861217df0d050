// Content hashes: the SHA-256 of bytes, and JSON whose text depends on the values only.
import { createHash } from 'node:crypto';

/** SHA-256 of the concatenated parts, as 64 lower-case hexadecimal digits. */
export function sha256(...parts: (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

/**
 * JSON with the keys of every object sorted and no white space, so that equal values give equal text.
 * Keys whose value is undefined are left out, as JSON does. Throws TypeError, with the path, for what JSON cannot hold exactly:
 * NaN, infinities, functions, bigints, symbols, undefined inside an array.
 */
export function canonicalJson(value: unknown, path = '$'): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`${path} is ${value}, which JSON cannot hold`);
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) {
    return `[${value.map((item, i) => canonicalJson(item, `${path}[${i}]`)).join(',')}]`;
  }
  if (typeof value === 'object' && isPlain(value)) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    entries.sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item, `${path}.${key}`)}`).join(',')}}`;
  }
  throw new TypeError(`${path} is of a kind that JSON cannot hold: ${Object.prototype.toString.call(value)}`);
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/** SHA-256 of a value's canonical JSON: the identity of a config or of any plain record. */
export function hashOf(value: unknown): string {
  return sha256(canonicalJson(value));
}
