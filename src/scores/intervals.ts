// Intervals for scores and for their differences, by resampling test images.

import { stream } from '../base/random.js';
import { alikeInterval, alikeScore } from '../results/bounds.js';
import { type Counting, type ImageCounts, imageAdder, pixelAccuracy } from './confusion.js';
import { CONVENTIONS, type Convention, imageMeans, meanOfImages, pooledMeanIou } from './conventions.js';

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

/** mIoU under each convention, and pixel accuracy; all in [0, 1]. */
export type SegmentationMetric = Convention | 'accuracy';
export const SEGMENTATION_METRICS: readonly SegmentationMetric[] = [...CONVENTIONS, 'accuracy'];

/**
 * Every score of one prediction with its percentile interval: a resample draws as many images as there are, with replacement.
 * Scores are NaN where no pixel counts; resamples without one are left out of the interval. Where every resample has the same score (all
 * images right or wrong throughout, or one image) the interval is that of images that are all alike (bounds.ts), never without width.
 */
export function segmentationIntervals(
  counts: ImageCounts,
  counting: Counting,
  options: BootstrapOptions,
): Record<SegmentationMetric, Interval> {
  const { point, draws } = bootstrap([counts], counting, options);
  return byMetric((m) =>
    wide(
      m,
      interval((draw) => draw[m]!, point, draws, options),
      countedImages(counts),
    ),
  );
}

/** Images that have a pixel that counts. */
function countedImages({ images, classes, truth }: ImageCounts): number {
  let found = 0;
  for (let i = 0; i < images; i++) {
    if (truth.subarray(i * classes, (i + 1) * classes).some((pixels) => pixels > 0)) found++;
  }
  return found;
}

/** An interval of the m-th metric over `images`, or that of images that are all alike where the bootstrap's has no width. */
function wide(m: number, found: Interval, images: number): Interval {
  const { value, low, high } = found;
  if (Number.isNaN(low) || low < high) return found;
  return alikeScore(SEGMENTATION_METRICS[m] === 'accuracy' ? 'accuracy' : 'miou', value, images);
}

/**
 * Every score of two predictions of the same images, with percentile intervals. Every resample draws the same images for both; the difference
 * and the ratio are formed in each, so that what the images share cancels. Where all resamples have one difference (equal predictions,
 * or one image) its interval is that of images that are all alike, and the ratio has none (NaN); of a prediction and itself it is 0.
 * Throws RangeError when the two were not counted on the same images.
 */
export function compareSegmentations(
  a: ImageCounts,
  b: ImageCounts,
  counting: Counting,
  options: BootstrapOptions,
): Record<SegmentationMetric, PairedComparison> {
  if (b.images !== a.images || b.classes !== a.classes || a.truth.some((count, i) => count !== b.truth[i])) {
    throw new RangeError('a paired comparison needs both predictions counted on the same test images');
  }
  const { point, draws } = bootstrap([a, b], counting, options);
  const images = countedImages(a);
  const second = SEGMENTATION_METRICS.length;
  return byMetric((m) => {
    const of = (score: (a: number, b: number) => number): Interval =>
      interval((draw) => score(draw[m]!, draw[second + m]!), point, draws, options);
    const difference = of((x, y) => x - y);
    const ratio = of((x, y) => x / y);
    const known = a === b || difference.low < difference.high || Number.isNaN(difference.low);
    return {
      a: wide(
        m,
        of((x) => x),
        images,
      ),
      b: wide(
        m,
        of((_, y) => y),
        images,
      ),
      difference: known ? difference : alikeInterval(difference.value, images, -1, 1),
      ratio: known ? ratio : { ...ratio, low: Number.NaN, high: Number.NaN },
    };
  });
}

const byMetric = <T>(of: (place: number) => T): Record<SegmentationMetric, T> =>
  Object.fromEntries(SEGMENTATION_METRICS.map((metric, m) => [metric, of(m)])) as Record<
    SegmentationMetric,
    T
  >;

function interval(
  score: (draw: Float64Array) => number,
  point: Float64Array,
  draws: readonly Float64Array[],
  options: BootstrapOptions,
): Interval {
  const sorted = Float64Array.from(draws, score)
    .filter((x) => !Number.isNaN(x))
    .sort();
  const tail = (1 - (options.level ?? 0.95)) / 2;
  const at = (share: number): number => (sorted.length === 0 ? Number.NaN : quantile(sorted, share));
  return { value: score(point), low: at(tail), high: at(1 - tail) };
}

/** The scores of all images, and of every resample: those of the first set by SEGMENTATION_METRICS, then of the next. */
function bootstrap(
  sets: readonly ImageCounts[],
  counting: Counting,
  options: BootstrapOptions,
): { point: Float64Array; draws: Float64Array[] } {
  const { images } = sets[0]!;
  const samples = options.samples ?? 2000;
  const measures = sets.map((counts) => measureOf(counts, counting));
  const measure = (chosen: Int32Array): Float64Array => {
    const scores = new Float64Array(sets.length * SEGMENTATION_METRICS.length);
    for (const [i, of] of measures.entries()) of(chosen, scores, i * SEGMENTATION_METRICS.length);
    return scores;
  };
  const chosen = Int32Array.from({ length: images }, (_, i) => i);
  const point = measure(chosen);
  const random = stream(options.seed, 'bootstrap', images);
  const draws = Array.from({ length: samples }, () => {
    for (let i = 0; i < images; i++) chosen[i] = random.int(images);
    return measure(chosen);
  });
  return { point, draws };
}

/** Writes the scores of chosen images from `at` on. */
function measureOf(
  counts: ImageCounts,
  counting: Counting,
): (chosen: Int32Array, scores: Float64Array, at: number) => void {
  const add = imageAdder(counts);
  const means = imageMeans(counts, counting);
  return (chosen, scores, at) => {
    const sums = add(chosen);
    for (const [m, metric] of SEGMENTATION_METRICS.entries()) {
      if (metric === 'perimage') scores[at + m] = meanOfImages(means, chosen);
      else if (metric === 'accuracy') scores[at + m] = pixelAccuracy(sums);
      else scores[at + m] = pooledMeanIou(metric, sums, counting);
    }
  };
}

/** The value below which a share of the ascending `sorted` lies, interpolated linearly between neighbours. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (at - below) * (sorted[above]! - sorted[below]!);
}
