// What can be read of each image of a source: described by data, which crosses to a thread where a function cannot.

import type { ImageSource } from '../source.js';
import { type Fingerprint, fingerprintOf } from './fingerprint.js';
import { type EvaluationOptions, type EvaluationView, readForEvaluation } from './views.js';

/** What to read: views for an evaluation, or fingerprints. */
export type ReaderJob = { read: 'view'; options: EvaluationOptions } | { read: 'fingerprint' };

/** What a job gives for one image. */
export type ReaderResult<J extends ReaderJob> = J extends { read: 'view' } ? EvaluationView : Fingerprint;

/** Does `job` for image `i`. Throws what the source throws for an image that cannot be read. */
export function readOne(
  source: ImageSource,
  i: number,
  job: ReaderJob,
): Promise<EvaluationView | Fingerprint> {
  return job.read === 'view' ? readForEvaluation(source, i, job.options) : fingerprintOf(source, i);
}
