// The ways in which the field counts mIoU, all from the same counts of pixels.
import { type ClassCounts, type Counting, type ImageCounts, meanIou, sumImages } from './confusion.js';

/**
 * - `official`: the published CAPI evaluation: all images together, over the ids seen in truth or prediction. An ignored id that is
 *   predicted on a pixel that counts (k-NN can) is one more class with IoU 0.
 * - `nanskip`: as mmsegmentation: all images together, over a fixed list of classes, those without a pixel in truth or prediction skipped.
 *   It is the official one with ignored ids left out of the mean.
 * - `absent0`: the fixed list again, a class without a pixel counting as 0 (Hummingbird).
 * - `perimage`: the `nanskip` mean of every image by itself, then the mean over the images that have a pixel that counts (torchmetrics).
 *
 * In all of them pixels whose truth is ignored are left out, and the fixed list is every class that is not ignored.
 */
export const CONVENTIONS = ['official', 'nanskip', 'absent0', 'perimage'] as const;
export type Convention = (typeof CONVENTIONS)[number];

/** mIoU under a convention, in [0, 1]; NaN where no pixel counts. */
export function meanIouIn(convention: Convention, counts: ImageCounts, counting: Counting): number {
  return convention === 'perimage'
    ? meanOfImages(imageMeans(counts, counting))
    : pooledMeanIou(convention, sumImages(counts), counting);
}

/** mIoU of pixels counted together, as a confusion matrix has them. */
export function pooledMeanIou(
  convention: Exclude<Convention, 'perimage'>,
  counts: ClassCounts,
  { classes, ignore }: Counting,
): number {
  if (convention === 'official') return meanIou(counts);
  let sum = 0;
  let seen = 0;
  let listed = 0;
  for (let label = 0; label < classes; label++) {
    if (ignore.includes(label)) continue;
    listed++;
    const union = counts.truth[label]! + counts.predicted[label]! - counts.hits[label]!;
    if (union === 0) continue;
    sum += counts.hits[label]! / union;
    seen++;
  }
  // Where nothing counts nothing is seen: a mean over the list would be 0, which is no score.
  return convention === 'nanskip' || seen === 0 ? sum / seen : sum / listed;
}

/** [images]: the `nanskip` mean of every image, NaN where none of its pixels counts. */
export function imageMeans(counts: ImageCounts, counting: Counting): Float64Array {
  const { classes: columns } = counts;
  return Float64Array.from({ length: counts.images }, (_, image) => {
    const row = (values: Uint32Array) =>
      Float64Array.from(values.subarray(image * columns, (image + 1) * columns));
    const { hits, truth, predicted } = counts;
    return pooledMeanIou(
      'nanskip',
      { hits: row(hits), truth: row(truth), predicted: row(predicted) },
      counting,
    );
  });
}

/** The mean over images whose value is a number, of all or of those chosen. */
export function meanOfImages(values: Float64Array, chosen?: Int32Array): number {
  let sum = 0;
  let images = 0;
  for (let i = 0; i < (chosen ?? values).length; i++) {
    const value = values[chosen ? chosen[i]! : i]!;
    if (Number.isNaN(value)) continue;
    sum += value;
    images++;
  }
  return sum / images;
}
