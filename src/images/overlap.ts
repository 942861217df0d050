// Images of one source that another holds too, the same or nearly: the guard against test images among those trained on.

import { type Fingerprint, THUMB } from './read/fingerprint.js';
import { readInOrder } from './read/readers.js';
import type { ImageSource } from './source.js';
import { spread } from './survey.js';

/** Largest number of the 64 bits of two hashes in which near-duplicates differ. */
export const MAX_DISTANCE = 7;
/** Least correlation of the grey thumbs of near-duplicates. */
export const MIN_CORRELATION = 0.99;
/** Thumbs whose grey levels deviate less than this from their mean show nothing that a hash could hold on to. */
const FLAT_DEVIATION = 2;

const BANDS = 4; // of 16 bits: hashes that differ in at most 7 bits differ in at most 1 bit of some band
const AREA = THUMB * THUMB;

/** How to look; `limit` alone changes what is found. */
export interface OverlapOptions {
  /** Images of each source at most, evenly spread; without it all are compared. */
  limit?: number;
  /** Reading threads (see readAll). */
  workers?: number;
}

/** Fingerprints of a source's images. */
export interface Fingerprints {
  source: ImageSource;
  /** Which images, as indices of the source. */
  indices: Int32Array;
  digests: string[];
  /** [image, 2]: upper and lower halves. */
  hashes: Uint32Array;
  /** [image, THUMB, THUMB]. */
  thumbs: Uint8Array;
}

/** An image of `b` that is one of `a`. */
export interface Match {
  /** Indices in their sources, and names. */
  a: number;
  b: number;
  nameA: string;
  nameB: string;
  /** Correlation of the grey thumbs; 1 for equal pixels. */
  correlation: number;
}

/** What two sources have in common; each image of `b` is in one list at most, with its best match. */
export interface Overlap {
  /** Images compared. */
  images: { a: number; b: number };
  /** Equal in every decoded pixel. */
  same: Match[];
  /** Not equal, but near-duplicates. */
  near: Match[];
  /** Images of `b` that are too flat to be told apart by anything but equal pixels. */
  flat: number;
}

/**
 * Finds the images of `b` that `a` holds too. Same: equal decoded pixels (SHA-256), whatever the files. Near: perceptual hashes (64-bit
 * DCT) that differ in at most MAX_DISTANCE bits and grey 32 x 32 thumbs that correlate by MIN_CORRELATION or more. So it finds copies that
 * were recompressed, resized, squashed, made grey (as JPEG and Pillow do), darkened or given contrast; it does not find crops that lose more than about 2 % a
 * side, nor mirrored or turned copies. Reads every image once; the search itself takes time about in proportion to the images.
 * Throws DataError for an image that cannot be read.
 */
export async function findOverlap(
  a: ImageSource,
  b: ImageSource,
  options: OverlapOptions = {},
): Promise<Overlap> {
  return compareFingerprints(await fingerprints(a, options), await fingerprints(b, options));
}

/** Fingerprints of a source, 1 KB an image, for several comparisons. Throws DataError for an image that cannot be read. */
export async function fingerprints(source: ImageSource, options: OverlapOptions = {}): Promise<Fingerprints> {
  const indices = Int32Array.from(spread(source.length, options.limit ?? source.length));
  const digests: string[] = [];
  const hashes = new Uint32Array(2 * indices.length);
  const thumbs = new Uint8Array(indices.length * AREA);
  let at = 0;
  const prints: AsyncIterable<Fingerprint> = readInOrder(source, indices, { read: 'fingerprint' }, options);
  for await (const { digest, high, low, thumb } of prints) {
    digests.push(digest);
    hashes.set([high, low], 2 * at);
    thumbs.set(thumb, at * AREA);
    at++;
  }
  return { source, indices, digests, hashes, thumbs };
}

/** What `findOverlap` finds, from fingerprints. */
export function compareFingerprints(a: Fingerprints, b: Fingerprints): Overlap {
  const byDigest = new Map<string, number>();
  for (let i = a.digests.length - 1; i >= 0; i--) byDigest.set(a.digests[i]!, i);
  const search = new HashSearch(a.hashes);
  const flatA = Uint8Array.from(a.digests, (_, i) => (isFlat(thumbOf(a, i)) ? 1 : 0));
  const overlap: Overlap = {
    images: { a: a.indices.length, b: b.indices.length },
    same: [],
    near: [],
    flat: 0,
  };
  const match = (i: number, j: number, correlation: number): Match => {
    const [indexA, indexB] = [a.indices[i]!, b.indices[j]!];
    return { a: indexA, b: indexB, nameA: a.source.name(indexA), nameB: b.source.name(indexB), correlation };
  };
  for (let j = 0; j < b.indices.length; j++) {
    const equal = byDigest.get(b.digests[j]!);
    if (equal !== undefined) {
      overlap.same.push(match(equal, j, 1));
      continue;
    }
    const thumb = thumbOf(b, j);
    if (isFlat(thumb)) {
      overlap.flat++;
      continue;
    }
    let best = -1;
    let closest = MIN_CORRELATION;
    for (const i of search.near(b.hashes[2 * j]!, b.hashes[2 * j + 1]!)) {
      const likeness = flatA[i] ? 0 : correlation(thumbOf(a, i), thumb);
      if (likeness > closest || (likeness === closest && best < 0)) [best, closest] = [i, likeness];
    }
    if (best >= 0) overlap.near.push(match(best, j, closest));
  }
  return overlap;
}

/** One line that warns of an overlap, or undefined where there is none. `a` and `b` say what the sources are, `training` and `test` say. */
export function overlapWarning({ images, same, near }: Overlap, a: string, b: string): string | undefined {
  if (same.length + near.length === 0) return undefined;
  const example = same[0] ?? near[0]!;
  return `${same.length} of ${images.b} ${b} images are also among the ${images.a} ${a} images (equal pixels), ${near.length} more nearly so: for example ${example.nameB} is ${example.nameA}`;
}

function thumbOf(prints: Fingerprints, i: number): Uint8Array {
  return prints.thumbs.subarray(i * AREA, (i + 1) * AREA);
}

function isFlat(thumb: Uint8Array): boolean {
  let sum = 0;
  let squares = 0;
  for (const grey of thumb) {
    sum += grey;
    squares += grey * grey;
  }
  return squares / AREA - (sum / AREA) ** 2 < FLAT_DEVIATION ** 2;
}

/** Pearson's correlation of two thumbs that are not flat. */
function correlation(a: Uint8Array, b: Uint8Array): number {
  let sumA = 0;
  let sumB = 0;
  let squaresA = 0;
  let squaresB = 0;
  let products = 0;
  for (let p = 0; p < AREA; p++) {
    const x = a[p]!;
    const y = b[p]!;
    sumA += x;
    sumB += y;
    squaresA += x * x;
    squaresB += y * y;
    products += x * y;
  }
  const variances = (AREA * squaresA - sumA * sumA) * (AREA * squaresB - sumB * sumB);
  return (AREA * products - sumA * sumB) / Math.sqrt(variances);
}

/**
 * Hashes within MAX_DISTANCE bits of a given one, by multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): in each band of 16 bits
 * the buckets of the same value and of those one bit away hold every candidate, which is then compared whole.
 */
class HashSearch {
  /** For each band: where the bucket of each value begins in `members`. */
  private readonly starts: Int32Array[] = [];
  private readonly members: Int32Array[] = [];
  private readonly seen: Int32Array;
  private queries = 0;

  constructor(private readonly hashes: Uint32Array) {
    const count = hashes.length / 2;
    this.seen = new Int32Array(count);
    for (let band = 0; band < BANDS; band++) {
      const starts = new Int32Array(65537);
      for (let i = 0; i < count; i++) starts[this.bandOf(i, band) + 1]!++;
      for (let value = 0; value < 65536; value++) starts[value + 1]! += starts[value]!;
      const next = starts.slice();
      const members = new Int32Array(count);
      for (let i = 0; i < count; i++) members[next[this.bandOf(i, band)]!++] = i;
      this.starts.push(starts);
      this.members.push(members);
    }
  }

  /** Positions of the hashes near (high, low), each once. */
  near(high: number, low: number): number[] {
    const query = ++this.queries;
    const found: number[] = [];
    for (let band = 0; band < BANDS; band++) {
      const value = bandOf(high, low, band);
      const [starts, members] = [this.starts[band]!, this.members[band]!];
      for (let flip = 0; flip <= 16; flip++) {
        const bucket = flip === 16 ? value : value ^ (1 << flip);
        for (let at = starts[bucket]!; at < starts[bucket + 1]!; at++) {
          const i = members[at]!;
          if (this.seen[i] === query) continue;
          this.seen[i] = query;
          const distance = ones(this.hashes[2 * i]! ^ high) + ones(this.hashes[2 * i + 1]! ^ low);
          if (distance <= MAX_DISTANCE) found.push(i);
        }
      }
    }
    return found;
  }

  private bandOf(i: number, band: number): number {
    return bandOf(this.hashes[2 * i]!, this.hashes[2 * i + 1]!, band);
  }
}

function bandOf(high: number, low: number, band: number): number {
  const half = band < 2 ? high : low;
  return band % 2 === 0 ? half >>> 16 : half & 0xffff;
}

/** Number of bits set. */
function ones(value: number): number {
  let x = value - ((value >>> 1) & 0x55555555);
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333);
  x = (x + (x >>> 4)) & 0x0f0f0f0f;
  return Math.imul(x, 0x01010101) >>> 24;
}
