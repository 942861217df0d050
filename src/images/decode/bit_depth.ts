// Values that are not 8-bit RGB made so: inks, 16 bits and floats, with what is refused because it would come out nearly black.

import { DataError } from '../../errors.js';

/** The stored values that become black and white; what lies outside is clipped. */
export type ValueRange = readonly [low: number, high: number];

/** CMYK bytes [pixels, 4], 255 the most ink, as RGB bytes [pixels, 3]: Pillow's `convert('RGB')` (libImaging/Convert.c, cmyk2rgb). */
export function inksToRgb(inks: Uint8Array): Uint8Array<ArrayBuffer> {
  const rgb = new Uint8Array((inks.length / 4) * 3);
  for (let from = 0, to = 0; from < inks.length; from += 4, to += 3) {
    const light = 255 - inks[from + 3]!;
    for (let c = 0; c < 3; c++) {
      const product = inks[from + c]! * light + 128;
      rgb[to + c] = light - (((product >> 8) + product) >> 8);
    }
  }
  return rgb;
}

const FULL = 65_536;
/** Shares of the 65,536 values of 16 bits: a file whose values all lie below the first, or closer together than the second, fills a sliver. */
const LEAST_HIGHEST = FULL / 4;
const LEAST_SPAN = FULL / 16;

/**
 * 16-bit values as bytes: with `range` linearly between its ends, without it their high byte (as Pillow takes 16-bit RGB).
 * Throws DataError with the numbers where no range is given and the values fill a sliver of theirs, as 12 bits stored in 16 do.
 */
export function narrowDeep(path: string, values: Uint16Array, range?: ValueRange): Uint8Array<ArrayBuffer> {
  if (range) return scale(values, range);
  const { lowest, highest } = extremes(values);
  if (highest > 0 && (highest < LEAST_HIGHEST || (highest > lowest && highest - lowest < LEAST_SPAN))) {
    const bits = Math.max(1, Math.ceil(Math.log2(highest + 1)));
    throw new DataError(
      `${path} holds 16-bit values from ${lowest} to ${highest} only, a sliver of 0 to 65535 that would come out nearly one grey: say in the source which values are black and white, ?range=0,${2 ** bits - 1} for ${bits} bits, or ?range=0,65535 if it is meant so`,
      { file: path, lowest, highest },
    );
  }
  const bytes = new Uint8Array(values.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = values[i]! >> 8;
  return bytes;
}

/** Floats as bytes, linearly between the ends of `range`. Throws DataError with the numbers without a range, or for values that are no numbers. */
export function narrowFloats(
  path: string,
  values: Float32Array,
  range?: ValueRange,
): Uint8Array<ArrayBuffer> {
  const { lowest, highest, strange } = extremes(values);
  if (strange > 0) {
    throw new DataError(`${path} holds ${strange} values that are no finite numbers: replace them`, {
      file: path,
    });
  }
  if (!range) {
    throw new DataError(
      `${path} holds floats from ${lowest} to ${highest}: say in the source which values are black and white, for example ?range=0,1`,
      { file: path, lowest, highest },
    );
  }
  return scale(values, range);
}

function scale(values: ArrayLike<number>, [low, high]: ValueRange): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(values.length);
  const unit = 255 / (high - low);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = Math.round(Math.min(255, Math.max(0, (values[i]! - low) * unit)));
  }
  return bytes;
}

function extremes(values: ArrayLike<number>): { lowest: number; highest: number; strange: number } {
  let [lowest, highest, strange] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isFinite(value)) strange++;
    else {
      if (value < lowest) lowest = value;
      if (value > highest) highest = value;
    }
  }
  return { lowest, highest, strange };
}
