// Bilinear upsampling of a patch grid as two fixed matrix products, and where the pixels of a patch lie.
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
export function taps(size: number, scale: number) {
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

/** For every pixel of an image in patch order, its index row by row. */
export function patchOrder({ rows, columns, patch }: PatchGrid): Int32Array {
  const width = columns * patch;
  return Int32Array.from({ length: rows * columns * patch ** 2 }, (_, i) => {
    const [tile, inner] = [Math.floor(i / patch ** 2), i % patch ** 2];
    const y = Math.floor(tile / columns) * patch + Math.floor(inner / patch);
    return y * width + (tile % columns) * patch + (inner % patch);
  });
}
