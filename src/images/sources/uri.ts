// Image source URIs, `scheme:place?key=value&…`: parsing with strict keys, and the one spelling that is written to records.

import { isAbsolute, resolve } from 'node:path';
import { UsageError } from '../../errors.js';
import type { SourceKind, SourceUri } from '../source.js';

/**
 * Text with `%XX` replaced by the byte (of UTF-8) that it stands for, so that a path may hold what has a meaning in a URI: `%3F` for `?`, `%2C` for
 * a comma of pairs, `%26` for `&` in an option, `%25` for a percent sign before two digits. Anything else stays as it is written.
 */
function decoded(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => {
    const bytes = Buffer.from(escapes.replaceAll('%', ''), 'hex');
    const plain = bytes.toString('utf8');
    return Buffer.from(plain).equals(bytes) ? plain : escapes;
  });
}

/** The opposite of `decoded`: `special` characters, control characters and percent signs that would be taken for an escape. */
function encoded(text: string, special: RegExp): string {
  const percent = (character: string): string =>
    [...Buffer.from(character)]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
      .join('');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a newline in a path must not end a line of a log
  return text.replace(/%(?=[0-9a-f]{2})|[\u0000-\u001f\u007f]/gi, percent).replace(special, percent);
}

/** Takes a source URI apart. Throws UsageError for a missing or unknown scheme, a missing place, a repeated option or one that its kind does not have. */
export function parseSourceUri(text: string, kinds: Readonly<Record<string, SourceKind>>): SourceUri {
  const wrong = (what: string): UsageError => new UsageError(`Image source '${text}' ${what}`);
  const colon = text.indexOf(':');
  const scheme = text.slice(0, Math.max(colon, 0));
  if (!Object.hasOwn(kinds, scheme)) {
    const known = Object.entries(kinds).map(([name, { place }]) => `${name}:${place}`);
    const what = colon < 0 ? 'has no scheme' : `has the unknown scheme '${scheme}'`;
    throw wrong(`${what}; known sources: ${known.join(', ')}`);
  }
  const { example, options } = kinds[scheme]!;
  const mark = text.indexOf('?', colon);
  const place = text.slice(colon + 1, mark < 0 ? undefined : mark);
  if (place === '') throw wrong(`names no place; for example ${example}`);
  const query = new Map<string, string>();
  for (const part of mark < 0 ? [] : text.slice(mark + 1).split('&')) {
    if (part === '') continue;
    const [key, ...value] = part.split('=') as [string, ...string[]];
    if (query.has(key)) throw wrong(`names '${key}' twice`);
    if (!Object.hasOwn(options, key)) {
      const known = Object.keys(options).join(', ');
      throw wrong(`has the unknown option '${key}'; known options: ${known} (a ? of a path is written %3F)`);
    }
    query.set(key, decoded(value.join('=')));
  }
  return { scheme, place: decoded(place), places: place.split(',').map(decoded), query, text };
}

/** A path made absolute; one that is stays as it is written. */
export const absolute = (path: string): string => (isAbsolute(path) ? path : resolve(path));

/**
 * The URI with its options sorted, its place a path that is absolute already: what records hold and workers open. Several places are
 * joined by commas. Characters that would mean something else are written as %XX.
 */
export function canonicalUri(
  scheme: string,
  place: string | string[],
  options: Record<string, string | number | undefined>,
): string {
  const several = Array.isArray(place);
  const where = [place]
    .flat()
    .map((one) => encoded(one, several ? /[?,]/g : /\?/g))
    .join(',');
  const query = Object.keys(options)
    .filter((key) => options[key] !== undefined)
    .sort()
    .map((key) => `${key}=${encoded(`${options[key]}`, /&/g)}`);
  return `${scheme}:${where}${query.length > 0 ? `?${query.join('&')}` : ''}`;
}

/** Options of several kinds, with what they accept. */
export const SPLIT_OPTION = { split: 'train or test' };
export const RANGE_OPTION = {
  range: 'LOW,HIGH: the values of 16-bit and float images that are black and white',
};

/** The split that the URI names, else `fallback`. Throws UsageError for other words than train and test. */
export function splitOption(
  uri: SourceUri,
  fallback: 'train' | 'test' | undefined,
): 'train' | 'test' | undefined {
  const value = uri.query.get('split');
  if (value === undefined) return fallback;
  if (value !== 'train' && value !== 'test') {
    throw new UsageError(`Image source '${uri.text}' has split '${value}'; it must be train or test`);
  }
  return value;
}

/**
 * `range=LOW,HIGH`: the values of images of 16 bits or floats that become black and white; undefined where it is not given. Throws UsageError
 * for anything but two numbers, the first below the second.
 */
export function rangeOption(uri: SourceUri): readonly [low: number, high: number] | undefined {
  const text = uri.query.get('range');
  if (text === undefined) return undefined;
  const ends = text.split(',').map((end) => (end.trim() === '' ? Number.NaN : Number(end)));
  const [low, high] = ends as [number, number];
  if (ends.length !== 2 || !Number.isFinite(high - low) || !(low < high)) {
    throw new UsageError(
      `Image source '${uri.text}' has range=${text}; it must be two numbers, the value of black and the higher one of white, such as range=0,4095`,
    );
  }
  return [low, high];
}

/** A number option, checked against its bounds (inclusive). Throws UsageError naming the option, its value and the bounds. */
export function numberOption(
  uri: SourceUri,
  key: string,
  fallback: number,
  bounds: { low: number; high: number; whole?: boolean },
): number {
  const text = uri.query.get(key);
  const value = text === undefined ? fallback : text.trim() === '' ? Number.NaN : Number(text);
  const { low, high, whole = true } = bounds;
  if (!(value >= low && value <= high) || (whole && !Number.isInteger(value))) {
    const range = Number.isFinite(high) ? `from ${low} to ${high}` : `of at least ${low}`;
    throw new UsageError(
      `Image source '${uri.text}' has ${key}=${text ?? value}; it must be a ${whole ? 'whole number' : 'number'} ${range}`,
    );
  }
  return value;
}
