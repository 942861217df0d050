// Whether two results differ: paired differences of the heads that two records share, over the same test images.
import { DataError } from '../errors.js';
import { type EvaluationRecord, type Result, sameScore } from '../results/record.js';
import type { Interval } from '../scores/intervals.js';
import { pairedMeans } from '../scores/paired_accuracy.js';
import { checkRecord, type Predictions } from './check.js';
import { BOOTSTRAP_SEED } from './entries.js';
import { predictionKey } from './predictions.js';
import { metricOf, ORACLE, pairedSegmentation } from './seg/entries.js';

/** One score of two encoders on the same images. */
export interface Comparison {
  readonly test: string;
  readonly source: string;
  readonly head: string;
  readonly metric: string;
  readonly convention: string;
  /** a - b, and its 95 % interval. */
  readonly a: number;
  readonly b: number;
  readonly difference: Interval;
  /** Images. */
  readonly n: number;
  /** True where the interval lies on one side of 0; false where it holds 0, and where there is none. */
  readonly differ: boolean;
}

/** Two records that have no difference paired over test images, and why. */
export class NotPaired extends DataError {}

/** A record with the path that it was read from. */
export interface RecordFile {
  readonly file: string;
  readonly record: EvaluationRecord;
}

/**
 * Compares what both records have: every head, feature source and metric, on test sets of the same contents.
 * @throws DataError when a score is not that of its predictions; NotPaired, one too, when they have nothing in common, or saw other images or sizes
 */
export async function compareRecords(a: RecordFile, b: RecordFile): Promise<Comparison[]> {
  if (a.record.task !== b.record.task) {
    throw new NotPaired(
      `${a.file} is of ${a.record.task} and ${b.file} of ${b.record.task}: nothing to compare`,
    );
  }
  const predictions = [await checkRecord(a), await checkRecord(b)] as const;
  const compared: Comparison[] = [];
  for (const [i, test] of a.record.tests.entries()) {
    const j = b.record.tests.findIndex((t) => t.identity === test.identity && t.images === test.images);
    if (j < 0) continue;
    checkSettings(predictions, [a, b], [i, j]);
    const paired = pairer(predictions, [a, b], i, j);
    for (const result of a.record.results.filter((r) => r.test === test.source && r.head !== ORACLE)) {
      const other = b.record.results.find(
        (r) => r.test === b.record.tests[j]!.source && sameScore(r, result),
      );
      if (!other || result.value === null || other.value === null) continue;
      const difference = paired(result);
      compared.push({
        test: test.source,
        source: result.source,
        head: result.head,
        metric: result.metric,
        convention: result.convention,
        a: result.value,
        b: other.value,
        difference,
        n: result.n,
        differ: difference.low > 0 || difference.high < 0,
      });
    }
  }
  if (compared.length === 0) {
    throw new NotPaired(
      `${a.file} and ${b.file} have nothing in common: a comparison needs the same test images, head and feature source${olderNote(a, b)}`,
    );
  }
  return compared;
}

/** What the scores of a test set are counted by. */
function countedBy(of: Predictions, { record }: RecordFile, test: number): Record<string, string> {
  const data = record.protocol.card.data as { tests?: Record<string, unknown>[] } | undefined;
  const among = data?.tests?.[test]?.predicted_among;
  if (record.task === 'cls') return among === undefined ? {} : { 'classes predicted': String(among) };
  const ignore = of.get(`${test}/ignore`)?.data ?? [];
  return { classes: `${record.classes.length}`, ignore: [...ignore].join(',') };
}

/** @throws DataError where two records counted one test set in different ways, naming how */
function checkSettings(
  [ofA, ofB]: readonly [Predictions, Predictions],
  [a, b]: readonly [RecordFile, RecordFile],
  [i, j]: readonly [number, number],
): void {
  const [first, second] = [countedBy(ofA, a, i), countedBy(ofB, b, j)];
  const differ = [...new Set([...Object.keys(first), ...Object.keys(second)])]
    .filter((key) => first[key] !== second[key])
    .map((key) => `${key} is '${first[key] ?? ''}' in the one and '${second[key] ?? ''}' in the other`);
  if (differ.length === 0) return;
  throw new NotPaired(
    `${a.file} and ${b.file} hold scores of the same images under other settings: ${differ.join('; ')}. Evaluate both with the same options of the source`,
  );
}

/** A hint where the test sets have the same addresses but not the same identities. */
function olderNote(a: RecordFile, b: RecordFile): string {
  const same = a.record.tests.some(({ source }) => b.record.tests.some((test) => test.source === source));
  return same
    ? '; the files of the test set changed between the two, or one record is of an older version, which knew files by names and sizes: evaluate again'
    : '';
}

const sizeOf = ({ record }: RecordFile): string => record.encoder.size.join(' x ');

/** The paired difference of one score after another, on one test set; all scores of a segmentation head come from one bootstrap. */
function pairer(
  [ofA, ofB]: readonly [Predictions, Predictions],
  [a, b]: readonly [RecordFile, RecordFile],
  i: number,
  j: number,
): (result: Result) => Interval {
  const heads = new Map<string, ReturnType<typeof pairedSegmentation>>();
  return (result) => {
    const { source, head } = result;
    if (result.task === 'seg') {
      const [first, second] = [sizeOf(a), sizeOf(b)];
      if (first !== second) {
        throw new NotPaired(
          `${a.record.encoder.name} and ${b.record.encoder.name} were scored on label maps of ${first} and ${second} px, so that no pixel is paired: give all encoders one size (?size=, or image_size in the protocol)`,
        );
      }
      const known = heads.get(head);
      const scores =
        known ?? pairedSegmentation(ofA, ofB, { source, head, i, j, classes: a.record.classes.length });
      heads.set(head, scores);
      return scores[metricOf(result)].difference;
    }
    const numbers = (of: Predictions, test: number, what: string) =>
      of.get(predictionKey(test, source, head, what))!.data as Float32Array | Int32Array;
    const [first, second] = [numbers(ofA, i, 'samples'), numbers(ofB, j, 'samples')];
    if (first.length !== second.length || first.some((sample, n) => sample !== second[n])) {
      throw new NotPaired(`${a.file} and ${b.file} did not score the same images`);
    }
    const options = { seed: BOOTSTRAP_SEED };
    return pairedMeans(numbers(ofA, i, 'hits'), numbers(ofB, j, 'hits'), options).difference;
  };
}
