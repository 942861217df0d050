// What every head said of every test image, in one safetensors file beside the record.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { giveName, makeFolder } from '../base/files/write.js';
import { readSafetensors, type StoredTensor, writeSafetensors } from '../base/safetensors.js';
import { DataError } from '../errors.js';
import type { EvaluationRecord } from '../results/record.js';

/** Name of a tensor: place of the test set, feature source, head, what it holds. */
export const predictionKey = (test: number, source: string, head: string, what: string): string =>
  [test, source, head, what].join('/');

/** Writes the tensors under a name made of their hash, which no other contents can have. @throws DataError */
export async function writePredictions(
  folder: string,
  tensors: ReadonlyMap<string, StoredTensor>,
): Promise<{ file: string; sha256: string }> {
  await makeFolder(folder);
  const path = join(folder, 'predictions.new');
  await writeSafetensors(path, tensors);
  const sha256 = createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
  const file = `predictions-${sha256.slice(0, 12)}.safetensors`;
  await giveName(path, join(folder, file));
  return { file, sha256 };
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
  if (createHash('sha256').update(bytes).digest('hex') !== record.predictions.sha256) {
    throw new DataError(
      `${path} is not the file that ${recordFile} was written with: evaluate again with --force`,
    );
  }
  return (await readSafetensors(path)).tensors;
}
