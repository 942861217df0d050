// The warning about test images that are among the training images.
import { findOverlap, overlapWarning } from '../../images/index.js';
import type { EvaluationData } from './dataset.js';

/** Images of each set that are looked at, spread evenly: a bound on the time. */
const LIMIT = 20_000;

/** A line for each test set that shares images with the training set. @throws DataError for an image that cannot be read */
export async function overlapNotes(sets: {
  train: EvaluationData;
  tests: readonly { name: string; data: EvaluationData }[];
}): Promise<string[]> {
  const notes: string[] = [];
  for (const { name, data } of sets.tests) {
    const found = await findOverlap(sets.train.source, data.source, { limit: LIMIT });
    const warning = overlapWarning(found, 'training', name);
    if (warning) notes.push(warning);
  }
  return notes;
}
