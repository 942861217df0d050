// What a training step of the linear segmentation head reads of the labels of its images.
import { DataError } from '../../errors.js';
import { type PatchGrid, patchOrder, taps } from '../linear/upsample.js';

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
