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
 * The matrix [size * scale, size], row-major, that stretches `size` values to `size * scale` linearly: PyTorch's
 * F.interpolate(mode='bilinear', align_corners=False) along one axis. Its rows sum to 1.
 */
export function interpolation(size: number, scale: number): Float32Array {
  const matrix = new Float32Array(size * scale * size);
  for (let to = 0; to < size * scale; to++) {
    const at = Math.max(0, (to + 0.5) / scale - 0.5);
    const low = Math.floor(at);
    const high = Math.min(low + 1, size - 1);
    matrix[to * size + low]! += 1 - (at - low);
    matrix[to * size + high]! += at - low;
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
  const [height, width] = [rows * patch, columns * patch];
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
  const weights = new Float32Array(labels.length);
  const mass = new Float64Array((labels.length / patch ** 2) * classes);
  for (let from = 0; from < labels.length; from++) {
    const id = counts[labels[from]!]!;
    if (id < 0) continue;
    const [tile, inner] = [Math.floor(from / patch ** 2), from % patch ** 2];
    const image = Math.floor(tile / (rows * columns));
    const y = (Math.floor(tile / columns) % rows) * patch + Math.floor(inner / patch);
    const x = (tile % columns) * patch + (inner % patch);
    weights[(image * height + y) * width + x] = weight;
    const v = vertical[y]!;
    const h = horizontal[x]!;
    for (const [row, a] of v) {
      for (const [column, b] of h) {
        mass[((image * rows + row) * columns + column) * classes + id]! += weight * a * b;
      }
    }
  }
  return { weights, mass: Float32Array.from(mass) };
}

/** For every output position of `interpolation`, the inputs that it reads and how much of each. */
function taps(size: number, scale: number): [number, number][][] {
  const matrix = interpolation(size, scale);
  return Array.from({ length: size * scale }, (_, to) =>
    Array.from(matrix.subarray(to * size, (to + 1) * size))
      .map((share, from): [number, number] => [from, share])
      .filter(([, share]) => share !== 0),
  );
}
