// Stacked linear segmentation heads as programs: batch norm, one linear layer a patch, upsampled logits, cross-entropy, AdamW.

import { stream } from '../../base/random.js';
import type { Program, TensorSpec } from '../../engine/program.js';
import { type AdamwOptions, adamw } from '../../optim/adamw.js';
import { product } from '../../tensor/ops/index.js';
import { type NamedTensorMap, type Tensor, tf } from '../../tensor/tf.js';
import { type PatchGrid, type Upsampling, upsampling } from './linear_upsample.js';

/** PyTorch's defaults of a batch norm. */
const NORM_EPS = 1e-5;
const NORM_MOMENTUM = 0.1;

/**
 * Logits at full resolution that one piece of a program holds, in bytes. A program goes through its images in pieces and through
 * the grid points one by one, so that its memory is some three such pieces whatever batch, classes and grid are.
 */
const PIECE_BYTES = 32 * 2 ** 20;

/** Sizes of a stack of heads. */
export interface LinearSizes extends PatchGrid {
  /** Channels of a patch. */
  readonly width: number;
  readonly classes: number;
  /** Grid points in the stack. */
  readonly points: number;
}

const FIRST_MOMENT = '.exp_avg';
const SECOND_MOMENT = '.exp_avg_sq';
const NORM = ['running_mean', 'running_var'];

/** Parameters of the stack, G = points, C = classes: `weight` [D, G * C], `bias` [G * C]. */
const parameterShapes = ({ width, classes, points }: LinearSizes): Record<string, number[]> => ({
  weight: [width, points * classes],
  bias: [points * classes],
});

/** Shapes of everything that a training program keeps: parameters, both moments of each, and the batch norm's `running_mean` and `running_var` [D]. */
export function stateShapes(sizes: LinearSizes): Record<string, number[]> {
  const shapes: Record<string, number[]> = {};
  for (const [name, shape] of Object.entries(parameterShapes(sizes))) {
    for (const suffix of ['', FIRST_MOMENT, SECOND_MOMENT]) shapes[name + suffix] = shape;
  }
  for (const name of NORM) shapes[name] = [sizes.width];
  return shapes;
}

/** What a prediction program keeps. */
export const predictionState = ['weight', 'bias', ...NORM];

/** Images whose logits are one piece; at least 1. */
export function imagesOfPiece({ rows, columns, patch, classes }: PatchGrid & { classes: number }): number {
  return Math.max(1, Math.floor(PIECE_BYTES / (4 * rows * columns * patch ** 2 * classes)));
}

/**
 * State before the first step: normal weights of deviation `std`, the same for every grid point, so that points differ by what the grid says
 * and a head starts the same alone or in a stack; zero biases and moments; running statistics 0 and 1.
 */
export function initialLinear(
  sizes: LinearSizes,
  options: { seed: number; std: number },
): Record<string, Float32Array> {
  const { width, classes, points } = sizes;
  const state = Object.fromEntries(
    Object.entries(stateShapes(sizes)).map(([name, shape]) => [
      name,
      new Float32Array(shape.reduce((a, b) => a * b, 1)),
    ]),
  );
  state.running_var!.fill(1);
  const one = stream(options.seed, 'linear segmentation head', width, classes).fillNormal(
    new Float32Array(width * classes),
    options.std,
  );
  for (let d = 0; d < width; d++) {
    for (let g = 0; g < points; g++) {
      state.weight!.set(one.subarray(d * classes, (d + 1) * classes), (d * points + g) * classes);
    }
  }
  return state;
}

/** One grid point's part of a state, as the state of a stack of one. */
export function pointOf(
  state: Record<string, Float32Array>,
  g: number,
  { points, classes }: LinearSizes,
): Record<string, Float32Array> {
  const pick = (all: Float32Array): Float32Array =>
    all.filter((_, i) => Math.floor(i / classes) % points === g);
  return Object.fromEntries(
    Object.entries(state).map(([name, all]) => [name, NORM.includes(name) ? all.slice() : pick(all)]),
  );
}

const float = (shape: number[]): TensorSpec => ({ shape, dtype: 'float32' });
const nameOf = (kind: string, s: LinearSizes): string =>
  `linear_segmentation_${kind}_${s.points}x${s.width}x${s.classes}`;

/** Columns of grid point `g` out of the logits of all, [T, G * C] -> [T, C]. */
const columnsOf = (x: Tensor, g: number, classes: number): Tensor =>
  tf.slice(x, [0, g * classes], [x.shape[0]!, classes]);

export interface LinearStepOptions {
  /** Images of a batch. */
  readonly batch: number;
  readonly optimiser: AdamwOptions;
  /** Images of a piece; default: as many as fit 32 MiB of logits. */
  readonly piece?: number;
  /** For parity tests: also `gradient.weight`, `gradient.bias` and `logits` [B * N, G * C]. */
  readonly reference?: boolean;
}

/**
 * One AdamW step of all heads; weights and biases decay alike, as torch.optim.AdamW does with all parameters of a module. Inputs beside the
 * state: `features` [B * N, D], `weights` [B, height * width] and `mass` [B, N, C] (`labelMass`), `lr` and `decay` [G], `correction1`,
 * `root_correction2`. Output: `losses` [G], each head's mean cross-entropy over the labelled pixels of the batch, before the step.
 *
 * The batch norm has no parameters of its own, so that all heads share it. It normalises by the batch and moves its running statistics
 * by 0.1, the variance by its unbiased estimate, as PyTorch does.
 */
export function linearStepProgram(sizes: LinearSizes, options: LinearStepOptions): Program {
  const { rows, columns, patch, width, classes, points } = sizes;
  const { batch, optimiser, piece = imagesOfPiece(sizes) } = options;
  const patches = rows * columns;
  const pixels = patches * patch ** 2;
  const state = stateShapes(sizes);
  const inputs: Record<string, TensorSpec> = Object.fromEntries(
    Object.entries(state).map(([name, shape]) => [name, float(shape)]),
  );
  Object.assign(inputs, {
    features: float([batch * patches, width]),
    weights: float([batch, pixels]),
    mass: float([batch, patches, classes]),
    lr: float([points]),
    decay: float([points]),
    correction1: float([]),
    root_correction2: float([]),
  });
  /** [G] as a row that broadcasts over [.., G * C]. */
  const perPoint = (t: Tensor): Tensor =>
    tf.reshape(tf.tile(tf.reshape(t, [points, 1]), [1, classes]), [points * classes]);

  const run = (i: NamedTensorMap): NamedTensorMap => {
    const norm = batchNorm(i.features!, i.running_mean!, i.running_var!);
    const logits = tf.add(product(norm.x, i.weight!), i.bias!);
    const resize = upsampling(sizes);
    const mass = tf.reshape(i.mass!, [batch * patches, classes]);
    const losses: Tensor[] = [];
    const gradients: Tensor[] = [];
    for (let g = 0; g < points; g++) {
      const own = columnsOf(logits, g, classes); // [B * N, C]
      const pieces: Tensor[] = [];
      for (let from = 0; from < batch; from += piece) {
        const m = Math.min(piece, batch - from);
        const part = tf.slice(own, [from * patches, 0], [m * patches, classes]);
        const weights = tf.slice(i.weights!, [from, 0], [m, pixels]);
        pieces.push(tf.tidy(() => pieceOf(tf.reshape(part, [m, patches, classes]), weights, resize)));
      }
      const whole = pieces.length === 1 ? pieces[0]! : tf.concat(pieces, 0);
      const pulls = tf.slice(whole, [0, 0], [batch * patches, classes]);
      const logSums = tf.sum(tf.slice(whole, [0, classes], [batch * patches, 1]));
      losses.push(tf.reshape(tf.sub(logSums, tf.sum(tf.mul(mass, own))), [1]));
      gradients.push(tf.sub(pulls, mass));
    }
    const d = points === 1 ? gradients[0]! : tf.concat(gradients, 1); // [B * N, G * C]
    const gradient: Record<string, Tensor> = {
      weight: product(tf.transpose(norm.x, [1, 0]), d),
      bias: tf.sum(d, 0),
    };
    const out: NamedTensorMap = {
      losses: points === 1 ? losses[0]! : tf.concat(losses, 0),
      running_mean: norm.mean,
      running_var: norm.variance,
    };
    for (const name of Object.keys(gradient)) {
      const next = adamw(
        { value: i[name]!, m: i[name + FIRST_MOMENT]!, v: i[name + SECOND_MOMENT]! },
        gradient[name]!,
        { lr: perPoint(i.lr!), correction1: i.correction1!, rootCorrection2: i.root_correction2! },
        optimiser,
        { lr: 1, decay: perPoint(i.decay!) },
      );
      out[name] = next.value;
      out[name + FIRST_MOMENT] = next.m;
      out[name + SECOND_MOMENT] = next.v;
      if (options.reference) out[`gradient.${name}`] = gradient[name]!;
    }
    if (options.reference) out.logits = logits;
    return out;
  };
  return { name: nameOf('step', sizes), inputs, state: Object.keys(state), run };
}

/**
 * The part of some images in the loss and its gradient: patch logits [m, N, C] and pixel weights [m, height * width] -> [m * N, C + 1],
 * `down` of weight * softmax and, as the last column, of weight * log sum exp, whose sum over patches is that over pixels. They
 * are one tensor so that an engine ends a piece before it begins the next: its order of work follows single results.
 */
function pieceOf(logits: Tensor, weights: Tensor, { up, down }: Upsampling): Tensor {
  const [m, patches, classes] = logits.shape as [number, number, number];
  const pixelWeights = tf.reshape(weights, [...weights.shape, 1]);
  const z = up(logits);
  const p = tf.softmax(z);
  // log sum exp z = max z - log max p, and max p is at least 1 / C.
  const logSum = tf.sub(tf.max(z, -1, true), tf.log(tf.max(p, -1, true)));
  const both = [down(tf.mul(p, pixelWeights)), down(tf.mul(logSum, pixelWeights))];
  return tf.reshape(tf.concat(both, -1), [m * patches, classes + 1]);
}

/** Features [T, D] normalised by their own statistics, and the running statistics after them. */
function batchNorm(x: Tensor, runningMean: Tensor, runningVariance: Tensor) {
  const count = x.shape[0]!;
  const mean = tf.mean(x, 0);
  const centred = tf.sub(x, mean);
  const variance = tf.mean(tf.square(centred), 0);
  const moved = (old: Tensor, now: Tensor): Tensor =>
    tf.add(tf.mul(old, 1 - NORM_MOMENTUM), tf.mul(now, NORM_MOMENTUM));
  return {
    x: tf.mul(centred, tf.rsqrt(tf.add(variance, NORM_EPS))),
    mean: moved(runningMean, mean),
    variance: moved(runningVariance, tf.mul(variance, count / Math.max(1, count - 1))),
  };
}

/**
 * The most likely class of every pixel, of equal ones the smallest: `features` [images * N, D] -> `labels` int32 [G, images * height * width],
 * pixels row by row. The batch norm uses its running statistics. Its state is `predictionState`.
 */
export function linearPredictionProgram(sizes: LinearSizes, images: number): Program {
  const { rows, columns, patch, width, classes, points } = sizes;
  const patches = rows * columns;
  const pixels = patches * patch ** 2;
  const all = stateShapes(sizes);
  const inputs = Object.fromEntries(predictionState.map((name) => [name, float(all[name]!)]));
  inputs.features = float([images * patches, width]);
  return {
    name: nameOf('prediction', sizes),
    inputs,
    state: predictionState,
    run: (i) => {
      const scale = tf.rsqrt(tf.add(i.running_var!, NORM_EPS));
      const x = tf.mul(tf.sub(i.features!, i.running_mean!), scale);
      const logits = tf.add(product(x, i.weight!), i.bias!);
      const { up } = upsampling(sizes);
      const labels = Array.from({ length: points }, (_, g) =>
        tf.tidy(() => {
          const own = tf.reshape(columnsOf(logits, g, classes), [images, patches, classes]);
          return tf.reshape(tf.topk(up(own), 1).indices, [1, images * pixels]);
        }),
      );
      return { labels: points === 1 ? labels[0]! : tf.concat(labels, 0) };
    },
  };
}
