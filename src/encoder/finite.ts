// Features that can be used, or an error that names the encoder and the image: one NaN makes every score that reads it a lie.

import { shown } from '../base/text.js';
import { CapiError, DataError, InterruptedError } from '../errors.js';
import type { FrozenEncoder, FrozenFeatures } from './frozen.js';

/** Squares of features and sums of them over images are taken in float32, which ends at 3.4e38. */
const LARGEST = 1e15;

/**
 * Runs the encoder on a batch of which the first `count` images are used, the others being padding, and checks that their features are finite.
 * @param imageOf how the user knows image i of the batch
 * @throws DataError for features that are not finite, and what the encoder throws, with the images and their size added
 */
export async function finiteFeatures(
  encoder: FrozenEncoder,
  images: Uint8Array,
  count: number,
  imageOf: (i: number) => string,
): Promise<FrozenFeatures> {
  const found = await encoder.run(images).catch((error: unknown) => {
    if (error instanceof CapiError && !(error instanceof InterruptedError)) {
      const { height, width } = encoder.size;
      const last = count > 1 ? ` to ${shown(imageOf(count - 1))}` : '';
      error.message += ` (encoder ${shown(encoder.name)}, ${count} images of ${height} x ${width} px: ${shown(imageOf(0))}${last})`;
    }
    throw error;
  });
  checkFinite(encoder, found, encoder.batch, count, imageOf);
  return found;
}

/**
 * Checks every part of the features of the first `count` images of a batch.
 * @throws DataError that names the encoder, the first such image, the part, and how many of its values are not finite, or the value that is too large
 */
function checkFinite(
  { name }: Pick<FrozenEncoder, 'name'>,
  features: FrozenFeatures,
  batch: number,
  count: number,
  imageOf: (i: number) => string,
): void {
  for (const part of ['patches', 'global', 'registers'] as const) {
    const values = features[part];
    if (!values) continue;
    const per = values.length / batch;
    const used = per * count;
    for (let i = 0; i < used; i++) {
      const value = values[i]!;
      if (value <= LARGEST && value >= -LARGEST) continue; // NaN is neither
      const image = Math.floor(i / per);
      const own = values.subarray(image * per, (image + 1) * per);
      if (Number.isFinite(value)) {
        throw new DataError(
          `encoder ${shown(name)} gives ${value.toExponential(1)} for image ${shown(imageOf(image))} (in its ${part}): squares of such values overflow in float32, and heads that normalise would see nothing; scale its features`,
          { encoder: name, image: imageOf(image), part, value },
        );
      }
      const wrong = own.reduce((n, v) => (Number.isFinite(v) ? n : n + 1), 0);
      throw new DataError(
        `encoder ${shown(name)} gives ${Number.isNaN(value) ? 'NaN' : 'infinity'} for image ${shown(imageOf(image))}: ${wrong} of the ${per} values of its ${part} are not finite, so no score of it means anything; mend the encoder, or leave the image out`,
        { encoder: name, image: imageOf(image), part, wrong },
      );
    }
  }
}
