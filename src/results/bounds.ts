// Intervals of scores that no resample moves: a share of 0 or 1, images that are all alike, one image.

/** A score with the ends of its interval. */
export interface Bounds {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** 97.5 % point of the normal distribution: two-sided coverage of 95 %. */
const Z = 1.959963984540054;

/**
 * Wilson's score interval (1927) of `hits` of `n`, 95 %. At a share of 0 or 1 one end is the share itself and the other lies z²/(n + z²)
 * away; NaN without samples.
 */
export function wilson(hits: number, n: number): Bounds {
  const share = hits / n;
  const middle = (share + Z ** 2 / (2 * n)) / (1 + Z ** 2 / n);
  const half = (Z / (1 + Z ** 2 / n)) * Math.sqrt((share * (1 - share)) / n + Z ** 2 / (4 * n ** 2));
  return {
    value: share,
    low: hits === 0 ? 0 : middle - half,
    high: hits === n ? 1 : middle + half,
  };
}

/** The largest share of images unlike the rest that `n` images without one of them leave possible: Wilson's upper end at 0 of n. */
export const unseenShare = (n: number): number => Z ** 2 / (n + Z ** 2);

/**
 * The interval of a mean over `n` images that all have the value `value`, where a value lies in [from, to]: up to `unseenShare(n)` of all
 * images may be different, by as much as a value can be. A bootstrap of such images has no width, whatever their number.
 */
export function alikeInterval(value: number, n: number, from = 0, to = 1): Bounds {
  const unseen = unseenShare(n);
  return { value, low: value + unseen * (from - value), high: value + unseen * (to - value) };
}

/**
 * The same for a score of pooled pixels, mean intersection over union: the pixels of an image that is wrong throughout are missing from one
 * class and add to another, so that its share counts twice in the union, IoU (1 - u) / (1 + u) in place of 1.
 */
export function alikePooled(value: number, n: number): Bounds {
  const unseen = unseenShare(n);
  return { value, low: (value * (1 - unseen)) / (1 + unseen), high: value + unseen * (1 - value) };
}

/** The interval of a score of `n` images whose kind its metric tells; what `alikeInterval` and `alikePooled` are for. */
export const alikeScore = (metric: string, value: number, n: number): Bounds =>
  metric === 'miou' ? alikePooled(value, n) : alikeInterval(value, n);

/** What a record says of a score and its interval. */
export interface RecordedScore {
  readonly metric: string;
  readonly value: number | null;
  readonly interval: { readonly low: number | null; readonly high: number | null } | null;
  /** Images. */
  readonly n: number;
}

/**
 * The interval of a recorded score; null where there is none. Records of older versions have intervals without width where a bootstrap
 * had nothing to vary, at 0 and 1 above all: these are replaced.
 */
export function recordedInterval({ metric, value, interval, n }: RecordedScore): Bounds | null {
  const { low, high } = interval ?? { low: null, high: null };
  if (value === null || low === null || high === null || !(low <= high)) return null;
  return low < high ? { value, low, high } : alikeScore(metric, value, n);
}
