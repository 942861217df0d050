// Stacked linear heads on patches as programs: batch norm, one linear layer a patch, whatever loss stands behind it, AdamW.

import { stream } from '../../base/random.js';
import type { Program, TensorSpec } from '../../engine/program.js';
import { type AdamwOptions, adamw } from '../../optim/adamw.js';
import { product } from '../../tensor/ops/index.js';
import { type NamedTensorMap, type Tensor, tf } from '../../tensor/tf.js';

/** PyTorch's defaults of a batch norm. */
const NORM_EPS = 1e-5;
const NORM_MOMENTUM = 0.1;

/** Sizes of a stack of heads. */
export interface StackSizes {
  /** Channels of a patch. */
  readonly width: number;
  /** Outputs of a head for each patch. */
  readonly outputs: number;
  /** Grid points in the stack. */
  readonly points: number;
}

const FIRST_MOMENT = '.exp_avg';
const SECOND_MOMENT = '.exp_avg_sq';
const NORM = ['running_mean', 'running_var'];

/** Parameters of the stack, G = points, C = outputs: `weight` [D, G * C], `bias` [G * C]. */
const parameterShapes = ({ width, outputs, points }: StackSizes): Record<string, number[]> => ({
  weight: [width, points * outputs],
  bias: [points * outputs],
});

/** Shapes of everything that a training program keeps: parameters, both moments of each, and the batch norm's `running_mean` and `running_var` [D]. */
function stateShapes(sizes: StackSizes): Record<string, number[]> {
  const shapes: Record<string, number[]> = {};
  for (const [name, shape] of Object.entries(parameterShapes(sizes))) {
    for (const suffix of ['', FIRST_MOMENT, SECOND_MOMENT]) shapes[name + suffix] = shape;
  }
  for (const name of NORM) shapes[name] = [sizes.width];
  return shapes;
}

/** What a prediction program keeps. */
export const predictionState = ['weight', 'bias', ...NORM];

/**
 * State before the first step: normal weights of deviation `std`, the same for every grid point, so that points differ by what the grid says
 * and a head starts the same alone or in a stack; biases as given; zero moments; running statistics 0 and 1. `name` is that of the random stream.
 */
export function initialStack(
  sizes: StackSizes,
  options: { name: string; seed: number; std: number; bias?: number },
): Record<string, Float32Array> {
  const { width, outputs, points } = sizes;
  const state = Object.fromEntries(
    Object.entries(stateShapes(sizes)).map(([name, shape]) => [
      name,
      new Float32Array(shape.reduce((a, b) => a * b, 1)),
    ]),
  );
  state.running_var!.fill(1);
  state.bias!.fill(options.bias ?? 0);
  const one = stream(options.seed, options.name, width, outputs).fillNormal(
    new Float32Array(width * outputs),
    options.std,
  );
  for (let d = 0; d < width; d++) {
    for (let g = 0; g < points; g++) {
      state.weight!.set(one.subarray(d * outputs, (d + 1) * outputs), (d * points + g) * outputs);
    }
  }
  return state;
}

/** One grid point's part of a state, as the state of a stack of one. */
export function pointOf(
  state: Record<string, Float32Array>,
  g: number,
  { points, outputs }: Pick<StackSizes, 'points' | 'outputs'>,
): Record<string, Float32Array> {
  const pick = (all: Float32Array): Float32Array =>
    all.filter((_, i) => Math.floor(i / outputs) % points === g);
  return Object.fromEntries(
    Object.entries(state).map(([name, all]) => [name, NORM.includes(name) ? all.slice() : pick(all)]),
  );
}

const float = (shape: number[]): TensorSpec => ({ shape, dtype: 'float32' });
const nameOf = (kind: string, s: StackSizes): string => `${kind}_${s.points}x${s.width}x${s.outputs}`;

/** Columns of grid point `g` out of the outputs of all, [T, G * C] -> [T, C]. */
const columnsOf = (x: Tensor, g: number, outputs: number): Tensor =>
  tf.slice(x, [0, g * outputs], [x.shape[0]!, outputs]);

/**
 * Values at full resolution that one piece of a program holds, in bytes. A program goes through its images in pieces and through
 * the grid points one by one, so that its memory is some three such pieces whatever batch, outputs and grid are.
 */
const PIECE_BYTES = 32 * 2 ** 20;

/** Images of a piece that has so many values for each; at least 1. */
export const imagesOfPiece = (values: number): number => Math.max(1, Math.floor(PIECE_BYTES / (4 * values)));

/**
 * Goes through the images of a batch in pieces: `of` makes of the outputs of `m` images [m, N, C], from image `from` on, values [m, N, K]; all of them, [B * N, K].
 * What `of` gives is one tensor so that an engine ends a piece before it begins the next: its order of work follows single results.
 */
export function inPieces(
  own: Tensor,
  { batch, patches, piece }: { batch: number; patches: number; piece: number },
  of: (outputs: Tensor, from: number, m: number) => Tensor,
): Tensor {
  const outputs = own.shape[1]!;
  const pieces: Tensor[] = [];
  for (let from = 0; from < batch; from += piece) {
    const m = Math.min(piece, batch - from);
    const part = tf.slice(own, [from * patches, 0], [m * patches, outputs]);
    pieces.push(
      tf.tidy(() => {
        const made = of(tf.reshape(part, [m, patches, outputs]), from, m);
        return tf.reshape(made, [m * patches, made.shape[2]!]);
      }),
    );
  }
  return pieces.length === 1 ? pieces[0]! : tf.concat(pieces, 0);
}

export interface StackStep {
  /** Begins the program's name. */
  readonly name: string;
  /** Patches of a batch, T. */
  readonly patches: number;
  readonly optimiser: AdamwOptions;
  /** What the loss reads beside the outputs. */
  readonly inputs: Record<string, TensorSpec>;
  /** Called once inside the program: loss [1] of one head's outputs [T, C], and its gradient [T, C]. */
  loss(inputs: NamedTensorMap): (outputs: Tensor) => { loss: Tensor; gradient: Tensor };
  /** For parity tests: also `gradient.weight`, `gradient.bias` and `logits` [T, G * C]. */
  readonly reference?: boolean;
}

/**
 * One AdamW step of all heads; weights and biases decay alike, as torch.optim.AdamW does with all parameters of a module. Inputs beside the
 * state and those of the loss: `features` [T, D], `lr` and `decay` [G], `correction1`, `root_correction2`. Output: `losses` [G], before the step.
 *
 * The batch norm has no parameters of its own, so that all heads share it. It normalises by the batch and moves its running statistics
 * by 0.1, the variance by its unbiased estimate, as PyTorch does.
 */
export function stackStepProgram(sizes: StackSizes, step: StackStep): Program {
  const { width, outputs, points } = sizes;
  const { patches, optimiser } = step;
  const state = stateShapes(sizes);
  const inputs: Record<string, TensorSpec> = Object.fromEntries(
    Object.entries(state).map(([name, shape]) => [name, float(shape)]),
  );
  Object.assign(inputs, {
    features: float([patches, width]),
    ...step.inputs,
    lr: float([points]),
    decay: float([points]),
    correction1: float([]),
    root_correction2: float([]),
  });
  /** [G] as a row that broadcasts over [.., G * C]. */
  const perPoint = (t: Tensor): Tensor =>
    tf.reshape(tf.tile(tf.reshape(t, [points, 1]), [1, outputs]), [points * outputs]);

  const run = (i: NamedTensorMap): NamedTensorMap => {
    const norm = batchNorm(i.features!, i.running_mean!, i.running_var!);
    const logits = tf.add(product(norm.x, i.weight!), i.bias!);
    const lossOf = step.loss(i);
    const heads = Array.from({ length: points }, (_, g) => lossOf(columnsOf(logits, g, outputs)));
    const [losses, gradients] = [heads.map(({ loss }) => loss), heads.map(({ gradient }) => gradient)];
    const d = points === 1 ? gradients[0]! : tf.concat(gradients, 1); // [T, G * C]
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
      if (step.reference) out[`gradient.${name}`] = gradient[name]!;
    }
    if (step.reference) out.logits = logits;
    return out;
  };
  return { name: nameOf(`${step.name}_step`, sizes), inputs, state: Object.keys(state), run };
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
 * What every head says of patches: `features` [T, D] -> `said` [G, ...], each row what `read` makes of one head's outputs [T, C], [1, ...].
 * The batch norm uses its running statistics. Its state is `predictionState`.
 */
export function stackPredictionProgram(
  sizes: StackSizes,
  { name, patches, read }: { name: string; patches: number; read(): (outputs: Tensor) => Tensor },
): Program {
  const { width, outputs, points } = sizes;
  const all = stateShapes(sizes);
  const inputs = Object.fromEntries(predictionState.map((name) => [name, float(all[name]!)]));
  inputs.features = float([patches, width]);
  return {
    name: nameOf(`${name}_prediction`, sizes),
    inputs,
    state: predictionState,
    run: (i) => {
      const scale = tf.rsqrt(tf.add(i.running_var!, NORM_EPS));
      const x = tf.mul(tf.sub(i.features!, i.running_mean!), scale);
      const logits = tf.add(product(x, i.weight!), i.bias!);
      const say = read();
      const said = Array.from({ length: points }, (_, g) =>
        tf.tidy(() => say(columnsOf(logits, g, outputs))),
      );
      return { said: points === 1 ? said[0]! : tf.concat(said, 0) };
    },
  };
}
