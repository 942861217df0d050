// What the choice of test images alone does to the difference of two arms: a paired bootstrap of the seed-averaged difference.

import { reportDraws } from '../../base/random.js';
import type { HeadCounts } from '../../results/counts.js';
import { variance } from '../statistics/differences.js';

const RESAMPLES = 1000;

/**
 * Squared standard errors by score: `top1` of hits; of pixels mIoU by convention (official, nanskip, absent0, perimage: see
 * src/scores/conventions.ts) and accuracy. A score that the counts do not give has none.
 */
export type ImageVariances = Readonly<Record<string, number>>;

/** The score of a column, as ImageVariances names it. */
export const scoreName = ({ metric, convention }: { metric: string; convention: string }): string =>
  metric === 'miou' ? convention : metric;

/** Pixel counts of one head, image by image. */
interface Pixels {
  readonly images: readonly number[][];
  readonly classes: number;
  /** Classes of the test set, which every resample averages over, with the IoU of the whole set. */
  readonly fixed: readonly { id: number; iou: number }[];
  /** What the mean is over: the classes of the test set and those that are predicted only, without ignored ones, or all that are listed. */
  readonly over: { readonly official: number; readonly nanskip: number; readonly absent0: number };
  /** The score of each image by itself; NaN where none of its pixels counts. */
  readonly perImage: readonly number[];
}

/**
 * Squared standard errors, over test images, of mean(a) - mean(b): heads of one kind by seed (and probe seed), in a test set of `classes`
 * classes. Empty where it cannot be known: heads that were not counted on the same images, fewer than two images. The classes of a mean IoU
 * are those of the whole test set: a class without a pixel in a resample has the IoU that it has in all of it.
 */
export function imageVariances(
  a: readonly HeadCounts[],
  b: readonly HeadCounts[],
  classes: number,
  seed = 0,
): ImageVariances {
  if (a.length === 0 || b.length === 0) return {};
  const all = [...a, ...b];
  if (all.every(({ hits }) => hits)) return hitsVariance(a, b);
  if (all.every(({ pixels }) => pixels)) return pixelsVariances(a, b, classes, seed);
  return {};
}

/** Of a mean of hits the bootstrap's variance is known: that of the differences over their number. */
function hitsVariance(a: readonly HeadCounts[], b: readonly HeadCounts[]): ImageVariances {
  const samples = a[0]!.hits!.samples;
  const same = (h: HeadCounts): boolean =>
    h.hits!.samples.length === samples.length && h.hits!.samples.every((s, i) => s === samples[i]);
  if (![...a, ...b].every(same)) return {};
  const variance = meanVariance(
    a.map((h) => h.hits!.hits),
    b.map((h) => h.hits!.hits),
  );
  return Number.isNaN(variance) ? {} : { top1: variance };
}

/** The same for any mean over images; those that are NaN are not counted. */
function meanVariance(a: readonly (readonly number[])[], b: readonly (readonly number[])[]): number {
  const mean = (lists: readonly (readonly number[])[], i: number): number =>
    lists.reduce((sum, list) => sum + list[i]!, 0) / lists.length;
  const differences = a[0]!.map((_, i) => mean(a, i) - mean(b, i)).filter((x) => !Number.isNaN(x));
  const n = differences.length;
  return (variance(differences) * (n - 1)) / n / n;
}

function pixelsVariances(
  a: readonly HeadCounts[],
  b: readonly HeadCounts[],
  classes: number,
  seed: number,
): ImageVariances {
  const truths = [...a, ...b].map(({ pixels }) => pixels!.images.map(truthOf).join(' '));
  const count = a[0]!.pixels!.images.length;
  if (count < 2 || truths.some((truth) => truth !== truths[0])) return {};
  const [left, right] = [a, b].map((heads) => heads.map((h) => prepare(h.pixels!, classes))) as [
    Pixels[],
    Pixels[],
  ];
  const random = reportDraws(seed);
  const times = new Int32Array(count);
  const found: Record<string, number[]> = { official: [], nanskip: [], absent0: [], accuracy: [] };
  for (let r = 0; r < RESAMPLES; r++) {
    times.fill(0);
    for (let i = 0; i < count; i++) times[random(count)]!++;
    const [of, to] = [left, right].map((sets) => meanScores(sets, times)) as [Scores, Scores];
    for (const [score, values] of Object.entries(found)) values.push(of[score]! - to[score]!);
  }
  const perimage = meanVariance(
    left.map((p) => p.perImage),
    right.map((p) => p.perImage),
  );
  const all = { perimage, ...Object.fromEntries(Object.entries(found).map(([k, v]) => [k, variance(v)])) };
  return Object.fromEntries(Object.entries(all).filter(([, x]) => Number.isFinite(x)));
}

/** Pixels of each class of an image, whatever was predicted: what tells whether two heads were counted on the same images. */
function truthOf(row: readonly number[]): string {
  const pairs: string[] = [];
  for (let e = 0; e < row.length; e += 4) if (row[e + 2]! > 0) pairs.push(`${row[e]}:${row[e + 2]}`);
  return pairs.join(',');
}

function prepare({ images, classes, ignore }: NonNullable<HeadCounts['pixels']>, listed: number): Pixels {
  const sums = totals({ images, classes }, new Int32Array(images.length).fill(1));
  const fixed: { id: number; iou: number }[] = [];
  const counts = (id: number): boolean => id < listed && !ignore.includes(id);
  const over = { official: 0, nanskip: 0, absent0: 0 };
  for (let id = 0; id < classes; id++) {
    const union = sums.truth[id]! + sums.predicted[id]! - sums.hits[id]!;
    if (union > 0) over.official++;
    if (union > 0 && counts(id)) over.nanskip++;
    if (counts(id)) over.absent0++;
    if (sums.truth[id]! > 0 && !ignore.includes(id)) fixed.push({ id, iou: sums.hits[id]! / union });
  }
  const perImage = images.map((row) => {
    let [sum, seen] = [0, 0];
    for (let e = 0; e < row.length; e += 4) {
      const union = row[e + 2]! + row[e + 3]! - row[e + 1]!;
      if (!counts(row[e]!) || union === 0) continue;
      sum += row[e + 1]! / union;
      seen++;
    }
    return sum / seen;
  });
  return { images, classes, fixed, over, perImage };
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

type Scores = Record<string, number>;

/** Scores of a resample, mean over heads. */
function meanScores(sets: readonly Pixels[], times: Int32Array): Scores {
  const sums: Scores = { official: 0, nanskip: 0, absent0: 0, accuracy: 0 };
  for (const p of sets) {
    const { hits, truth, predicted } = totals(p, times);
    let iou = 0;
    for (const { id, iou: whole } of p.fixed) {
      const union = truth[id]! + predicted[id]! - hits[id]!;
      iou += union > 0 ? hits[id]! / union : whole;
    }
    for (const convention of ['official', 'nanskip', 'absent0'] as const) {
      sums[convention]! += iou / p.over[convention];
    }
    const all = (values: Float64Array): number => values.reduce((x, y) => x + y, 0);
    sums.accuracy! += all(hits) / all(truth);
  }
  return Object.fromEntries(Object.entries(sums).map(([score, sum]) => [score, sum / sets.length]));
}
