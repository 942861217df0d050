// Means over images (accuracy, errors of depth) with bootstrap intervals, and the difference of two predictions of the same images.

import { stream } from '../base/random.js';
import { alikeInterval, type Bounds, wilson } from '../results/bounds.js';
import { type BootstrapOptions, type Interval, quantile } from './intervals.js';

/**
 * Mean of per-image values (1: right, 0: wrong) with its percentile interval over images drawn with replacement. Where that interval ends
 * at 0 or 1, because all images or all but a few are of one kind, it is Wilson's; where all values are the same, see alikeInterval: no
 * interval is without width. Values that are not `bounded` to [0, 1] have none then (NaN). NaN without images.
 */
export function meanInterval(
  values: ArrayLike<number>,
  options: BootstrapOptions & { readonly bounded?: boolean },
): Interval {
  return pairedMeans(values, values, options).a;
}

/** Means of two lists over the same images: `difference` is a - b, formed in every resample so that what the images share cancels. */
export interface PairedMeans {
  readonly a: Interval;
  readonly b: Interval;
  readonly difference: Interval;
}

/**
 * Percentile intervals of two means and of their difference; every resample draws the same images for both. Ends at 0 and 1, and values or
 * differences that are all the same: as in meanInterval.
 * Throws RangeError when the lists are not equally long.
 */
export function pairedMeans(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  options: BootstrapOptions & { readonly bounded?: boolean },
): PairedMeans {
  if (a.length !== b.length) {
    throw new RangeError(`a paired comparison needs the same images: ${a.length} and ${b.length} are given`);
  }
  const n = a.length;
  const { bounded = true } = options;
  const samples = options.samples ?? 2000;
  const tail = (1 - (options.level ?? 0.95)) / 2;
  const random = stream(options.seed, 'bootstrap', n);
  const [meansA, meansB, differences] = [0, 1, 2].map(() => new Float64Array(samples));
  for (let s = 0; s < samples; s++) {
    let [sumA, sumB] = [0, 0];
    for (let i = 0; i < n; i++) {
      const image = random.int(n);
      sumA += a[image]!;
      sumB += b[image]!;
    }
    meansA![s] = sumA / n;
    meansB![s] = sumB / n;
    differences![s] = (sumA - sumB) / n;
  }
  const mean = (values: ArrayLike<number>): number => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += values[i]!;
    return sum / n;
  };
  const interval = (value: number, draws: Float64Array): Interval => {
    draws.sort();
    return { value, low: quantile(draws, tail), high: quantile(draws, 1 - tail) };
  };
  const score = (values: ArrayLike<number>, draws: Float64Array): Interval => {
    const found = interval(mean(values), draws);
    const { value, low, high } = found;
    if (n === 0 || (low < high && (!bounded || (low > 0 && high < 1)))) return found;
    const list = Array.from(values);
    if (bounded && list.every((x) => x === 0 || x === 1))
      return wilson(list.filter((x) => x === 1).length, n);
    return low < high ? found : alike(value, 0);
  };
  const alike = (value: number, from: number): Bounds =>
    bounded ? alikeInterval(value, n, from, 1) : { value, low: Number.NaN, high: Number.NaN };
  const difference = interval(mean(a) - mean(b), differences!);
  return {
    a: score(a, meansA!),
    b: score(b, meansB!),
    difference: difference.low < difference.high || n === 0 ? difference : alike(difference.value, -1),
  };
}
