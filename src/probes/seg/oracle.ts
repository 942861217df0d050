// The patch-grid oracle: what a head that gives each patch one label could reach if it knew the test labels.
import { DataError } from '../../errors.js';
import type { RowSource } from '../../features/rows.js';
import { ImageCounter } from '../../scores/confusion.js';
import type { TestCounts } from './patch_set.js';

export interface OracleRequest {
  readonly images: number;
  /** [images * patches, pixels]; see PatchRows. */
  readonly labels: RowSource<Uint8Array>;
  readonly classes: number;
  readonly ignore: readonly number[];
}

/**
 * Gives every patch its most frequent label among the pixels that count, of equally frequent ones the smallest. No labelling of whole patches
 * has a higher pixel accuracy. For mIoU it is the usual estimate of the ceiling and not a strict bound: giving a patch to a rarer
 * class can raise the mean over classes. Heads that label pixels within a patch (k-NN, linear with upsampling) can pass both.
 * Throws DataError for a label that is no class.
 */
export async function patchOracle(request: OracleRequest): Promise<TestCounts> {
  const { images, labels, classes, ignore } = request;
  const patches = labels.count / images;
  const counted = Uint8Array.from({ length: 256 }, (_, id) => (ignore.includes(id) ? 0 : 1));
  const none = counted.indexOf(1); // for patches of which no pixel counts: any label will do
  if (!(none >= 0 && none < classes)) throw new DataError('every class is ignored');
  const counter = new ImageCounter(images, request);
  const predicted = new Uint8Array(patches);
  const seen = new Uint32Array(256);
  for (let image = 0; image < images; image++) {
    const pixels = await labels.read(image * patches, patches);
    for (let patch = 0; patch < patches; patch++) {
      seen.fill(0);
      let best = none;
      for (let i = patch * labels.width; i < (patch + 1) * labels.width; i++) {
        const label = pixels[i]!;
        if (!counted[label]) continue;
        const count = ++seen[label]!;
        if (count > seen[best]! || (count === seen[best]! && label < best)) best = label;
      }
      predicted[patch] = best;
    }
    counter.add(pixels, predicted);
  }
  return { counts: counter.counts, confusion: counter.confusion };
}
