// Whether a record's scores are those of its predictions.

import type { StoredTensor } from '../base/safetensors.js';
import { DataError } from '../errors.js';
import { type Counted, checkScores } from '../scores/recompute.js';
import type { RecordFile } from './compare.js';
import { predictionKey, readPredictions } from './predictions.js';

/** Tensors by name, as predictions.ts reads them. */
export type Predictions = ReadonlyMap<string, StoredTensor>;

/** Reads the predictions of a record and compares every score with them. @throws DataError naming file and score */
export async function checkRecord({ file, record }: RecordFile): Promise<Predictions> {
  const predictions = await readPredictions(file, record);
  const known = new Map<string, Counted>();
  checkScores(
    file,
    record,
    ({ test, source, head }) => {
      const place = record.tests.findIndex((t) => t.source === test);
      const name = predictionKey(place, source, head, '');
      const found = known.get(name) ?? countedIn(predictions, place, source, head);
      if (!found) {
        throw new DataError(`${file}: its predictions lack ${head} on ${source}, ${test}: ${REMEDY}`, {
          path: file,
          fault: 'foreign',
        });
      }
      known.set(name, found);
      return found;
    },
    REMEDY,
  );
  return predictions;
}

const REMEDY = 'evaluate again with --force, or restore it';

/** What stands behind the scores of a head; undefined where the predictions do not have it. */
export function countedIn(
  from: Predictions,
  test: number,
  source: string,
  head: string,
): Counted | undefined {
  const part = (what: string): StoredTensor | undefined => from.get(predictionKey(test, source, head, what));
  const [hits, truth, predicted] = [part('hits'), part('truth'), part('predicted')];
  if (!hits) return undefined;
  if (!truth) return { hits: hits.data as Float32Array };
  const [images, classes] = truth.shape as [number, number];
  const ignore = from.get(`${test}/ignore`);
  if (!predicted || !ignore) return undefined;
  const [h, t, p] = [hits, truth, predicted].map(({ data }) => data as Uint32Array) as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ];
  return {
    pixels: { images, classes, hits: h, truth: t, predicted: p },
    ignore: [...(ignore.data as Int32Array)],
  };
}
