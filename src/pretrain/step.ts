// The method on one page: one CAPI training step as a program (teacher, clustering, student, both optimisers, EMA).
import type { Config } from '../config/index.js';
import { elements, type Program, type TensorSpec } from '../engine/program.js';
import { lossSum } from '../losses.js';
import type { Weights } from '../model/blocks.js';
import { encode, predict, predictFused, type RunOptions } from '../model/encoder.js';
import { fold, unfold } from '../model/fold.js';
import { headOutputs } from '../model/head.js';
import {
  allShapes,
  CLUSTERING,
  EMA,
  isRope,
  parameterGroup,
  ropeFrequencies,
  STUDENT,
  studentShapes,
} from '../model/parameters.js';
import { patchesFromBytes, patchesFromPlanes } from '../model/patches.js';
import { readMaskInputs } from '../model/positions.js';
import { type ModelSizes, maskTokens, modelSizes, patchCounts } from '../model/sizes.js';
import { type AdamwScalars, adamw } from '../optim/adamw.js';
import { parameterRows } from '../optim/rows.js';
import { emaUpdate } from '../teacher/ema.js';
import { flat, type KeptSamples, unflat } from '../tensor/ops/index.js';
import { type NamedTensorMap, type Tensor, tf } from '../tensor/tf.js';
import { imagesOf, targetsOf } from './targets.js';

export interface StepOptions {
  /** Channel mean and standard deviation in [0, 1] units. */
  mean?: number[];
  std?: number[];
  /** Micro-batches inside the graph: less memory and a warmer cache; they change results by rounding only. */
  teacherMicroBatches?: number;
  studentMicroBatches?: number;
  /** For parity tests: normalised float images [B, 3, H, W], rotary frequencies as parameters, more outputs. */
  reference?: boolean;
}

export const FIRST_MOMENT = '.exp_avg';
export const SECOND_MOMENT = '.exp_avg_sq';

/** Samples that one residual branch keeps out of `batch`. Source: official `drop_add_residual_stochastic_depth`. */
export const keptCount = (batch: number, dropPath: number): number =>
  dropPath === 0 ? batch : Math.max(1, Math.floor(batch * (1 - dropPath)));

/** Drop-path inputs: for each part, kept counts for one micro-batch, and branches. */
export function dropPathPlan(
  config: Config,
  s: ModelSizes,
  microBatch: number,
): { part: 'encoder' | 'decoder'; branches: number; kept: number }[] {
  const rates = {
    encoder: config.model.drop_path,
    decoder: config.model.predictor.drop_path ?? config.model.drop_path,
  };
  const both = [
    { part: 'encoder' as const, branches: 2 * s.depth, kept: keptCount(microBatch, rates.encoder) },
    { part: 'decoder' as const, branches: 2 * s.predictorDepth, kept: keptCount(microBatch, rates.decoder) },
  ].filter(({ branches }) => branches > 0);
  return rates.encoder === 0 && (rates.decoder === 0 || s.predictorDepth === 0) ? [] : both;
}

/** Shapes of the optimiser moments, under the parameter's name with a suffix. Fixed rotary frequencies have none. */
export function optimiserShapes(s: ModelSizes): Record<string, number[]> {
  const out: Record<string, number[]> = {};
  for (const [name, shape] of Object.entries(allShapes(s))) {
    if (name.startsWith(EMA) || isRope(name)) continue;
    out[name + FIRST_MOMENT] = shape;
    out[name + SECOND_MOMENT] = shape;
  }
  return out;
}

/**
 * The training step of `config`. Inputs beside the state: images, mask rows and coordinates (model/positions.ts), kept
 * samples of drop path, and the scalars lr, clustering_lr, momentum, correction1, root_correction2. Outputs: capi_loss
 * (the student's, whatever `loss.type`), gradient_norm, and what targets.ts reports: of CAPI clustering_loss, target_entropy, position_use.
 */
export function stepProgram(config: Config, options: StepOptions = {}): Program {
  const s = modelSizes(config);
  const batch = config.train.batch;
  const { visible, predicted } = patchCounts(config);
  const queries = maskTokens(config);
  const teacherParts = options.teacherMicroBatches ?? 1;
  const studentParts = options.studentMicroBatches ?? 1;
  const microBatch = batch / studentParts;
  const drop = dropPathPlan(config, s, microBatch);
  const student = studentShapes(s);
  const rope = (name: string): boolean => isRope(name) && !options.reference;

  const inputs: Record<string, TensorSpec> = {};
  const state: string[] = [];
  const float = (shape: number[]): TensorSpec => ({ shape, dtype: 'float32' });
  const addState = (name: string, shape: number[]): void => {
    inputs[name] = float(shape);
    state.push(name);
  };
  for (const [name, shape] of Object.entries(allShapes(s))) if (!rope(name)) addState(name, shape);
  for (const [name, shape] of Object.entries(optimiserShapes(s))) addState(name, shape);
  inputs.images = options.reference
    ? float([batch, 3, s.height, s.width])
    : { shape: [batch, s.height, s.width, 3], dtype: 'uint8' };
  inputs.visible_rows = { shape: [visible, batch], dtype: 'int32' };
  inputs.predict_rows = { shape: [predicted, batch], dtype: 'int32' };
  const places: Record<string, TensorSpec> = {
    context_coords: float([s.registers + visible, batch, 2]),
    predict_coords: float([queries, batch, 2]),
    visible_cells: { shape: [visible, batch], dtype: 'int32' },
    predict_cells: { shape: [queries, batch], dtype: 'int32' },
  };
  for (const name of readMaskInputs(s)) inputs[name] ??= places[name]!;
  for (const name of ['lr', 'clustering_lr', 'momentum', 'correction1', 'root_correction2'])
    inputs[name] = float([]);
  for (const d of drop) {
    inputs[`kept.${d.part}`] = { shape: [studentParts, d.branches, d.kept], dtype: 'int32' };
    inputs[`inverse.${d.part}`] = { shape: [studentParts, d.branches, microBatch], dtype: 'int32' };
  }

  const weightsOf = (i: NamedTensorMap, prefix: string): Weights => {
    const turns = (d: number): Tensor => tf.tensor2d(ropeFrequencies(d, s.ropeMin, s.ropeMax), [2, d]);
    const fixed = Object.keys(student).some(rope)
      ? { encoder: turns(s.dim / s.heads), decoder: turns(s.predictorDim / s.predictorHeads) }
      : undefined;
    return Object.fromEntries(
      Object.keys(student).map((n) => [
        n,
        rope(n) ? fixed![n.includes('.encoder.') ? 'encoder' : 'decoder'] : i[prefix + n]!,
      ]),
    );
  };

  const run = (i: NamedTensorMap): NamedTensorMap => {
    const pixels = options.reference
      ? patchesFromPlanes(i.images!, s, batch)
      : patchesFromBytes(i.images!, s, batch, options.mean!, options.std!);

    // Teacher: the EMA encoder sees every patch of the whole image, and what it makes of them is to be predicted.
    const rows = tf.reshape(i.predict_rows!, [-1]);
    const teacher = targetsOf(config, s, {
      ema: weightsOf(i, EMA),
      state: i,
      pixels,
      batch,
      rows,
      parts: teacherParts,
    });
    const targetsByImage = tf.reshape(teacher.targets, [predicted, batch, teacher.targets.shape[1]!]);

    // Student: visible patches and registers; the predictor answers at the dropped positions.
    const raw = weightsOf(i, STUDENT);
    const folded = fold(raw, s);
    const trained = Object.keys(folded).filter((n) => !rope(n));
    const studentLoss = (w: Weights, m: number): Tensor => {
      const rows = imagesOf(tf.reshape(i.visible_rows!, [visible, batch, 1]), m, studentParts);
      const visiblePixels = tf.gather(pixels, tf.reshape(rows, [-1]) as never) as Tensor;
      const kept = keptSamples(i, drop, m);
      const place = placesOf(i, s, m, studentParts);
      const runOptions = {
        ...(kept ? { kept } : {}),
        ...(options.reference ? { tableGradient: true } : {}),
        ...(place.cells ? { cells: place.cells } : {}),
      };
      const ask = [place.queries, place.context, runOptions] as const;
      const answered = (): Tensor => {
        if (s.predictor === 'fused') return predictFused(w, s, microBatch, queries, visiblePixels, ...ask);
        const context = encode(w, s, microBatch, visiblePixels, place.context, runOptions);
        return predict(w, s, microBatch, queries, context, ...ask);
      };
      const predictions = answered();
      const wanted =
        queries === predicted
          ? predictions
          : tf.slice(predictions, [0, 0], [predicted * microBatch, s.predictorDim]);
      const outputs = headOutputs(w, s, wanted);
      const own = imagesOf(targetsByImage, m, studentParts);
      return tf.mul(lossSum(config, outputs, own), 1 / (predicted * batch));
    };
    const losses: Tensor[] = [];
    let sums: Tensor[] = []; // of the micro-batches so far: nothing of one outlives it but these
    for (let m = 0; m < studentParts; m++) {
      const { value, grads } = tf.valueAndGrads((...values: Tensor[]) => {
        const w = { ...folded, ...Object.fromEntries(trained.map((n, j) => [n, values[j]!])) };
        return studentLoss(w, m) as never;
      })(trained.map((n) => folded[n]!));
      losses.push(value);
      sums = m === 0 ? grads : grads.map((g, j) => tf.add(sums[j]!, g));
    }
    const gradients = unfold(raw, Object.fromEntries(trained.map((n, j) => [n, sums[j]!])), s);

    // Both optimisers, then the EMA of the updated student, on rows of many parameters each.
    const o = config.optim;
    const multipliers = { patchEmbedLr: o.patch_embed_lr_multiplier, normDecay: o.norm_decay_multiplier };
    const scalars = (lr: Tensor): AdamwScalars => ({
      lr,
      correction1: i.correction1!,
      rootCorrection2: i.root_correction2!,
    });
    const squares = Object.values(gradients).map((g) => tf.sum(tf.square(g)));
    const gradientNorm = tf.sqrt(tf.addN(squares as never[]));
    const clip = o.clip_norm === null ? null : tf.minimum(tf.div(o.clip_norm, tf.add(gradientNorm, 1e-6)), 1);
    const out: NamedTensorMap = {
      capi_loss: losses.length === 1 ? losses[0]! : tf.addN(losses as never[]),
      gradient_norm: gradientNorm,
      ...teacher.outputs,
    };
    const now = (names: string[]): Tensor => flat(names.map((name) => i[name]!));
    const become = (names: string[], row: Tensor): void => {
      const next = unflat(
        row,
        names.map((name) => inputs[name]!.shape),
      );
      for (const [j, name] of names.entries()) out[name] = next[j]!;
    };
    const update = (
      names: string[],
      gradient: Tensor,
      lr: Tensor,
      group: { lr: number; decay: number },
    ): Tensor => {
      const [m, v] = [FIRST_MOMENT, SECOND_MOMENT].map((moment) => names.map((name) => name + moment));
      const next = adamw({ value: now(names), m: now(m!), v: now(v!) }, gradient, scalars(lr), o, group);
      become(names, next.value);
      become(m!, next.m);
      become(v!, next.v);
      return next.value;
    };
    for (const { names, group } of parameterRows(gradients, (n) => parameterGroup(n, multipliers))) {
      if (names.some(isRope)) {
        for (const n of names) for (const p of [STUDENT, EMA]) out[p + n] = i[p + n]!; // they stay as they are
        continue;
      }
      const gradient = flat(names.map((n) => gradients[n]!));
      const g = clip ? tf.mul(gradient, clip) : gradient;
      const decay = group.decay * o.weight_decay;
      const next = update(
        names.map((n) => STUDENT + n),
        g,
        i.lr!,
        { lr: group.lr, decay },
      );
      const averaged = names.map((n) => EMA + n);
      become(averaged, emaUpdate(now(averaged), next, i.momentum!));
    }
    for (const [name, g] of Object.entries(teacher.gradients)) {
      update([CLUSTERING + name], flat([g]), i.clustering_lr!, { lr: 1, decay: o.clustering_weight_decay });
    }
    if (options.reference) {
      out.targets = teacher.targets;
      for (const [n, g] of Object.entries(gradients)) out[`gradient.${STUDENT}${n}`] = g;
      for (const [n, g] of Object.entries(teacher.gradients)) out[`gradient.${CLUSTERING}${n}`] = g;
    }
    return out;
  };
  const atOnce = Math.max(batch / teacherParts, microBatch);
  return {
    name: `capi_step_${elements([s.dim])}x${s.depth}`,
    inputs,
    state,
    batch: { images: batch, atOnce },
    ...(config.precision.products === 'float32' ? {} : { products: config.precision.products }),
    run,
  };
}

/** Kept samples of micro-batch `m`, branch by branch in call order. */
function keptSamples(
  i: NamedTensorMap,
  drop: ReturnType<typeof dropPathPlan>,
  m: number,
): KeptSamples[] | undefined {
  if (drop.length === 0) return undefined;
  return drop.flatMap((d) =>
    Array.from({ length: d.branches }, (_, branch) => {
      const row = (name: string): Tensor => {
        const t = i[`${name}.${d.part}`]!;
        return tf.reshape(tf.slice(t, [m, branch, 0], [1, 1, t.shape[2]!]), [-1]);
      };
      return { kept: row('kept'), inverse: row('inverse') };
    }),
  );
}

/** Where the tokens of micro-batch `m` stand: coordinates, or the rows of the learned table that they read, one-hot. */
function placesOf(
  i: NamedTensorMap,
  s: ModelSizes,
  m: number,
  parts: number,
): { context: Tensor; queries: Tensor; cells?: NonNullable<RunOptions['cells']> } {
  if (s.positions === 'rope') {
    return {
      context: imagesOf(i.context_coords!, m, parts),
      queries: imagesOf(i.predict_coords!, m, parts),
    };
  }
  const cells = s.tableHeight * s.tableWidth;
  const oneHot = (x: Tensor): Tensor => {
    const [t, b] = x.shape as [number, number];
    const own = imagesOf(tf.reshape(x, [t, b, 1]), m, parts);
    return tf.cast(
      tf.equal(
        own,
        tf.tensor2d(
          Int32Array.from({ length: cells }, (_, n) => n),
          [1, cells],
          'int32',
        ),
      ),
      'float32',
    );
  };
  const unread = tf.zeros([1, 2]);
  const read = { patches: oneHot(i.visible_cells!), queries: oneHot(i.predict_cells!) };
  return { context: unread, queries: unread, cells: read };
}
