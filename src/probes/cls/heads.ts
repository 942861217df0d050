// Stacked classification heads: every grid point of one feature source in one program, on the engine contract.

import { stream } from '../../base/random.js';
import type { Program, TensorSpec } from '../../engine/program.js';
import { adamw } from '../../optim/adamw.js';
import { product } from '../../tensor/ops/index.js';
import { type NamedTensorMap, type Tensor, tf } from '../../tensor/tf.js';
import { classifyPooled, poolTokens, scoreVectors, stackedCrossEntropy } from './pooling.js';

/** Width of one attention head; the official protocol has D / 64 of them. */
export const HEAD_WIDTH = 64;

/** Sizes of the heads of one feature source. */
export interface HeadSizes {
  /** Channels of a vector or of a token. */
  readonly width: number;
  /** Tokens of a sample, which attentive pooling then pools; null for one vector and a linear head. */
  readonly tokens: number | null;
  readonly classes: number;
  /** Grid points in the stack. */
  readonly points: number;
}

export interface HeadOptimiser {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
}

const FIRST_MOMENT = '.exp_avg';
const SECOND_MOMENT = '.exp_avg_sq';

/** Width inside attentive pooling: that of the source, or the next multiple of 64 (channels that are zero change nothing). */
export const attentionWidth = (width: number): number => Math.ceil(width / HEAD_WIDTH) * HEAD_WIDTH;

/** What the protocol card has to say of a padded source. */
export function paddingNote(sizes: HeadSizes): string | undefined {
  const padded = attentionWidth(sizes.width);
  if (sizes.tokens === null || padded === sizes.width) return undefined;
  return `attentive pooling zero-pads the channels from ${sizes.width} to ${padded}, the next multiple of ${HEAD_WIDTH}`;
}

/**
 * Parameters of the stack and their shapes, G = points, C = classes, D = width, A = attentionWidth.
 * Linear: `linear.weight` [D, G * C], `linear.bias` [G * C]. Attentive: `query` [G, A], `key.weight` and `value.weight` [G, A, D],
 * `value.bias` [G, A], `linear.weight` [G, A, C], `linear.bias` [G, C]. The keys' bias is missing: it moves all scores of a
 * query alike, so that it has no effect and no gradient, and stays as it is initialised.
 */
export function headShapes({ width, tokens, classes, points }: HeadSizes): Record<string, number[]> {
  if (tokens === null) {
    return { 'linear.weight': [width, points * classes], 'linear.bias': [points * classes] };
  }
  const inner = attentionWidth(width);
  return {
    query: [points, inner],
    'key.weight': [points, inner, width],
    'value.weight': [points, inner, width],
    'value.bias': [points, inner],
    'linear.weight': [points, inner, classes],
    'linear.bias': [points, classes],
  };
}

/** Parameters without weight decay: those with "bias" in their names (official rule; the query is decayed). */
const decayed = (name: string): boolean => !name.includes('bias');

/** Names of everything that a training program keeps: parameters and both moments. */
export function stateNames(sizes: HeadSizes): string[] {
  return Object.keys(headShapes(sizes)).flatMap((n) => [n, n + FIRST_MOMENT, n + SECOND_MOMENT]);
}

/** A normal value of standard deviation `std`, redrawn beyond +-2 as PyTorch's trunc_normal_ cuts for std << 2. */
function truncated(random: { normal(): number }, std: number): number {
  for (;;) {
    const value = std * random.normal();
    if (Math.abs(value) <= 2) return value;
  }
}

/**
 * Parameters and zero moments at step 0: truncated normal weights and query, zero biases (official protocol). Every grid point
 * draws its own, addressed by (seed, source, grid point, parameter), so that a head starts the same alone or in a stack.
 */
export function initialHeads(
  sizes: HeadSizes,
  options: { seed: number; source: string; std: number; gridPoints?: readonly number[] },
): Record<string, Float32Array> {
  const { points, classes } = sizes;
  const alone = { ...sizes, points: 1 };
  const out: Record<string, Float32Array> = {};
  for (const [name, shape] of Object.entries(headShapes(sizes))) {
    const count = shape.reduce((a, b) => a * b, 1);
    out[name] = new Float32Array(count);
    out[name + FIRST_MOMENT] = new Float32Array(count);
    out[name + SECOND_MOMENT] = new Float32Array(count);
    if (!decayed(name)) continue;
    const one = headShapes(alone)[name]!.reduce((a, b) => a * b, 1);
    for (let g = 0; g < points; g++) {
      const point = options.gridPoints?.[g] ?? g;
      const random = stream(options.seed, 'classification head', options.source, point, name);
      const values = new Float32Array(one).map(() => truncated(random, options.std));
      place(out[name]!, values, g, sizes, interleaved(name, sizes) ? classes : one);
    }
  }
  return out;
}

/** The linear head alone keeps the grid points of a row side by side; all other parameters keep them one after another. */
const interleaved = (name: string, { tokens }: HeadSizes): boolean =>
  tokens === null && name === 'linear.weight';

/** Writes one grid point's values, in runs, into the stack. */
function place(
  stack: Float32Array,
  values: Float32Array,
  g: number,
  { points }: HeadSizes,
  run: number,
): void {
  for (let from = 0, row = 0; from < values.length; from += run, row++) {
    stack.set(values.subarray(from, from + run), (row * points + g) * run);
  }
}

/** One grid point's parameters out of a stack, in the shapes of a stack of one. */
export function headOf(
  stack: Record<string, Float32Array>,
  g: number,
  sizes: HeadSizes,
): Record<string, Float32Array> {
  const { points, classes } = sizes;
  return Object.fromEntries(
    Object.keys(headShapes(sizes)).map((name) => {
      const all = stack[name]!;
      const one = new Float32Array(all.length / points);
      const run = interleaved(name, sizes) ? classes : one.length;
      for (let at = 0, row = 0; at < one.length; at += run, row++) {
        const from = (row * points + g) * run;
        one.set(all.subarray(from, from + run), at);
      }
      return [name, one];
    }),
  );
}

/**
 * One head under official names and shapes: `linear.weight` [C, D], `linear.bias` [C]; attentive also `query_token` [A] and
 * `kv.weight` [2A, A], `kv.bias` [2A], keys first, zero where channels were padded and for the keys' bias.
 */
export function officialWeights(
  head: Record<string, Float32Array>,
  { classes, tokens, width }: HeadSizes,
): Record<string, { shape: number[]; data: Float32Array }> {
  const weight = head['linear.weight']!;
  const rows = weight.length / classes;
  const byClass = weight.map((_, i) => weight[(i % rows) * classes + Math.floor(i / rows)]!);
  const out: Record<string, { shape: number[]; data: Float32Array }> = {
    'linear.weight': { shape: [classes, rows], data: byClass },
    'linear.bias': { shape: [classes], data: head['linear.bias']!.slice() },
  };
  if (tokens === null) return out;
  const kv = new Float32Array(2 * rows * rows);
  for (const [half, name] of ['key.weight', 'value.weight'].entries()) {
    const from = head[name]!;
    for (let r = 0; r < rows; r++) {
      kv.set(from.subarray(r * width, (r + 1) * width), (half * rows + r) * rows);
    }
  }
  const bias = new Float32Array(2 * rows);
  bias.set(head['value.bias']!, rows);
  return {
    query_token: { shape: [rows], data: head.query!.slice() },
    'kv.weight': { shape: [2 * rows, rows], data: kv },
    'kv.bias': { shape: [2 * rows], data: bias },
    ...out,
  };
}

/** Logits of every head: [B, G, C] from linear heads, [G, B, C] from attentive ones. */
function logitsOf(w: NamedTensorMap, x: Tensor, { classes, points, tokens }: HeadSizes): Tensor {
  const batch = x.shape[0]!;
  if (tokens === null) {
    const flat = tf.add(columnLinear(x, w['linear.weight']!), w['linear.bias']!);
    return tf.reshape(flat, [batch, points, classes]);
  }
  const [, inner, width] = w['key.weight']!.shape as [number, number, number];
  const rows = (points * inner) / HEAD_WIDTH;
  const byHead = (t: Tensor): Tensor => tf.reshape(t, [rows, HEAD_WIDTH, width]);
  const u = scoreVectors(tf.reshape(w.query!, [rows, HEAD_WIDTH]), byHead(w['key.weight']!));
  const weight = w['linear.weight']!;
  const logits = classifyPooled(poolTokens(x, u), byHead(w['value.weight']!), weight);
  // The values' bias adds the same to every sample: the softmax's weights sum to one.
  const constant = tf.matMul(tf.reshape(w['value.bias']!, [points, 1, inner]) as never, weight as never);
  return tf.add(logits, tf.add(constant as Tensor, tf.reshape(w['linear.bias']!, [points, 1, classes])));
}

/** x @ w, x [B, D] data, w [D, M]: differentiable in w only. */
function columnLinear(x: Tensor, w: Tensor): Tensor {
  return tf.customGrad((...args: unknown[]) => {
    const [w] = args as [Tensor];
    return {
      value: product(x, w),
      gradFunc: (dy: Tensor) => product(tf.transpose(x, [1, 0]), dy),
    };
  })(w);
}

const float = (shape: number[]): TensorSpec => ({ shape, dtype: 'float32' });
const featureShape = ({ width, tokens }: HeadSizes, batch: number): number[] =>
  tokens === null ? [batch, width] : [batch, tokens, width];
const programName = (kind: string, s: HeadSizes): string =>
  `${s.tokens === null ? 'linear' : 'attentive'}_${kind}_${s.points}x${s.width}x${s.classes}`;

export interface HeadStepOptions {
  readonly batch: number;
  readonly optimiser: HeadOptimiser;
  /** Heads that the loss is averaged over, those of other sources included: it acts through AdamW's eps alone. */
  readonly headsInLoss: number;
  /** For parity tests: also `gradient.NAME` and `logits`. */
  readonly reference?: boolean;
}

/**
 * One AdamW step of all heads. Inputs beside the state: `features` [B, D] or [B, N, D], `labels` int32 [B], `lr` and `decay` [G]
 * (each grid point's effective rate at this step, and weight decay), `correction1`, `root_correction2`. Output: `losses` [G], each head's
 * mean cross-entropy on the batch, before the step.
 */
export function headStepProgram(sizes: HeadSizes, options: HeadStepOptions): Program {
  const { points, classes, tokens } = sizes;
  const { batch, optimiser, headsInLoss } = options;
  const shapes = headShapes(sizes);
  const inputs: Record<string, TensorSpec> = {};
  for (const [name, shape] of Object.entries(shapes)) {
    for (const suffix of ['', FIRST_MOMENT, SECOND_MOMENT]) inputs[name + suffix] = float(shape);
  }
  Object.assign(inputs, {
    features: float(featureShape(sizes, batch)),
    labels: { shape: [batch], dtype: 'int32' },
    lr: float([points]),
    decay: float([points]),
    correction1: float([]),
    root_correction2: float([]),
  });
  const names = Object.keys(shapes);
  /** [G] as a tensor that broadcasts over a parameter. */
  const perHead = (t: Tensor, name: string): Tensor => {
    if (tokens !== null) return tf.reshape(t, [points, ...shapes[name]!.slice(1).map(() => 1)]);
    return tf.reshape(tf.tile(tf.reshape(t, [points, 1]), [1, classes]), [points * classes]);
  };
  const run = (i: NamedTensorMap): NamedTensorMap => {
    const ids = tf.tensor2d(
      Int32Array.from({ length: classes }, (_, c) => c),
      [1, classes],
      'int32',
    );
    const targets = tf.cast(tf.equal(tf.reshape(i.labels!, [batch, 1]), ids), 'float32'); // [B, C]
    const lossesOf = (...values: Tensor[]): Tensor => {
      const w = Object.fromEntries(names.map((n, j) => [n, values[j]!]));
      return stackedCrossEntropy(logitsOf(w, i.features!, sizes), targets, tokens === null ? 0 : 1);
    };
    const weights = tf.fill([points], 1 / headsInLoss);
    const { value, grads } = tf.valueAndGrads(lossesOf as never)(
      names.map((n) => i[n]!),
      weights,
    );
    const out: NamedTensorMap = { losses: value };
    for (const [j, name] of names.entries()) {
      const next = adamw(
        { value: i[name]!, m: i[name + FIRST_MOMENT]!, v: i[name + SECOND_MOMENT]! },
        grads[j]!,
        { lr: perHead(i.lr!, name), correction1: i.correction1!, rootCorrection2: i.root_correction2! },
        optimiser,
        { lr: 1, decay: decayed(name) ? perHead(i.decay!, name) : 0 },
      );
      out[name] = next.value;
      out[name + FIRST_MOMENT] = next.m;
      out[name + SECOND_MOMENT] = next.v;
      if (options.reference) out[`gradient.${name}`] = grads[j]!;
    }
    if (options.reference) out.logits = logitsOf(i, i.features!, sizes);
    return out;
  };
  return { name: programName('step', sizes), inputs, state: stateNames(sizes), run };
}

/**
 * What the heads say of `features`: `classes` int32 [B, G], the most likely class of every head (of equal ones the smallest), and with
 * `logits` also these, [B, G, C]. Its state are the parameters without moments.
 */
export function headPredictionProgram(
  sizes: HeadSizes,
  batch: number,
  options: { logits: boolean },
): Program {
  const shapes = headShapes(sizes);
  const inputs: Record<string, TensorSpec> = Object.fromEntries(
    Object.entries(shapes).map(([n, shape]) => [n, float(shape)]),
  );
  inputs.features = float(featureShape(sizes, batch));
  return {
    name: programName('prediction', sizes),
    inputs,
    state: Object.keys(shapes),
    run: (i) => {
      const raw = logitsOf(i, i.features!, sizes);
      const logits = sizes.tokens === null ? raw : tf.transpose(raw, [1, 0, 2]);
      const classes = tf.reshape(tf.topk(logits, 1).indices, [batch, sizes.points]);
      return { classes, ...(options.logits ? { logits } : {}) } as NamedTensorMap;
    },
  };
}
