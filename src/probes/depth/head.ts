// The two linear depth heads as programs: bins with linear normalisation under the SigLoss, and regression of metres under the Huber loss.
import type { Program, TensorSpec } from '../../engine/program.js';
import type { AdamwOptions } from '../../optim/adamw.js';
import { type NamedTensorMap, type Tensor, tf } from '../../tensor/tf.js';
import {
  imagesOfPiece,
  inPieces,
  type StackSizes,
  type StackStep,
  stackPredictionProgram,
  stackStepProgram,
} from '../linear/stack.js';
import { type PatchGrid, type Upsampling, upsampling } from '../linear/upsample.js';

/** Weight that every bin has beside its output: no patch is without weights (DINOv2, after AdaBins). */
const BIN_EPS = 0.1;
/** Metres added before logarithms, and the weight of the squared mean (SigLoss of DINOv2's depth code, after AdaBins and BTS). */
const LOG_EPS = 0.001;
const MEAN_WEIGHT = 0.15;

/** How a head's outputs become depth. */
export type DepthForm =
  /** `outputs` bins from `low` to `high` metres, ends included; outputs are upsampled `upsample` times first. */
  | { readonly head: 'bins'; readonly low: number; readonly high: number; readonly upsample: number }
  /** The one output is the depth in metres; losses are linear beyond `huber` metres. Predictions lie between `low` and `high`. */
  | { readonly head: 'regression'; readonly low: number; readonly high: number; readonly huber: number };

export type DepthSizes = PatchGrid & StackSizes;

/** Images of one piece of a program; at least 1. */
export const depthPiece = ({ rows, columns, patch, outputs }: DepthSizes, form: DepthForm): number =>
  imagesOfPiece(
    rows * columns * Math.max(patch ** 2, form.head === 'bins' ? form.upsample ** 2 * outputs : 1),
  );

export interface DepthStepOptions {
  /** Images of a batch. */
  readonly batch: number;
  readonly optimiser: AdamwOptions;
  /** Images of a piece; default: as many as fit 32 MiB. */
  readonly piece?: number;
  /** See StackStep. */
  readonly reference?: boolean;
}

/**
 * One step of all heads (see stackStepProgram) on maps row by row: `depths` [B, height * width] in metres and `weights` of the same shape, 1 / (pixels of
 * the batch that count) or 0; with bins also the scalar `spread` (see binsLoss).
 */
export function depthStepProgram(sizes: DepthSizes, form: DepthForm, options: DepthStepOptions): Program {
  const { rows, columns, patch } = sizes;
  const { batch, optimiser, piece = depthPiece(sizes, form), reference = false } = options;
  const maps: TensorSpec = { shape: [batch, rows * columns * patch ** 2], dtype: 'float32' };
  return stackStepProgram(sizes, {
    name: `depth_${form.head}`,
    patches: batch * rows * columns,
    optimiser,
    reference,
    inputs: {
      depths: maps,
      weights: maps,
      ...(form.head === 'bins' ? { spread: { shape: [], dtype: 'float32' } } : {}),
    },
    loss: form.head === 'bins' ? binsLoss(sizes, form, batch, piece) : huberLoss(sizes, form, batch, piece),
  });
}

/** Depth of every pixel, `features` [images * N, D] -> `said` [G, images * height * width] in metres, row by row, held between the form's ends. */
export function depthPredictionProgram(sizes: DepthSizes, form: DepthForm, images: number): Program {
  const { rows, columns, patch, outputs } = sizes;
  const patches = rows * columns;
  return stackPredictionProgram(sizes, {
    name: `depth_${form.head}`,
    patches: images * patches,
    read() {
      const bins = form.head === 'bins' ? binsOf(sizes, form) : undefined;
      const { up } = bins?.pixels ?? upsampling(sizes);
      return (own) => {
        const z = tf.reshape(own, [images, patches, outputs]);
        const metres = up(bins ? bins.depthOf(z).depth : z);
        const held = tf.minimum(tf.maximum(metres, form.low), form.high);
        return tf.reshape(held, [1, images * patches * patch ** 2]);
      };
    },
  });
}

/**
 * Bins with linear normalisation (AdaBins' and DINOv2's "linear"): with c_k bin centres uniform over the range and w_k = max(z_k, 0) + 0.1, the depth of a
 * place is sum w_k c_k / sum w_k. Places are those of the grid upsampled `upsample` times, outputs before the maximum. As tensors of the program that is being built.
 */
function binsOf(sizes: DepthSizes, { low, high, upsample }: DepthForm & { head: 'bins' }) {
  const { rows, columns, patch, outputs } = sizes;
  const finer = upsampling({ rows, columns, patch: upsample });
  const pixels = upsampling({ rows: rows * upsample, columns: columns * upsample, patch: patch / upsample });
  const step = (high - low) / (outputs - 1);
  const centres = tf.tensor1d(Float32Array.from({ length: outputs }, (_, k) => low + k * step));
  return {
    pixels,
    /** Outputs [m, N, K] -> depth [m, N', 1], and what the gradient needs: 1 / sum w [m, N', 1] and where z is above 0 [m, N', K]. */
    depthOf(own: Tensor) {
      const z = upsample === 1 ? own : finer.up(own);
      const w = tf.add(tf.maximum(z, 0), BIN_EPS);
      const scale = tf.reciprocal(tf.sum(w, -1, true));
      const depth = tf.mul(tf.sum(tf.mul(w, centres), -1, true), scale);
      return { depth, scale, open: tf.cast(tf.greater(z, 0), 'float32') };
    },
    /** Gradients of places' depths [m, N', 1] as gradients of outputs [m, N, K]: d depth / d z_k = (c_k - depth) / sum w where z_k is above 0. */
    pull(gradient: Tensor, { depth, scale, open }: { depth: Tensor; scale: Tensor; open: Tensor }): Tensor {
      const z = tf.mul(tf.mul(tf.sub(centres, depth), tf.mul(gradient, scale)), open);
      return upsample === 1 ? z : finer.down(z);
    },
    /** Sums over places [m, N', C] -> [m, N, C]. */
    gather: (y: Tensor): Tensor => (upsample === 1 ? y : finer.down(y)),
  };
}

type Loss = StackStep['loss'];
const channel = (x: Tensor, from: number, count = 1): Tensor =>
  tf.slice(x, [0, 0, from], [x.shape[0]!, x.shape[1]!, count]);

/**
 * The SigLoss over all pixels of the batch that count: with g = log(depth + 0.001) - log(truth + 0.001), sqrt(var g + 0.15 (mean g)^2), var unbiased. The
 * input `spread` is n / (n - 1) of the n pixels, or 0 for the loss of the warm-up, sqrt(0.15) |mean g|. The gradient of a pixel's depth is the sum of g
 * times one factor of the batch and 1 times another, over n (depth + 0.001): both parts are pulled back piece by piece, and the factors come last.
 */
function binsLoss(sizes: DepthSizes, form: DepthForm & { head: 'bins' }, batch: number, piece: number): Loss {
  const patches = sizes.rows * sizes.columns;
  const pixels = patches * sizes.patch ** 2;
  const { outputs } = sizes;
  return (i) => {
    const bins = binsOf(sizes, form);
    const { up, down } = bins.pixels;
    return (own) => {
      const whole = inPieces(own, { batch, patches, piece }, (part, from, m) => {
        const found = bins.depthOf(part);
        const metres = tf.add(up(found.depth), LOG_EPS);
        const { depths, weights } = mapsOf(i, from, m, pixels);
        const g = tf.sub(tf.log(metres), tf.log(tf.add(depths, LOG_EPS)));
        const [weighted, inverse] = [tf.mul(weights, g), tf.div(weights, metres)];
        const sums = down(tf.concat([tf.mul(inverse, g), inverse, weighted, tf.mul(weighted, g)], -1)); // [m, N', 4]
        return tf.concat(
          [
            bins.pull(channel(sums, 0), found),
            bins.pull(channel(sums, 1), found),
            bins.gather(channel(sums, 2, 2)),
          ],
          -1,
        );
      });
      const columns = (from: number, count: number) => tf.slice(whole, [0, from], [batch * patches, count]);
      const mean = tf.sum(columns(2 * outputs, 1));
      const square = tf.square(mean);
      const variance = tf.maximum(tf.sub(tf.sum(columns(2 * outputs + 1, 1)), square), 0);
      const loss = tf.sqrt(tf.add(tf.mul(variance, i.spread!), tf.mul(square, MEAN_WEIGHT)));
      const over = tf.reciprocal(tf.maximum(loss, 1e-12));
      const ofG = tf.mul(i.spread!, over);
      const ofOne = tf.mul(tf.mul(tf.sub(MEAN_WEIGHT, i.spread!), mean), over);
      return {
        loss: tf.reshape(loss, [1]),
        gradient: tf.add(tf.mul(columns(0, outputs), ofG), tf.mul(columns(outputs, outputs), ofOne)),
      };
    };
  };
}

/** The Huber loss of metres, mean over the pixels of the batch that count. With e clipped to c, it is c (e - c / 2), and its gradient c. */
function huberLoss(
  sizes: DepthSizes,
  { huber }: DepthForm & { head: 'regression' },
  batch: number,
  piece: number,
): Loss {
  const patches = sizes.rows * sizes.columns;
  const pixels = patches * sizes.patch ** 2;
  return (i) => {
    const { up, down }: Upsampling = upsampling(sizes);
    return (own) => {
      const whole = inPieces(own, { batch, patches, piece }, (part, from, m) => {
        const { depths, weights } = mapsOf(i, from, m, pixels);
        const error = tf.sub(up(part), depths);
        const clipped = tf.maximum(tf.minimum(error, huber), -huber);
        const weighted = tf.mul(weights, clipped);
        return down(tf.concat([weighted, tf.mul(weighted, tf.sub(error, tf.mul(clipped, 0.5)))], -1));
      });
      const columns = (from: number) => tf.slice(whole, [0, from], [batch * patches, 1]);
      return { loss: tf.reshape(tf.sum(columns(1)), [1]), gradient: columns(0) };
    };
  };
}

/** Maps of `m` images of a batch, from image `from` on: [m, height * width, 1]. */
function mapsOf(i: NamedTensorMap, from: number, m: number, pixels: number) {
  const [depths, weights] = [i.depths!, i.weights!].map((all) =>
    tf.reshape(tf.slice(all, [from, 0], [m, pixels]), [m, pixels, 1]),
  ) as [Tensor, Tensor];
  return { depths, weights };
}
