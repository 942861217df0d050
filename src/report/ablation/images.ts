// What the choice of test images alone does to the difference of two arms: a paired bootstrap of the seed-averaged difference.

import { reportDraws } from '../../base/random.js';
import type { HeadCounts } from '../../results/counts.js';
import { classIou, imageAdder, pixelAccuracy, sumImages } from '../../scores/confusion.js';
import { imageMeans } from '../../scores/conventions.js';
import { type CountedPixels, countedOf } from '../../scores/counted.js';
import { mean, variance } from '../statistics/differences.js';

const RESAMPLES = 1000;

/** Scores of heads of one kind, by seed (and probe seed): the mean over them. By `metric convention`, or metric where that has one way to count. */
export interface ScoresOnImages {
  /** The same where heads were counted on the same images. */
  readonly on: string;
  /** Of every image by itself, NaN where nothing counts. */
  readonly byImage: Readonly<Record<string, number[]>>;
  /** Of every resample of the images: mIoU of pixels by convention, and accuracy (see src/scores/conventions.ts). */
  readonly resampled: Readonly<Record<string, number[]>>;
}

/**
 * Scores in a test set of `classes` classes; undefined for heads that were not counted on the same images. The classes of a mean IoU are those
 * of the whole test set: a class without a pixel in a resample has the IoU that it has in all of it.
 */
export function scoresOnImages(heads: readonly HeadCounts[], classes: number): ScoresOnImages | undefined {
  const [on, ...others] = heads.map(({ hits, values, pixels }) =>
    pixels ? `pixels ${pixels.images.map(truthOf).join(' ')}` : `images ${(hits ?? values)!.samples}`,
  );
  if (on === undefined || others.some((other) => other !== on)) return undefined;
  const counted = heads.map(countedOf);
  const pixels = counted.flatMap((one) => ('pixels' in one ? [one] : []));
  if (pixels.length > 0) {
    const perimage = meanOf(pixels.map((one) => imageMeans(one.pixels, { classes, ignore: one.ignore })));
    return { on, byImage: { 'miou perimage': perimage }, resampled: resampled(pixels, classes) };
  }
  const values = counted.flatMap((one) => ('values' in one ? [one.values] : []));
  const shared = Object.keys(values[0]!).filter((metric) => values.every((of) => of[metric]));
  const byImage = shared.map((metric) => [metric, meanOf(values.map((of) => of[metric]!))]);
  return { on, byImage: Object.fromEntries(byImage), resampled: {} };
}

/** Means of lists, place by place. */
const meanOf = (lists: readonly ArrayLike<number>[]): number[] =>
  Array.from(lists[0]!, (_, i) => mean(lists.map((list) => list[i]!)));

/** Squared standard error over test images of the difference of two means; NaN where it cannot be known. */
export function imageVariance(
  a: ScoresOnImages,
  b: ScoresOnImages,
  { metric, convention }: { metric: string; convention: string },
): number {
  const differences = (x: readonly number[], y: readonly number[]) => x.map((value, i) => value - y[i]!);
  if (a.on !== b.on) return Number.NaN;
  const named = (all: Readonly<Record<string, number[]>>) => all[`${metric} ${convention}`] ?? all[metric];
  const [of, to] = [named(a.byImage), named(b.byImage)];
  if (of && to) {
    // Of a mean over images the bootstrap's variance is known: that of the differences over their number.
    const values = differences(of, to).filter((x) => !Number.isNaN(x));
    return (variance(values) * (values.length - 1)) / values.length / values.length;
  }
  return variance(differences(named(a.resampled) ?? [], named(b.resampled) ?? []));
}

/** Pixels of each class of an image, whatever was predicted: what tells whether two heads were counted on the same images. */
function truthOf(row: readonly number[]): string {
  const pairs: string[] = [];
  for (let e = 0; e < row.length; e += 4) if (row[e + 2]! > 0) pairs.push(`${row[e]}:${row[e + 2]}`);
  return pairs.join(',');
}

/** Pooled scores of every resample, mean over heads; all heads of a test set meet the same resamples. None of a single image. */
function resampled(heads: readonly CountedPixels[], classes: number): Record<string, number[]> {
  const { images } = heads[0]!.pixels;
  if (images < 2) return {};
  const scores = heads.map((head) => pooledScores(head, classes));
  const random = reportDraws(0);
  const chosen = new Int32Array(images);
  const draws = Array.from({ length: RESAMPLES }, () => {
    for (let i = 0; i < images; i++) chosen[i] = random(images);
    return scores.map((of) => of(chosen));
  });
  return Object.fromEntries(
    Object.keys(draws[0]![0]!).map((score) => [
      score,
      draws.map((own) => mean(own.map((one) => one[score]!))),
    ]),
  );
}

function pooledScores({ pixels, ignore }: CountedPixels, classes: number) {
  const whole = sumImages(pixels);
  const iou = classIou(whole);
  const ids = [...iou.keys()];
  const listed = ids.filter((id) => id < classes && !ignore.includes(id));
  const seen = (id: number): boolean => !Number.isNaN(iou[id]);
  const fixed = ids.filter((id) => whole.truth[id]! > 0 && !ignore.includes(id));
  const add = imageAdder(pixels);
  return (chosen: Int32Array): Record<string, number> => {
    const sums = add(chosen);
    const own = classIou(sums);
    const sum = fixed.reduce((all, id) => all + (Number.isNaN(own[id]) ? iou[id]! : own[id]!), 0);
    return {
      'miou official': sum / ids.filter(seen).length,
      'miou nanskip': sum / listed.filter(seen).length,
      'miou absent0': sum / listed.length,
      accuracy: pixelAccuracy(sums),
    };
  };
}
