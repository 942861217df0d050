// Images to flattened patches, position-major, with the pixel normalisation inside the program.
import { type Tensor, tf } from '../tensor/tf.js';
import type { ModelSizes } from './sizes.js';

/**
 * Bytes [B, H, W, 3] (as float32 whole numbers) to normalised patches [N * B, 3 p p], flattened (row, column, channel) as the
 * bytes lie: (x / 255 - mean) / std with mean and std in [0, 1] units.
 */
export function patchesFromBytes(
  images: Tensor,
  s: ModelSizes,
  batch: number,
  mean: number[],
  std: number[],
): Tensor {
  const p = s.patch;
  const split = tf.reshape(images, [batch, s.gridHeight, p, s.gridWidth, 3 * p]);
  const flat = tf.reshape(tf.transpose(split, [1, 3, 0, 2, 4]), [s.patches * batch, 3 * p * p]);
  const perChannel = (f: (c: number) => number): Tensor =>
    tf.tensor1d(Array.from({ length: 3 * p * p }, (_, i) => f(i % 3)));
  const scale = perChannel((c) => 1 / (255 * std[c]!));
  const shift = perChannel((c) => -mean[c]! / std[c]!);
  return tf.add(tf.mul(flat, scale), shift);
}

/** Normalised images [B, 3, H, W] to patches [N * B, 3 p p]: the layout of the reference data. */
export function patchesFromPlanes(images: Tensor, s: ModelSizes, batch: number): Tensor {
  const p = s.patch;
  const split = tf.reshape(images, [batch, 3, s.gridHeight, p, s.gridWidth, p]);
  return tf.reshape(tf.transpose(split, [2, 4, 0, 3, 5, 1]), [s.patches * batch, 3 * p * p]);
}
