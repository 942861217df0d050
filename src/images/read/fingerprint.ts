// What tells images apart or not: a digest of the decoded pixels, a perceptual hash of 64 bits, and a small grey picture.

import { sha256 } from '../../base/hash.js';
import { type RawImage, resizeBicubic } from '../decode/resample.js';
import type { ImageSource } from '../source.js';

/** Side of the small grey picture. */
export const THUMB = 32;
/** Side of the square of low frequencies that the hash is made of. */
const FREQUENCIES = 8;

/** Fingerprint of one image. */
export interface Fingerprint {
  index: number;
  /** First half of the SHA-256 of size and RGB bytes: equal for equal pixels, however they are stored. */
  digest: string;
  /** Upper and lower 32 bits of the perceptual hash. */
  high: number;
  low: number;
  /** Grey bytes [THUMB, THUMB]. */
  thumb: Uint8Array<ArrayBuffer>;
}

/** Fingerprint of image `i`. Throws DataError naming the image when it cannot be read. */
export async function fingerprintOf(source: ImageSource, i: number): Promise<Fingerprint> {
  const image = await (source.readUpright?.(i) ?? source.read(i)); // as sources without label maps give it
  const thumb = greyThumb(image);
  const size = `${image.height} ${image.width} `;
  return { index: i, digest: sha256(size, image.data).slice(0, 32), thumb, ...perceptualHash(thumb) };
}

/** The image squashed to THUMB x THUMB and made grey (ITU-R BT.601, as JPEG's luminance). */
export function greyThumb(image: RawImage): Uint8Array<ArrayBuffer> {
  const { data } = resizeBicubic(image, THUMB, THUMB);
  const grey = new Uint8Array(THUMB * THUMB);
  for (let p = 0; p < grey.length; p++) {
    grey[p] = Math.round(0.299 * data[3 * p]! + 0.587 * data[3 * p + 1]! + 0.114 * data[3 * p + 2]!);
  }
  return grey;
}

/** Rows 0..7 of the DCT-II of length THUMB, [8, THUMB], without its scale: only signs against the median are used. */
const COSINES = Float64Array.from({ length: FREQUENCIES * THUMB }, (_, at) => {
  const [frequency, x] = [Math.floor(at / THUMB), at % THUMB];
  return Math.cos((Math.PI / THUMB) * (x + 0.5) * frequency);
});

/**
 * 64-bit perceptual hash of a grey thumb: which of the 8 x 8 lowest frequencies of its DCT lie above their median (pHash, Zauner 2010;
 * the mean grey, frequency (0, 0), counts for the median as 0). Scaling, recompression and changes of brightness move few bits.
 */
export function perceptualHash(thumb: Uint8Array): { high: number; low: number } {
  const rows = new Float64Array(THUMB * FREQUENCIES); // [y, horizontal frequency]
  for (let y = 0; y < THUMB; y++) {
    for (let u = 0; u < FREQUENCIES; u++) {
      let sum = 0;
      for (let x = 0; x < THUMB; x++) sum += thumb[y * THUMB + x]! * COSINES[u * THUMB + x]!;
      rows[y * FREQUENCIES + u] = sum;
    }
  }
  const values = new Float64Array(FREQUENCIES * FREQUENCIES);
  for (let v = 0; v < FREQUENCIES; v++) {
    for (let u = 0; u < FREQUENCIES; u++) {
      let sum = 0;
      for (let y = 0; y < THUMB; y++) sum += rows[y * FREQUENCIES + u]! * COSINES[v * THUMB + y]!;
      values[v * FREQUENCIES + u] = sum;
    }
  }
  values[0] = 0;
  const sorted = values.slice().sort();
  const median = (sorted[31]! + sorted[32]!) / 2;
  let high = 0;
  let low = 0;
  for (let bit = 0; bit < 32; bit++) {
    if (values[bit]! > median) high |= 1 << bit;
    if (values[bit + 32]! > median) low |= 1 << bit;
  }
  return { high: high >>> 0, low: low >>> 0 };
}
