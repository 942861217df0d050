// What names an encoder on the command line: `random:PRESET?seed=1`, `pixels:8?size=64`, `position:8`, or a path with options.
import { existsSync } from 'node:fs';
import { UsageError } from '../errors.js';

/** Height and width in pixels. */
export interface Size {
  readonly height: number;
  readonly width: number;
}

/** The kinds of spec, each with the options that it knows. */
const OPTIONS = {
  random: ['seed', 'size'],
  pixels: ['patch', 'size'],
  position: ['patch', 'size'],
  path: ['weights', 'preset', 'adapter', 'size'],
} as const;

/** A spec taken apart; `place` is what follows the scheme, or the path. */
export interface EncoderSpec {
  readonly scheme: keyof typeof OPTIONS;
  readonly place: string;
  readonly options: ReadonlyMap<string, string>;
  readonly text: string;
}

export const KNOWN_ENCODERS =
  'a run folder, a checkpoint (.safetensors), FILE.pth?preset=PRESET, FILE.onnx, random:PRESET, pixels:PATCH?size=N, position:PATCH?size=N';

/** Takes a spec apart. Throws UsageError for an unknown scheme or option, or a repeated option. */
export function parseEncoderSpec(text: string): EncoderSpec {
  const [, name, rest] = /^([a-z]{2,}):(.*)$/s.exec(text) ?? [];
  const isScheme = name !== undefined && name !== 'path' && Object.hasOwn(OPTIONS, name);
  if (name !== undefined && !isScheme && !existsSync(text)) {
    throw new UsageError(`encoder '${text}' has the unknown scheme '${name}'; accepted: ${KNOWN_ENCODERS}`);
  }
  const scheme = isScheme ? (name as keyof typeof OPTIONS) : 'path';
  const body = isScheme ? rest! : text;
  const mark = !isScheme && existsSync(text) ? -1 : body.lastIndexOf('?');
  const place = mark < 0 ? body : body.slice(0, mark);
  const options = new Map<string, string>();
  for (const part of mark < 0 ? [] : body.slice(mark + 1).split('&')) {
    if (part === '') continue;
    const [key, ...value] = part.split('=') as [string, ...string[]];
    const known: readonly string[] = OPTIONS[scheme];
    if (!known.includes(key)) {
      throw new UsageError(
        `encoder '${text}' has the unknown option '${key}'; known options: ${known.join(', ')}`,
      );
    }
    if (options.has(key)) throw new UsageError(`encoder '${text}' names '${key}' twice`);
    options.set(key, value.join('='));
  }
  return { scheme, place, options, text };
}

/** The spec's canonical text: its place and the options that are given, sorted. */
export function specText(
  { scheme, place }: Pick<EncoderSpec, 'scheme' | 'place'>,
  options: Record<string, string | number | undefined>,
): string {
  const query = Object.keys(options)
    .filter((key) => options[key] !== undefined)
    .sort()
    .map((key) => `${key}=${options[key]}`);
  return `${scheme === 'path' ? '' : `${scheme}:`}${place}${query.length > 0 ? `?${query.join('&')}` : ''}`;
}

/** `224` or `HEIGHTxWIDTH` in pixels. Throws UsageError that begins with `what`. */
export function parseSize(text: string, what: string): Size {
  const [, height, width] = /^(\d+)(?:x(\d+))?$/.exec(text) ?? [];
  if (!height || Number(height) < 1 || Number(width ?? 1) < 1) {
    throw new UsageError(
      `${what} is '${text}'; accepted: pixels such as 224, or HEIGHTxWIDTH such as 224x336`,
    );
  }
  return { height: Number(height), width: Number(width ?? height) };
}

/** The text that parseSize reads back. */
export const sizeText = ({ height, width }: Size): string =>
  height === width ? `${height}` : `${height}x${width}`;

/** A whole number option. Throws UsageError naming it. */
export function wholeOption(spec: EncoderSpec, key: string, least: number): number | undefined {
  const text = spec.options.get(key);
  if (text === undefined) return undefined;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least) || !Number.isSafeInteger(value)) {
    throw new UsageError(
      `encoder '${spec.text}' has ${key}=${text}; it must be a whole number of at least ${least}`,
    );
  }
  return value;
}

/** The size that the spec names, else `fallback`. */
export function sizeOption(spec: EncoderSpec, fallback: Size | undefined): Size | undefined {
  const text = spec.options.get('size');
  return text === undefined ? fallback : parseSize(text, `size of encoder '${spec.text}'`);
}

/** Rows and columns of patches. Throws UsageError when the patch does not divide the size, naming the nearest that fits. */
export function gridOf(
  what: string,
  { height, width }: Size,
  patch: number,
): { rows: number; columns: number } {
  for (const [side, pixels] of [
    ['height', height],
    ['width', width],
  ] as const) {
    if (pixels % patch === 0) continue;
    const near = Math.max(1, Math.round(pixels / patch)) * patch;
    throw new UsageError(
      `encoder '${what}': the ${side} ${pixels} is not divisible by its patch ${patch}; nearest that fits: ${near}`,
    );
  }
  return { rows: height / patch, columns: width / patch };
}
