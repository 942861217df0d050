// What stands behind the scores of one head on one test set, and everything that follows from it: scores, intervals, paired differences.
import { DataError } from '../errors.js';
import { isBound, metricOf } from '../probes/tasks.js';
import type { CellRecord } from '../results/cell.js';
import type { HeadCounts } from '../results/counts.js';
import type { Result } from '../results/record.js';
import { type ImageCounts, pixelAccuracy, sumImages } from './confusion.js';
import { type Convention, meanIouIn } from './conventions.js';
import {
  compareSegmentations,
  type Interval,
  SEGMENTATION_METRICS,
  type SegmentationMetric,
  segmentationIntervals,
} from './intervals.js';
import { meanInterval, pairedMeans } from './paired_accuracy.js';

/** Values of images by metric, whose means are the scores; or pixels of classes, which pool. */
export type Counted = CountedValues | CountedPixels;

export interface CountedValues {
  /** Places in the test set of the images that count. */
  readonly samples: ArrayLike<number>;
  /**
   * One of each sample by metric, or by `metric convention` where a metric has several ways to count. NaN: the sample has none and is not
   * counted, in both of a pair.
   */
  readonly values: Readonly<Record<string, ArrayLike<number>>>;
}

export interface CountedPixels {
  readonly pixels: ImageCounts;
  readonly ignore: readonly number[];
}

/** Seed of every bootstrap; the resamples of a set of n images are then the same for all encoders. */
export const BOOTSTRAP_SEED = 0;
const BOOTSTRAP = { seed: BOOTSTRAP_SEED };

type Scored = Pick<Result, 'task' | 'metric' | 'convention'>;

/** Values of no upper end say nothing of images that were not seen. */
const optionsOf = ({ task, metric }: Scored) => ({
  ...BOOTSTRAP,
  bounded: metricOf(task, metric).unit === 'share',
});

/** The segmentation metric of a result; undefined where there is none of that name. */
function pixelMetric({ metric, convention }: Scored): SegmentationMetric | undefined {
  const name = metric === 'accuracy' ? metric : metric === 'miou' ? convention : '';
  return SEGMENTATION_METRICS.find((known) => known === name);
}

/** Every sample's value of a score, NaN included; undefined where there is none of that name. */
export const valuesOf = (
  { values }: CountedValues,
  { metric, convention }: Pick<Result, 'metric' | 'convention'>,
): ArrayLike<number> | undefined => values[`${metric} ${convention}`] ?? values[metric];

const numbersIn = (values: ArrayLike<number>): number[] => Array.from(values).filter((x) => !Number.isNaN(x));

/** Images that a score is counted on. */
export function countOf(result: Pick<Result, 'metric' | 'convention'>, counted: Counted): number {
  if ('pixels' in counted) return counted.pixels.images;
  return numbersIn(valuesOf(counted, result) ?? counted.samples).length;
}

/** A score, NaN over nothing; undefined for one that such counts do not give. `classes` is how many the record has. */
export function scoreOf(result: Scored, counted: Counted, classes: number): number | undefined {
  if ('values' in counted) {
    const all = valuesOf(counted, result);
    const values = all && numbersIn(all);
    return values && values.reduce((sum, x) => sum + x, 0) / values.length;
  }
  const metric = pixelMetric(result);
  if (metric === 'accuracy') return pixelAccuracy(sumImages(counted.pixels));
  return metric && meanIouIn(metric as Convention, counted.pixels, { classes, ignore: counted.ignore });
}

/** Intervals of one head's scores, by bootstrap over its images; the pooled ones come from one bootstrap. */
export function intervalsOf(counted: Counted, classes: number): (result: Scored) => Interval | undefined {
  if ('values' in counted) {
    return (result) => {
      const values = valuesOf(counted, result);
      return values && meanInterval(numbersIn(values), optionsOf(result));
    };
  }
  const { pixels, ignore } = counted;
  let known: Record<SegmentationMetric, Interval> | undefined;
  return (result) => {
    const metric = pixelMetric(result);
    if (!metric) return undefined;
    known ??= segmentationIntervals(pixels, { classes, ignore }, BOOTSTRAP);
    return known[metric];
  };
}

/**
 * The difference a - b of one head's scores, paired over the images of a test set.
 * @throws RangeError where the two were not counted on the same images
 */
export function pairedDifferences(a: Counted, b: Counted, classes: number): (result: Scored) => Interval {
  if ('values' in a && 'values' in b) {
    const [first, second] = [a.samples, b.samples];
    if (first.length !== second.length || Array.from(first).some((sample, n) => sample !== second[n]))
      throw new RangeError('the two did not score the same images');
    return (result) => {
      const [of, to] = [valuesOf(a, result)!, valuesOf(b, result)!];
      const both = (_: number, n: number): boolean => !Number.isNaN(of[n]! - to[n]!);
      const [left, right] = [Array.from(of).filter(both), Array.from(to).filter(both)];
      return pairedMeans(left, right, optionsOf(result)).difference;
    };
  }
  if ('values' in a || 'values' in b) throw new RangeError('the two hold scores of two kinds');
  let known: ReturnType<typeof compareSegmentations> | undefined;
  return (result) => {
    known ??= compareSegmentations(a.pixels, b.pixels, { classes, ignore: a.ignore }, BOOTSTRAP);
    return known[pixelMetric(result)!].difference;
  };
}

/** Values are kept as float32 or with six digits, so that a share of draws is rounded; pixels are whole numbers. */
const ROUNDING = { values: 1e-6, pixels: 1e-9 };

/**
 * Compares every result of a record with its counts, `undefined` where there are none to compare with.
 * Throws DataError naming the file, the score, what is stored and what comes out; `remedy` says what to do.
 */
export function checkScores(
  file: string,
  { results, classes }: { results: readonly Result[]; classes: readonly string[] },
  countsOf: (result: Result) => Counted | undefined,
  remedy: string,
): void {
  for (const result of results) {
    const counted = countsOf(result);
    if (!counted) continue;
    const { test, source, head, metric, convention, value, n } = result;
    const name = `${metric}${convention === '-' ? '' : ` (${convention})`} of ${head} on ${source}, ${test}`;
    const fail = (what: string): DataError =>
      new DataError(`${file}: ${name} ${what}: ${remedy}`, { path: file, fault: 'changed' });
    const images = countOf(result, counted);
    if (images !== n) throw fail(`is of ${n} images, its counts are of ${images}`);
    const again = scoreOf(result, counted, classes.length);
    if (again === undefined) continue;
    const said = value ?? Number.NaN;
    const most = 'values' in counted ? ROUNDING.values * Math.max(1, Math.abs(again)) : ROUNDING.pixels;
    if (Math.abs(said - again) <= most || (Number.isNaN(said) && Number.isNaN(again))) continue;
    throw fail(`is ${value}, its counts give ${Number.isNaN(again) ? null : again}`);
  }
}

/** Of numbers that were stored as float32. */
const INTERVAL_ROUNDING = 1e-6;

/** Computes every interval of a record again. @throws DataError naming file and score */
export function checkIntervals(
  file: string,
  { results, classes }: { results: readonly Result[]; classes: readonly string[] },
  countsOf: (result: Result) => Counted | undefined,
): void {
  const heads = new Map<string, (result: Scored) => Interval | undefined>();
  for (const result of results) {
    const { test, source, head, metric, convention, interval } = result;
    const counted = interval && countsOf(result);
    if (!counted) continue;
    const key = JSON.stringify([test, source, head]);
    const of = heads.get(key) ?? intervalsOf(counted, classes.length);
    heads.set(key, of);
    const again = of(result);
    if (!again) continue;
    for (const side of ['low', 'high'] as const) {
      const [said, value] = [interval[side] ?? Number.NaN, again[side]];
      const most = INTERVAL_ROUNDING * Math.max(1, Math.abs(value));
      if (Math.abs(said - value) <= most || (Number.isNaN(said) && Number.isNaN(value))) continue;
      throw new DataError(
        `${file}: the interval of ${metric} (${convention}) of ${head} on ${source}, ${test} has ${said} as its ${side} end, its predictions give ${value}: evaluate again with --force`,
        { path: file, fault: 'changed' },
      );
    }
  }
}

/** The compact form: values with so many digits that a file of them stays small, and the classes that an image has in truth or prediction. */
export function compactCounts(counted: Counted): Pick<HeadCounts, 'hits' | 'values' | 'pixels'> {
  if ('pixels' in counted) {
    const { images, classes, hits, truth, predicted } = counted.pixels;
    const rows = Array.from({ length: images }, (_, image) => {
      const row: number[] = [];
      for (let c = 0, i = image * classes; c < classes; c++, i++) {
        if (truth[i]! + predicted[i]! > 0) row.push(c, hits[i]!, truth[i]!, predicted[i]!);
      }
      return row;
    });
    return { pixels: { classes, ignore: [...counted.ignore], images: rows } };
  }
  const samples = Array.from(counted.samples);
  const digits = (list: ArrayLike<number>, n: number) => Array.from(list, (x) => Number(x.toPrecision(n)));
  const orNone = (list: number[]) => list.map((x) => (Number.isNaN(x) ? null : x));
  const { top1, ...others } = counted.values;
  if (top1) return { hits: { samples, hits: digits(top1, 6) } };
  const scores = Object.entries(others).map(([metric, list]) => [metric, orNone(digits(list, 8))]);
  return { values: { samples, scores: Object.fromEntries(scores) } };
}

/** The counts of a cell's head in full. */
export function countedOf({ hits, values, pixels }: HeadCounts): Counted {
  if (hits) return { samples: hits.samples, values: { top1: hits.hits } };
  if (values) {
    const scores = Object.entries(values.scores).map(([name, list]) => [
      name,
      list.map((x) => x ?? Number.NaN),
    ]);
    return { samples: values.samples, values: Object.fromEntries(scores) };
  }
  const { classes, images, ignore } = pixels!;
  const make = () => new Uint32Array(images.length * classes);
  const counts = { images: images.length, classes, hits: make(), truth: make(), predicted: make() };
  for (const [image, row] of images.entries()) {
    for (let e = 0; e < row.length; e += 4) {
      const at = image * classes + row[e]!;
      counts.hits[at] = row[e + 1]!;
      counts.truth[at] = row[e + 2]!;
      counts.predicted[at] = row[e + 3]!;
    }
  }
  return { pixels: counts, ignore };
}

/**
 * Compares the scores of a cell with its counts; heads that were left out of these for their size are not compared.
 * @throws DataError as checkScores, and for counts of heads that the cell does not have
 */
export function checkCell(
  file: string,
  cell: Pick<CellRecord, 'task' | 'results' | 'classes' | 'tests'>,
  counts: { heads: readonly HeadCounts[]; left_out: readonly string[] },
): void {
  const remedy = 'restore it, or delete its folder and run the cell again';
  const name = (test: number, source: string, head: string): string => JSON.stringify([test, source, head]);
  const known = new Map(counts.heads.map((h) => [name(h.test, h.source, h.head), h]));
  const used = new Map<string, Counted>();
  checkScores(
    file,
    cell,
    ({ test, source, head }) => {
      const key = name(
        cell.tests.findIndex((t) => t.source === test),
        source,
        head,
      );
      const found = known.get(key);
      if (!found) {
        if (isBound(cell.task, head) || counts.left_out.includes(`${head} of ${source}`)) return undefined;
        throw new DataError(`${file}: its counts lack ${head} on ${source}, ${test}: ${remedy}`, {
          path: file,
          fault: 'foreign',
        });
      }
      const counted = used.get(key) ?? countedOf(found);
      used.set(key, counted);
      return counted;
    },
    remedy,
  );
  const strange = counts.heads.find((h) => !used.has(name(h.test, h.source, h.head)));
  if (strange)
    throw new DataError(
      `${file}: its counts are of ${strange.head} on ${strange.source}, which it has no score of: ${remedy}`,
      {
        path: file,
        fault: 'foreign',
      },
    );
}
