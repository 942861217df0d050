// The method on one page: one CAPI training step as a program (teacher, clustering, student, both optimisers, EMA).
import type { Config } from '../config/index.js';
import { elements, type Program, type TensorSpec } from '../engine/program.js';
import { capiLossSum, headLogits, targetEntropy } from '../losses.js';
import type { Weights } from '../model/blocks.js';
import { encode, predict } from '../model/encoder.js';
import { fold, HEAD, unfold } from '../model/fold.js';
import {
  allShapes,
  CLUSTERING,
  clusteringShapes,
  EMA,
  isRope,
  parameterGroup,
  ropeFrequencies,
  STUDENT,
  studentShapes,
} from '../model/parameters.js';
import { patchesFromBytes, patchesFromPlanes } from '../model/patches.js';
import { wholeImageCoordinates } from '../model/positions.js';
import { type ModelSizes, modelSizes, patchCounts } from '../model/sizes.js';
import { type AdamwScalars, adamw } from '../optim/adamw.js';
import { cluster } from '../teacher/clustering.js';
import { emaUpdate } from '../teacher/ema.js';
import type { KeptSamples } from '../tensor/ops/index.js';
import { type NamedTensorMap, type Tensor, tf } from '../tensor/tf.js';

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
  ];
  return rates.encoder === 0 && rates.decoder === 0 ? [] : both;
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
 * samples of drop path, and the scalars lr, clustering_lr, momentum, correction1, root_correction2. Outputs: capi_loss,
 * clustering_loss, target_entropy, gradient_norm, position_use [N, K] (mean prototype probability by position).
 */
export function stepProgram(config: Config, options: StepOptions = {}): Program {
  const s = modelSizes(config);
  const batch = config.train.batch;
  const { visible, predicted } = patchCounts(config);
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
  inputs.context_coords = float([s.registers + visible, batch, 2]);
  inputs.predict_coords = float([predicted, batch, 2]);
  for (const name of ['lr', 'clustering_lr', 'momentum', 'correction1', 'root_correction2'])
    inputs[name] = float([]);
  for (const d of drop) {
    inputs[`kept.${d.part}`] = { shape: [studentParts, d.branches, d.kept], dtype: 'int32' };
    inputs[`inverse.${d.part}`] = { shape: [studentParts, d.branches, microBatch], dtype: 'int32' };
  }

  const weightsOf = (i: NamedTensorMap, prefix: string): Weights => {
    const fixed = {
      encoder: tf.tensor2d(ropeFrequencies(s.dim / s.heads, s.ropeMin, s.ropeMax), [2, s.dim / s.heads]),
      decoder: tf.tensor2d(ropeFrequencies(s.predictorDim / s.predictorHeads, s.ropeMin, s.ropeMax), [
        2,
        s.predictorDim / s.predictorHeads,
      ]),
    };
    return Object.fromEntries(
      Object.keys(student).map((n) => [
        n,
        rope(n) ? fixed[n.includes('.encoder.') ? 'encoder' : 'decoder'] : i[prefix + n]!,
      ]),
    );
  };

  const run = (i: NamedTensorMap): NamedTensorMap => {
    const patchWidth = 3 * s.patch * s.patch;
    const pixels = options.reference
      ? patchesFromPlanes(i.images!, s, batch)
      : patchesFromBytes(i.images!, s, batch, options.mean!, options.std!);
    /** Images `part` of `parts` of x [T, B, C], as rows [T * B / parts, C]. */
    const part = (x: Tensor, part: number, parts: number): Tensor => {
      const [t, b, c] = x.shape as [number, number, number];
      return tf.reshape(tf.slice(x, [0, (part * b) / parts, 0], [t, b / parts, c]), [-1, c]);
    };

    // Teacher: the EMA encoder sees every patch of the whole image; registers are dropped.
    const ema = weightsOf(i, EMA);
    const coords = tf.tensor2d(wholeImageCoordinates(s), [s.registers + s.patches, 2]);
    const pixelsByImage = tf.reshape(pixels, [s.patches, batch, patchWidth]);
    const seen = Array.from({ length: teacherParts }, (_, m) => {
      const b = batch / teacherParts;
      const tokens = encode(ema, s, b, part(pixelsByImage, m, teacherParts), coords, { inference: true });
      return tf.reshape(tf.slice(tokens, [s.registers * b, 0], [s.patches * b, s.dim]), [
        s.patches,
        b,
        s.dim,
      ]);
    });
    const teacherPatches = tf.reshape(tf.concat(seen, 1), [s.patches * batch, s.dim]);

    // Online clustering of the teacher's patches, by its own loss.
    const layer = Object.fromEntries(Object.keys(clusteringShapes(s)).map((n) => [n, i[CLUSTERING + n]!]));
    const clustering = cluster(layer, teacherPatches, batch, {
      temperature: config.clustering.target_temperature,
      predictionTemperature: config.clustering.prediction_temperature,
      iterations: config.clustering.iterations,
      variant: config.clustering.sinkhorn as 'positionwise' | 'standard',
    });
    const targets = tf.gather(clustering.assignments, tf.reshape(i.predict_rows!, [-1]) as never) as Tensor;
    const targetsByImage = tf.reshape(targets, [predicted, batch, s.prototypes]);

    // Student: visible patches and registers; the predictor answers at the dropped positions.
    const raw = weightsOf(i, STUDENT);
    const folded = fold(raw);
    const trained = Object.keys(folded).filter((n) => !rope(n));
    const studentLoss = (w: Weights, m: number): Tensor => {
      const rows = part(tf.reshape(i.visible_rows!, [visible, batch, 1]), m, studentParts);
      const visiblePixels = tf.gather(pixels, tf.reshape(rows, [-1]) as never) as Tensor;
      const contextCoords = part(i.context_coords!, m, studentParts);
      const kept = keptSamples(i, drop, m);
      const runOptions = { ...(kept ? { kept } : {}), ...(options.reference ? { tableGradient: true } : {}) };
      const context = encode(w, s, microBatch, visiblePixels, contextCoords, runOptions);
      const queryCoords = part(i.predict_coords!, m, studentParts);
      const predictions = predict(
        w,
        s,
        microBatch,
        predicted,
        context,
        queryCoords,
        contextCoords,
        runOptions,
      );
      const logits = headLogits(predictions, w[HEAD]!);
      const own = part(targetsByImage, m, studentParts);
      const loss = capiLossSum(logits, own, config.loss.student_temperature);
      return tf.mul(loss, 1 / (predicted * batch));
    };
    const losses: Tensor[] = [];
    const sums: Tensor[][] = trained.map(() => []);
    for (let m = 0; m < studentParts; m++) {
      const { value, grads } = tf.valueAndGrads((...values: Tensor[]) => {
        const w = { ...folded, ...Object.fromEntries(trained.map((n, j) => [n, values[j]!])) };
        return studentLoss(w, m) as never;
      })(trained.map((n) => folded[n]!));
      losses.push(value);
      grads.forEach((g, j) => void sums[j]!.push(g));
    }
    const total = (parts: Tensor[]): Tensor => (parts.length === 1 ? parts[0]! : tf.addN(parts as never[]));
    const gradients = unfold(raw, Object.fromEntries(trained.map((n, j) => [n, total(sums[j]!)])));

    // Both optimisers, then the EMA of the updated student.
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
      capi_loss: total(losses),
      clustering_loss: clustering.loss,
      target_entropy: targetEntropy(targets),
      gradient_norm: gradientNorm,
      position_use: clustering.positionUse,
    };
    const update = (
      name: string,
      gradient: Tensor,
      lr: Tensor,
      group: { lr: number; decay: number },
    ): Tensor => {
      const before = { value: i[name]!, m: i[name + FIRST_MOMENT]!, v: i[name + SECOND_MOMENT]! };
      const next = adamw(before, gradient, scalars(lr), o, group);
      out[name] = next.value;
      out[name + FIRST_MOMENT] = next.m;
      out[name + SECOND_MOMENT] = next.v;
      return next.value;
    };
    for (const name of Object.keys(student)) {
      if (isRope(name)) {
        for (const p of options.reference ? [STUDENT, EMA] : []) out[p + name] = i[p + name]!;
        continue;
      }
      const g = clip ? tf.mul(gradients[name]!, clip) : gradients[name]!;
      const group = parameterGroup(name, multipliers);
      const next = update(STUDENT + name, g, i.lr!, { lr: group.lr, decay: group.decay * o.weight_decay });
      out[EMA + name] = emaUpdate(i[EMA + name]!, next, i.momentum!);
    }
    for (const [name, g] of Object.entries(clustering.gradients)) {
      update(CLUSTERING + name, g, i.clustering_lr!, { lr: 1, decay: o.clustering_weight_decay });
    }
    if (options.reference) {
      out.targets = targets;
      for (const [n, g] of Object.entries(gradients)) out[`gradient.${STUDENT}${n}`] = g;
      for (const [n, g] of Object.entries(clustering.gradients)) out[`gradient.${CLUSTERING}${n}`] = g;
    }
    return out;
  };
  return { name: `capi_step_${elements([s.dim])}x${s.depth}`, inputs, state, run };
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
