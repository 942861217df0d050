// What every head said of every test image, in one safetensors file beside the record.
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { giveName, makeFolder } from '../base/files/write.js';
import { sha256 } from '../base/hash.js';
import { readSafetensors, type StoredTensor, writeSafetensors } from '../base/safetensors.js';
import { DataError } from '../errors.js';
import type { EvaluationRecord } from '../results/record.js';
import type { Counted } from '../scores/counted.js';
import { TASKS, type TaskName } from './tasks.js';

/** Name of a tensor: place of the test set, feature source, head, what it holds. */
export const predictionKey = (test: number, source: string, head: string, what: string): string =>
  [test, source, head, what].join('/');

/** Tensors by name (predictionKey), as they lie beside a record. */
export type Predictions = ReadonlyMap<string, StoredTensor>;

/** Tensors of values whose names are not their metrics'. */
const TENSORS: Readonly<Record<string, string>> = { top1: 'hits' };

/** What is kept of a head on a test set, by the last part of its name. */
export function storedValues(counted: Counted): Record<string, StoredTensor> {
  if ('values' in counted) {
    const { samples, values } = counted;
    const list = Object.entries(values).map(([metric, x]): [string, StoredTensor] => [
      TENSORS[metric] ?? metric,
      { dtype: 'F32', shape: [x.length], data: Float32Array.from(x) },
    ]);
    const places = Int32Array.from(samples);
    return { samples: { dtype: 'I32', shape: [places.length], data: places }, ...Object.fromEntries(list) };
  }
  const { images, classes, ...counts } = counted.pixels;
  const table = (data: Uint32Array): StoredTensor => ({ dtype: 'U32', shape: [images, classes], data });
  return {
    hits: table(counts.hits),
    truth: table(counts.truth),
    predicted: table(counts.predicted),
  };
}

/** What stands behind the scores of a head on the `test`-th test set; undefined where the predictions do not have it. */
export function countedIn(
  from: Predictions,
  task: TaskName,
  test: number,
  source: string,
  head: string,
): Counted | undefined {
  const part = (what: string): StoredTensor | undefined => from.get(predictionKey(test, source, head, what));
  const truth = part('truth');
  if (!truth) {
    const own = predictionKey(test, source, head, '');
    const named = Object.entries(TENSORS).map(([metric, tensor]) => [tensor, metric] as const);
    const metrics = new Map<string, string>(named);
    const values = [...from].flatMap(([key, { data }]) => {
      if (!key.startsWith(own)) return [];
      const name = metrics.get(key.slice(own.length)) ?? key.slice(own.length);
      return Object.hasOwn(TASKS[task].metrics, name.split(' ')[0]!) ? [[name, data]] : [];
    });
    const samples = part('samples');
    if (!samples || values.length === 0) return undefined;
    return { samples: samples.data as Int32Array, values: Object.fromEntries(values) };
  }
  const [images, classes] = truth.shape as [number, number];
  const [hits, predicted, ignore] = [part('hits'), part('predicted'), from.get(`${test}/ignore`)];
  if (!hits || !predicted || !ignore) return undefined;
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

/** Writes the tensors under a name made of their hash, which no other contents can have. @throws DataError */
export async function writePredictions(
  folder: string,
  tensors: ReadonlyMap<string, StoredTensor>,
): Promise<{ file: string; sha256: string }> {
  await makeFolder(folder);
  const path = join(folder, 'predictions.new');
  await writeSafetensors(path, tensors);
  const digest = sha256(await readFile(path));
  const file = `predictions-${digest.slice(0, 12)}.safetensors`;
  await giveName(path, join(folder, file));
  return { file, sha256: digest };
}

/** The predictions of a record. @throws DataError when the file is missing or is not the record's */
export async function readPredictions(
  recordFile: string,
  record: EvaluationRecord,
): Promise<Map<string, StoredTensor>> {
  const path = join(dirname(recordFile), record.predictions.file);
  const bytes = await readFile(path).catch((error) => {
    throw new DataError(`cannot read the predictions of ${recordFile}: ${(error as Error).message}`);
  });
  if (sha256(bytes) !== record.predictions.sha256) {
    throw new DataError(
      `${path} is not the file that ${recordFile} was written with: evaluate again with --force`,
    );
  }
  return (await readSafetensors(path)).tensors;
}
