// Intervals for scores and for their differences, by resampling test images.
import { stream } from '../tensor/random.js';
import { type ImageCounts, meanIou } from './confusion.js';

/** A score with its bootstrap interval. */
export interface Interval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** Two encoders on the same test images. */
export interface PairedComparison {
  readonly a: Interval;
  readonly b: Interval;
  /** a - b */
  readonly difference: Interval;
  /** a / b */
  readonly ratio: Interval;
}

/** Settings of a bootstrap. */
export interface BootstrapOptions {
  readonly seed: number;
  /** Resamples; default 2000. */
  readonly samples?: number;
  /** Coverage; default 0.95. */
  readonly level?: number;
}

/**
 * mIoU (official convention) of two predictions of the same images, with percentile intervals. Every resample draws as many images as there
 * are, with replacement, the same for both; the difference and the ratio are formed in each, so that what the images share cancels.
 * Throws RangeError when the two were not counted on the same images.
 */
export function compareMeanIou(a: ImageCounts, b: ImageCounts, options: BootstrapOptions): PairedComparison {
  const samples = options.samples ?? 2000;
  const level = options.level ?? 0.95;
  const { images } = a;
  if (b.images !== images || b.classes !== a.classes || a.truth.some((count, i) => count !== b.truth[i])) {
    throw new RangeError('a paired comparison needs both predictions counted on the same test images');
  }
  const rows = [a, b].map(interleave);
  const measure = (weights: Float64Array) =>
    rows.map((row) => meanOf(row, weights, a.classes)) as [number, number];
  const point = measure(new Float64Array(images).fill(1));
  const random = stream(options.seed, 'bootstrap', images);
  const draws = Array.from({ length: samples }, () => {
    const weights = new Float64Array(images);
    for (let i = 0; i < images; i++) weights[random.int(images)]!++;
    return measure(weights);
  });
  const interval = (score: (pair: [number, number]) => number): Interval => {
    const sorted = Float64Array.from(draws, score).sort();
    const tail = (1 - level) / 2;
    return { value: score(point), low: quantile(sorted, tail), high: quantile(sorted, 1 - tail) };
  };
  return {
    a: interval(([x]) => x),
    b: interval(([, y]) => y),
    difference: interval(([x, y]) => x - y),
    ratio: interval(([x, y]) => x / y),
  };
}

/** [images, 3 * classes]: hits, truth and predicted side by side, for one pass over memory. */
function interleave({ images, classes, hits, truth, predicted }: ImageCounts): Float64Array {
  const rows = new Float64Array(images * 3 * classes);
  for (let image = 0; image < images; image++) {
    [hits, truth, predicted].forEach((counts, part) => {
      rows.set(counts.subarray(image * classes, (image + 1) * classes), (image * 3 + part) * classes);
    });
  }
  return rows;
}

function meanOf(rows: Float64Array, weights: Float64Array, classes: number): number {
  const sums = new Float64Array(3 * classes);
  for (let image = 0; image < weights.length; image++) {
    const weight = weights[image]!;
    if (weight === 0) continue;
    const offset = image * sums.length;
    for (let i = 0; i < sums.length; i++) sums[i]! += weight * rows[offset + i]!;
  }
  const part = (i: number) => sums.subarray(i * classes, (i + 1) * classes);
  return meanIou({ hits: part(0), truth: part(1), predicted: part(2) });
}

/** The value below which a share of the ascending `sorted` lies, interpolated linearly between neighbours. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (at - below) * (sorted[above]! - sorted[below]!);
}
