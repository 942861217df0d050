// Whether a record's scores are those of its predictions.
import { DataError } from '../errors.js';
import type { EvaluationRecord, Result } from '../results/record.js';
import { type Counted, checkScores } from '../scores/counted.js';
import { countedIn, type Predictions, readPredictions } from './predictions.js';

/** A record with the path that it was read from. */
export interface RecordFile {
  readonly file: string;
  readonly record: EvaluationRecord;
}

/** A record whose scores are those of its predictions. */
export interface CheckedRecord extends RecordFile {
  readonly predictions: Predictions;
  /** What stands behind a score; of one head and test set always the same object. */
  counted(result: Pick<Result, 'test' | 'source' | 'head'>): Counted;
}

/** Place of a test set in a record. */
export const testPlace = ({ tests }: EvaluationRecord, test: string): number =>
  tests.findIndex(({ source }) => source === test);

/** Reads the predictions of a record and compares every score with them. @throws DataError naming file and score */
export async function checkRecord({ file, record }: RecordFile): Promise<CheckedRecord> {
  const predictions = await readPredictions(file, record);
  const known = new Map<string, Counted>();
  const counted: CheckedRecord['counted'] = ({ test, source, head }) => {
    const key = JSON.stringify([test, source, head]);
    const found =
      known.get(key) ?? countedIn(predictions, record.task, testPlace(record, test), source, head);
    if (!found) {
      throw new DataError(`${file}: its predictions lack ${head} on ${source}, ${test}: ${REMEDY}`, {
        path: file,
        fault: 'foreign',
      });
    }
    known.set(key, found);
    return found;
  };
  checkScores(file, record, counted, REMEDY);
  return { file, record, predictions, counted };
}

const REMEDY = 'evaluate again with --force, or restore it';
