// The linear segmentation head as programs: upsampled logits, cross-entropy over pixels, the most likely class of every pixel.
import type { Program } from '../../engine/program.js';
import type { AdamwOptions } from '../../optim/adamw.js';
import { type Tensor, tf } from '../../tensor/tf.js';
import {
  imagesOfPiece,
  inPieces,
  type StackSizes,
  stackPredictionProgram,
  stackStepProgram,
} from '../linear/stack.js';
import { type PatchGrid, type Upsampling, upsampling } from '../linear/upsample.js';

const NAME = 'linear_segmentation';

/** Sizes of a stack of heads, an output a class. */
export type LinearSizes = PatchGrid & StackSizes;

/** Images whose logits are one piece of a program. */
export const linearPiece = ({ rows, columns, patch, outputs }: LinearSizes): number =>
  imagesOfPiece(rows * columns * patch ** 2 * outputs);

export interface LinearStepOptions {
  /** Images of a batch. */
  readonly batch: number;
  readonly optimiser: AdamwOptions;
  /** Images of a piece; default: as many as fit 32 MiB of logits. */
  readonly piece?: number;
  /** See StackStep. */
  readonly reference?: boolean;
}

/**
 * One step of all heads (see stackStepProgram) with `weights` [B, height * width] and `mass` [B, N, C] (`labelMass`): each head's mean
 * cross-entropy over the labelled pixels of the batch.
 */
export function linearStepProgram(sizes: LinearSizes, options: LinearStepOptions): Program {
  const { rows, columns, patch, outputs: classes } = sizes;
  const { batch, optimiser, piece = linearPiece(sizes), reference = false } = options;
  const patches = rows * columns;
  const pixels = patches * patch ** 2;
  return stackStepProgram(sizes, {
    name: NAME,
    patches: batch * patches,
    optimiser,
    reference,
    inputs: {
      weights: { shape: [batch, pixels], dtype: 'float32' },
      mass: { shape: [batch, patches, classes], dtype: 'float32' },
    },
    loss(i) {
      const resize = upsampling(sizes);
      const mass = tf.reshape(i.mass!, [batch * patches, classes]);
      return (own) => {
        const whole = inPieces(own, { batch, patches, piece }, (part, from, m) =>
          pieceOf(part, tf.slice(i.weights!, [from, 0], [m, pixels]), resize),
        );
        const pulls = tf.slice(whole, [0, 0], [batch * patches, classes]);
        const logSums = tf.sum(tf.slice(whole, [0, classes], [batch * patches, 1]));
        return {
          loss: tf.reshape(tf.sub(logSums, tf.sum(tf.mul(mass, own))), [1]),
          gradient: tf.sub(pulls, mass),
        };
      };
    },
  });
}

/**
 * The part of some images in the loss and its gradient: patch logits [m, N, C] and pixel weights [m, height * width] -> [m, N, C + 1],
 * `down` of weight * softmax and, as the last column, of weight * log sum exp, whose sum over patches is that over pixels.
 */
function pieceOf(logits: Tensor, weights: Tensor, { up, down }: Upsampling): Tensor {
  const pixelWeights = tf.reshape(weights, [...weights.shape, 1]);
  const z = up(logits);
  const p = tf.softmax(z);
  // log sum exp z = max z - log max p, and max p is at least 1 / C.
  const logSum = tf.sub(tf.max(z, -1, true), tf.log(tf.max(p, -1, true)));
  return tf.concat([down(tf.mul(p, pixelWeights)), down(tf.mul(logSum, pixelWeights))], -1);
}

/**
 * The most likely class of every pixel, of equal ones the smallest: `features` [images * N, D] -> `said` int32 [G, images * height * width],
 * pixels row by row.
 */
export function linearPredictionProgram(sizes: LinearSizes, images: number): Program {
  const { rows, columns, patch, outputs: classes } = sizes;
  const patches = rows * columns;
  return stackPredictionProgram(sizes, {
    name: NAME,
    patches: images * patches,
    read() {
      const { up } = upsampling(sizes);
      return (own) => {
        const z = up(tf.reshape(own, [images, patches, classes]));
        return tf.reshape(tf.topk(z, 1).indices, [1, images * patches * patch ** 2]);
      };
    },
  });
}
