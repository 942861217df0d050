// The reference values of the segmentation probes. They do not depend on the model, so a reference folder without them falls back to the copy here.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSafetensors } from '../../src/base/safetensors.js';

const copy = join(import.meta.dirname, '../golden/capi-reference');
const chosen = process.env.CAPI_REFERENCE_DIR ?? copy;
const folder = existsSync(join(chosen, 'segmentation.json')) ? chosen : copy;

interface Score {
  mIoU: number;
  acc: number;
}

/** Settings and scores. */
export const segmentation = JSON.parse(readFileSync(join(folder, 'segmentation.json'), 'utf8')) as {
  ignore_labels: number[];
  knn: (Score & { k: number; distance: string })[];
  logreg: (Score & { C: number; classes: number[]; objective_C_times_nll_plus_half_l2: number })[];
};

/** Features, labels and predictions. */
export async function segmentationTensors() {
  return (await readSafetensors(join(folder, 'segmentation.safetensors'))).tensors;
}
