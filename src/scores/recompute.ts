// Scores computed again from the counts that stand behind them: a stored score that its counts do not give is found.

import { DataError } from '../errors.js';
import type { HeadCounts } from '../results/counts.js';
import type { Result } from '../results/record.js';
import { type ImageCounts, pixelAccuracy, sumImages } from './confusion.js';
import { CONVENTIONS, type Convention, meanIouIn } from './conventions.js';

/** What stands behind the scores of one head on one test set: hits of images, or pixels of classes. */
export type Counted =
  | { readonly hits: ArrayLike<number> }
  | { readonly pixels: ImageCounts; readonly ignore: readonly number[] };

/** Hits are kept as float32 or with six digits, so that a share of draws is rounded; pixels are whole numbers. */
const ROUNDING = { hits: 1e-6, pixels: 1e-9 };

/** A score from its counts, in [0, 1], NaN over nothing; undefined for one that such counts do not give. `classes` are those of the record. */
export function scoreOf(
  { metric, convention }: Pick<Result, 'metric' | 'convention'>,
  counted: Counted,
  classes: number,
): number | undefined {
  if ('hits' in counted) {
    if (metric !== 'top1' && metric !== 'accuracy') return undefined;
    let sum = 0;
    for (let i = 0; i < counted.hits.length; i++) sum += counted.hits[i]!;
    return sum / counted.hits.length;
  }
  if (metric === 'accuracy') return pixelAccuracy(sumImages(counted.pixels));
  if (metric !== 'miou' || !CONVENTIONS.includes(convention as Convention)) return undefined;
  return meanIouIn(convention as Convention, counted.pixels, { classes, ignore: counted.ignore });
}

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
    const images = 'hits' in counted ? counted.hits.length : counted.pixels.images;
    if (images !== n) throw fail(`is of ${n} images, its counts are of ${images}`);
    const again = scoreOf(result, counted, classes.length);
    if (again === undefined) continue;
    const said = value ?? Number.NaN;
    const most = 'hits' in counted ? ROUNDING.hits : ROUNDING.pixels;
    if (Math.abs(said - again) <= most || (Number.isNaN(said) && Number.isNaN(again))) continue;
    throw fail(`is ${value}, its counts give ${Number.isNaN(again) ? null : again}`);
  }
}

/** The counts of a cell's head in full. */
export function countedOf({ hits, pixels }: HeadCounts): Counted {
  if (hits) return { hits: hits.hits };
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
  cell: { results: readonly Result[]; classes: readonly string[]; tests: readonly { source: string }[] },
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
        if (head === 'oracle' || counts.left_out.includes(`${head} of ${source}`)) return undefined;
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
