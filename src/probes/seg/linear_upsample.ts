// Bilinear upsampling of a patch grid as two fixed matrix products, and what it makes of pixel labels.
import { DataError } from '../../errors.js';
import { product } from '../../tensor/ops/index.js';
import { type Tensor, tf } from '../../tensor/tf.js';

/** A grid of square patches: rows and columns of patches, and the side of one in pixels. */
export interface PatchGrid {
  readonly rows: number;
  readonly columns: number;
  readonly patch: number;
}

/**
 * What each of `size * scale` values reads when `size` values are stretched linearly: inputs `low` and `high`, 1 - toHigh of one and toHigh of
 * the other. As PyTorch's F.interpolate(mode='bilinear', align_corners=False) along one axis.
 */
function taps(size: number, scale: number) {
  const at = Float64Array.from({ length: size * scale }, (_, to) => Math.max(0, (to + 0.5) / scale - 0.5));
  const low = Int32Array.from(at, Math.floor);
  return {
    low,
    high: low.map((index) => Math.min(index + 1, size - 1)),
    toHigh: at.map((position, to) => position - low[to]!),
  };
}

/** The same as a matrix [size * scale, size], row-major; its rows sum to 1. */
export function interpolation(size: number, scale: number): Float32Array {
  const { low, high, toHigh } = taps(size, scale);
  const matrix = new Float32Array(size * scale * size);
  for (let to = 0; to < size * scale; to++) {
    matrix[to * size + low[to]!]! += 1 - toHigh[to]!;
    matrix[to * size + high[to]!]! += toHigh[to]!;
  }
  return matrix;
}

/** Upsampling of logits and its transpose, as tensors of the program that is being built; neither has a gradient. */
export interface Upsampling {
  /** [m, rows * columns, C] -> [m, height * width, C] */
  up(x: Tensor): Tensor;
  /** [m, height * width, C] -> [m, rows * columns, C] */
  down(y: Tensor): Tensor;
}

/** Call it inside a program: the two matrices become constants of it. */
export function upsampling({ rows, columns, patch }: PatchGrid): Upsampling {
  const [height, width] = [rows * patch, columns * patch];
  const vertical = tf.tensor2d(interpolation(rows, patch), [height, rows]);
  const horizontal = tf.tensor2d(interpolation(columns, patch), [width, columns]);
  const verticalBack = tf.transpose(vertical, [1, 0]);
  const horizontalBack = tf.transpose(horizontal, [1, 0]);
  return {
    up(x) {
      const [m, , classes] = x.shape as [number, number, number];
      const wide = product(horizontal, tf.reshape(x, [m * rows, columns, classes])); // [m * rows, width, C]
      const whole = product(vertical, tf.reshape(wide, [m, rows, width * classes]));
      return tf.reshape(whole, [m, height * width, classes]);
    },
    down(y) {
      const [m, , classes] = y.shape as [number, number, number];
      const wide = product(verticalBack, tf.reshape(y, [m, height, width * classes]));
      const small = product(horizontalBack, tf.reshape(wide, [m * rows, width, classes]));
      return tf.reshape(small, [m, rows * columns, classes]);
    },
  };
}

/** What a training step reads of the labels of its images. */
export interface LabelMass {
  /** [images, height, width], row by row: 1 / (labelled pixels of the batch), 0 for an ignored pixel. */
  readonly weights: Float32Array;
  /**
   * [images, rows * columns, classes]: how much every pixel's weight pulls at its class in every patch, `Upsampling.down` of the
   * weighted one-hot labels. With it, sum of weight * (logit of the label) over all pixels is the sum of mass * logits over
   * the patches, so that labels are never spread over classes at full resolution.
   */
  readonly mass: Float32Array;
}

/**
 * Labels of a batch, [images, patches, patch * patch] in patch order. A batch without labelled pixels weighs nothing.
 * @throws DataError for a label that is neither a class nor ignored
 */
export function labelMass(
  labels: Uint8Array,
  grid: PatchGrid,
  classes: number,
  ignore: readonly number[],
): LabelMass {
  const { rows, columns, patch } = grid;
  const width = columns * patch;
  const counts = Array.from({ length: 256 }, (_, id) => (ignore.includes(id) ? -1 : id));
  let labelled = 0;
  for (const label of labels) {
    const id = counts[label]!;
    if (id >= classes) {
      throw new DataError(
        `label ${label} of a label map is not one of ${classes} classes (0 to ${classes - 1}) and not ignored`,
      );
    }
    if (id >= 0) labelled++;
  }
  const weight = labelled === 0 ? 0 : 1 / labelled;
  const vertical = taps(rows, patch);
  const horizontal = taps(columns, patch);
  const order = patchOrder(grid);
  const weights = new Float32Array(labels.length);
  const mass = new Float64Array((labels.length / patch ** 2) * classes);
  for (let from = 0; from < labels.length; from++) {
    const id = counts[labels[from]!]!;
    if (id < 0) continue;
    const image = Math.floor(from / order.length);
    const pixel = order[from % order.length]!;
    const y = Math.floor(pixel / width);
    const x = pixel % width;
    weights[image * order.length + pixel] = weight;
    const upper = (image * rows + vertical.low[y]!) * columns;
    const lower = (image * rows + vertical.high[y]!) * columns;
    const [left, right] = [horizontal.low[x]!, horizontal.high[x]!];
    const down = vertical.toHigh[y]!;
    const across = horizontal.toHigh[x]!;
    mass[(upper + left) * classes + id]! += weight * (1 - down) * (1 - across);
    mass[(upper + right) * classes + id]! += weight * (1 - down) * across;
    mass[(lower + left) * classes + id]! += weight * down * (1 - across);
    mass[(lower + right) * classes + id]! += weight * down * across;
  }
  return { weights, mass: Float32Array.from(mass) };
}

/** For every pixel of an image in patch order, its index row by row. */
export function patchOrder({ rows, columns, patch }: PatchGrid): Int32Array {
  const width = columns * patch;
  return Int32Array.from({ length: rows * columns * patch ** 2 }, (_, i) => {
    const [tile, inner] = [Math.floor(i / patch ** 2), i % patch ** 2];
    const y = Math.floor(tile / columns) * patch + Math.floor(inner / patch);
    return y * width + (tile % columns) * patch + (inner % patch);
  });
}
