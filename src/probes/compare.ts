// Whether two results differ: paired differences of the heads that two records share, over the same test images.
import { DataError } from '../errors.js';
import { pairedDifferences } from '../scores/counted.js';
import type { Interval } from '../scores/intervals.js';
import { type CheckedRecord, checkRecord, type RecordFile } from './check.js';
import { loadTask } from './task.js';
import { isBound, metricOf, sameScore } from './tasks.js';

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
  /** Which of the two is better where they differ. */
  readonly better: 'a' | 'b' | null;
}

/** One encoder's record against another's; where their scores cannot be paired there are none, and `unpaired` says why. */
export interface Pairing {
  readonly scores: readonly Comparison[];
  readonly unpaired?: string;
}

/** Two records that have no difference paired over test images, and why. */
export class NotPaired extends DataError {}

/**
 * Compares what both records have: every head, feature source and metric, on test sets of the same contents.
 * @throws DataError when a score is not that of its predictions; NotPaired, one too, when they have nothing in common, or saw other images or sizes
 */
export async function compareRecords(a: RecordFile | CheckedRecord, b: RecordFile): Promise<Comparison[]> {
  const { task } = a.record;
  if (task !== b.record.task) {
    throw new NotPaired(`${a.file} is of ${task} and ${b.file} of ${b.record.task}: nothing to compare`);
  }
  const first = 'counted' in a ? a : await checkRecord(a);
  const second = await checkRecord(b);
  const compared: Comparison[] = [];
  for (const [i, test] of a.record.tests.entries()) {
    const j = b.record.tests.findIndex((t) => t.identity === test.identity && t.images === test.images);
    if (j < 0) continue;
    await checkSettings([first, second], [i, j]);
    const heads = new Map<string, ReturnType<typeof pairedDifferences>>();
    for (const result of a.record.results.filter((r) => r.test === test.source && !isBound(task, r.head))) {
      const other = b.record.results.find(
        (r) => r.test === b.record.tests[j]!.source && sameScore(r, result),
      );
      if (!other || result.value === null || other.value === null) continue;
      const { source, head, metric, convention } = result;
      const key = JSON.stringify([source, head]);
      const of = heads.get(key) ?? paired(first, second, result, other);
      heads.set(key, of);
      const difference = of(result);
      const differ = difference.low > 0 || difference.high < 0;
      const aIsBetter = difference.low > 0 === (metricOf(task, metric).better === 'higher');
      compared.push({
        test: test.source,
        source,
        head,
        metric,
        convention,
        a: result.value,
        b: other.value,
        difference,
        n: result.n,
        differ,
        better: !differ ? null : aIsBetter ? 'a' : 'b',
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

/** The first record against each of the others. @throws what compareRecords throws, but for NotPaired */
export async function compareWithFirst([first, ...others]: readonly RecordFile[]): Promise<Pairing[]> {
  const pairings: Pairing[] = [];
  const checked = first && others.length > 0 ? await checkRecord(first) : undefined; // read once for all
  for (const other of others) {
    try {
      pairings.push({ scores: await compareRecords(checked!, other) });
    } catch (error) {
      if (!(error instanceof NotPaired)) throw error;
      pairings.push({ scores: [], unpaired: error.message });
    }
  }
  return pairings;
}

type Scored = Parameters<CheckedRecord['counted']>[0];

/** @throws NotPaired */
function paired(
  a: CheckedRecord,
  b: CheckedRecord,
  ofA: Scored,
  ofB: Scored,
): ReturnType<typeof pairedDifferences> {
  const [first, second] = [a.counted(ofA), b.counted(ofB)];
  const [sizeA, sizeB] = [a, b].map(({ record }) => record.encoder.size.join(' x '));
  if ('pixels' in first && sizeA !== sizeB) {
    throw new NotPaired(
      `${a.record.encoder.name} and ${b.record.encoder.name} were scored on label maps of ${sizeA} and ${sizeB} px, so that no pixel is paired: give all encoders one size (?size=, or image_size in the protocol)`,
    );
  }
  try {
    return pairedDifferences(first, second, a.record.classes.length);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new NotPaired(`${a.file} and ${b.file} did not score the same images`);
  }
}

/** @throws NotPaired where two records counted one test set in different ways, naming how */
async function checkSettings(both: readonly CheckedRecord[], places: readonly number[]): Promise<void> {
  const task = await loadTask(both[0]!.record.task);
  const [first, second] = both.map(({ record, predictions }, side) =>
    task.countedBy(record, predictions, places[side]!),
  ) as [Record<string, string>, Record<string, string>];
  const differ = [...new Set([...Object.keys(first), ...Object.keys(second)])]
    .filter((key) => first[key] !== second[key])
    .map((key) => `${key} is '${first[key] ?? ''}' in the one and '${second[key] ?? ''}' in the other`);
  if (differ.length === 0) return;
  throw new NotPaired(
    `${both.map(({ file }) => file).join(' and ')} hold scores of the same images under other settings: ${differ.join('; ')}. Evaluate both with the same options of the source`,
  );
}

/** A hint where the test sets have the same addresses but not the same identities. */
function olderNote(a: RecordFile, b: RecordFile): string {
  const same = a.record.tests.some(({ source }) => b.record.tests.some((test) => test.source === source));
  return same
    ? '; the files of the test set changed between the two, or one record is of an older version, which knew files by names and sizes: evaluate again'
    : '';
}
