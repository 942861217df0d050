// Whether the intervals of a record are those that its predictions give: the bootstrap again.
import { DataError } from '../errors.js';
import { BOOTSTRAP_SEED } from '../probes/entries.js';
import { metricOf } from '../probes/seg/entries.js';
import type { Result } from '../results/record.js';
import { type Interval, segmentationIntervals } from '../scores/intervals.js';
import { meanInterval } from '../scores/paired_accuracy.js';
import type { Counted } from '../scores/recompute.js';

/** Of numbers that were stored as float32. */
const ROUNDING = 1e-6;

/** Computes every interval of a record again. @throws DataError naming file and score */
export function checkIntervals(
  file: string,
  { results, classes }: { results: readonly Result[]; classes: readonly string[] },
  countsOf: (result: Result) => Counted | undefined,
): void {
  const heads = new Map<string, Record<string, Interval>>();
  for (const result of results) {
    const { test, source, head, metric, convention, interval } = result;
    const counted = interval && countsOf(result);
    if (!counted || !(metric === 'top1' || metric === 'miou' || metric === 'accuracy')) continue;
    const key = JSON.stringify([test, source, head]);
    let found = heads.get(key);
    if (!found) {
      const options = { seed: BOOTSTRAP_SEED };
      found =
        'hits' in counted
          ? { mean: meanInterval(counted.hits, options) }
          : segmentationIntervals(
              counted.pixels,
              { classes: classes.length, ignore: counted.ignore },
              options,
            );
      heads.set(key, found);
    }
    const again = 'hits' in counted ? found.mean : found[metricOf(result)];
    if (!again) continue;
    for (const side of ['low', 'high'] as const) {
      const [said, value] = [interval[side] ?? Number.NaN, again[side]];
      if (Math.abs(said - value) <= ROUNDING || (Number.isNaN(said) && Number.isNaN(value))) continue;
      throw new DataError(
        `${file}: the interval of ${metric} (${convention}) of ${head} on ${source}, ${test} has ${said} as its ${side} end, its predictions give ${value}: evaluate again with --force`,
        { path: file, fault: 'changed' },
      );
    }
  }
}
