// What the choice of test images alone does to the difference of two arms: a paired bootstrap of the seed-averaged difference.
import type { HeadCounts } from '../../results/counts.js';
import { variance } from '../statistics/differences.js';
import { draws } from '../statistics/random.js';

const RESAMPLES = 1000;

/** Pixel counts of one head, image by image. */
interface Pixels {
  readonly images: readonly number[][];
  readonly classes: number;
  /** Classes of the test set, which every resample averages over, with the IoU of the whole set. */
  readonly fixed: readonly { id: number; iou: number }[];
  /** What the mean is over: the classes of the test set, and those that are predicted only. */
  readonly seen: number;
}

/**
 * Squared standard error, over test images, of mean(a) - mean(b): heads of one score by seed (and probe seed). NaN where the heads were not
 * counted on the same images. The classes of a mean IoU are those of the whole test set: a class without a pixel in a resample has the IoU
 * that it has in all of it.
 */
export function imageVariance(a: readonly HeadCounts[], b: readonly HeadCounts[], seed = 0): number {
  if (a.length === 0 || b.length === 0) return Number.NaN;
  const all = [...a, ...b];
  if (all.every(({ hits }) => hits)) return hitsVariance(a, b);
  if (all.every(({ pixels }) => pixels)) return pixelsVariance(a, b, seed);
  return Number.NaN;
}

/** Of a mean of hits the bootstrap's variance is known: that of the differences over their number. */
function hitsVariance(a: readonly HeadCounts[], b: readonly HeadCounts[]): number {
  const samples = a[0]!.hits!.samples;
  const same = (h: HeadCounts): boolean =>
    h.hits!.samples.length === samples.length && h.hits!.samples.every((s, i) => s === samples[i]);
  if (![...a, ...b].every(same)) return Number.NaN;
  const mean = (heads: readonly HeadCounts[], i: number): number =>
    heads.reduce((sum, h) => sum + h.hits!.hits[i]!, 0) / heads.length;
  const differences = samples.map((_, i) => mean(a, i) - mean(b, i));
  const n = differences.length;
  return (variance(differences) * (n - 1)) / n / n;
}

function pixelsVariance(a: readonly HeadCounts[], b: readonly HeadCounts[], seed: number): number {
  const count = a[0]!.pixels!.images.length;
  if ([...a, ...b].some((h) => h.pixels!.images.length !== count)) return Number.NaN;
  const [left, right] = [a, b].map((heads) => heads.map((h) => prepare(h.pixels!)));
  const random = draws(seed);
  const times = new Int32Array(count);
  const found: number[] = [];
  for (let r = 0; r < RESAMPLES; r++) {
    times.fill(0);
    for (let i = 0; i < count; i++) times[random(count)]!++;
    const mean = (sets: readonly Pixels[]): number =>
      sets.reduce((sum, p) => sum + meanIou(p, times), 0) / sets.length;
    found.push(mean(left!) - mean(right!));
  }
  return variance(found);
}

function prepare({ images, classes, ignore }: NonNullable<HeadCounts['pixels']>): Pixels {
  const sums = totals({ images, classes }, new Int32Array(images.length).fill(1));
  const fixed: { id: number; iou: number }[] = [];
  let seen = 0;
  for (let id = 0; id < classes; id++) {
    const union = sums.truth[id]! + sums.predicted[id]! - sums.hits[id]!;
    if (union > 0) seen++;
    if (sums.truth[id]! > 0 && !ignore.includes(id)) fixed.push({ id, iou: sums.hits[id]! / union });
  }
  return { images, classes, fixed, seen };
}

function totals({ images, classes }: Pick<Pixels, 'images' | 'classes'>, times: Int32Array) {
  const [hits, truth, predicted] = [0, 1, 2].map(() => new Float64Array(classes)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  for (let i = 0; i < images.length; i++) {
    const n = times[i]!;
    if (n === 0) continue;
    const row = images[i]!;
    for (let e = 0; e < row.length; e += 4) {
      const id = row[e]!;
      hits[id]! += n * row[e + 1]!;
      truth[id]! += n * row[e + 2]!;
      predicted[id]! += n * row[e + 3]!;
    }
  }
  return { hits, truth, predicted };
}

function meanIou(p: Pixels, times: Int32Array): number {
  const { hits, truth, predicted } = totals(p, times);
  let sum = 0;
  for (const { id, iou } of p.fixed) {
    const union = truth[id]! + predicted[id]! - hits[id]!;
    sum += union > 0 ? hits[id]! / union : iou;
  }
  return sum / p.seen;
}
