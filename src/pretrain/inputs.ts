// The inputs of a training step beside the state: their shapes, their values at step k, keyed by (seed, step), and how the program reads them.

import { stream } from '../base/random.js';
import { batchParts, type Config, patchCounts, predictorSizes } from '../config/index.js';
import type { TensorSpec, Values } from '../engine/program.js';
import { drawMasks } from '../masks.js';
import type { RunOptions } from '../model/encoder.js';
import { maskInputs, readMaskInputs } from '../model/positions.js';
import { modelSizes } from '../model/sizes.js';
import { adamwCorrections } from '../optim/adamw.js';
import { type Rates, ratesAt } from '../optim/schedule.js';
import type { KeptSamples } from '../tensor/ops/index.js';
import { type NamedTensorMap, type Tensor, tf } from '../tensor/tf.js';

/** Scalars of a step: rates, momentum, and AdamW's corrections. */
const SCALARS = ['lr', 'clustering_lr', 'momentum', 'correction1', 'root_correction2'] as const;

/** Samples that one residual branch keeps out of `batch`. Source: official `drop_add_residual_stochastic_depth`. */
export const keptCount = (batch: number, dropPath: number): number =>
  dropPath === 0 ? batch : Math.max(1, Math.floor(batch * (1 - dropPath)));

/** Drop-path inputs of the student's micro-batches: for each part of the model, branches, and samples that each keeps. */
export function dropPathPlan(
  config: Config,
): { part: 'encoder' | 'decoder'; branches: number; kept: number }[] {
  const s = modelSizes(config);
  const microBatch = config.train.batch / batchParts(config).student;
  const rates = { encoder: config.model.drop_path, decoder: predictorSizes(config).dropPath };
  if (rates.encoder === 0 && (rates.decoder === 0 || s.predictorDepth === 0)) return [];
  return [
    { part: 'encoder' as const, branches: 2 * s.depth, kept: keptCount(microBatch, rates.encoder) },
    { part: 'decoder' as const, branches: 2 * s.predictorDepth, kept: keptCount(microBatch, rates.decoder) },
  ].filter(({ branches }) => branches > 0);
}

/** Shapes of the inputs. `planes`: images as normalised floats [B, 3, H, W], for parity tests, instead of bytes [B, H, W, 3]. */
export function inputSpecs(config: Config, planes = false): Record<string, TensorSpec> {
  const s = modelSizes(config);
  const { batch } = config.train;
  const { visible, predicted, queries } = patchCounts(config);
  const parts = batchParts(config).student;
  const float = (...shape: number[]): TensorSpec => ({ shape, dtype: 'float32' });
  const int = (...shape: number[]): TensorSpec => ({ shape, dtype: 'int32' });
  const masks = {
    visible_rows: int(visible, batch),
    predict_rows: int(predicted, batch),
    context_coords: float(s.registers + visible, batch, 2),
    predict_coords: float(queries, batch, 2),
    visible_cells: int(visible, batch),
    predict_cells: int(queries, batch),
  };
  return {
    images: planes
      ? float(batch, 3, s.height, s.width)
      : { shape: [batch, s.height, s.width, 3], dtype: 'uint8' },
    ...Object.fromEntries(readMaskInputs(s).map((name) => [name, masks[name]])),
    ...Object.fromEntries(SCALARS.map((name) => [name, float()])),
    ...Object.fromEntries(
      dropPathPlan(config).flatMap(({ part, branches, kept }) => [
        [`kept.${part}`, int(parts, branches, kept)],
        [`inverse.${part}`, int(parts, branches, batch / parts)],
      ]),
    ),
  };
}

/** Rates of step `step` (from 0) of the run. */
export function stepRates(config: Config, step: number): Rates {
  const o = config.optim;
  return ratesAt(step, {
    steps: config.train.steps,
    warmup: o.warmup,
    truncation: o.truncation,
    lr: o.lr,
    clusteringLr: o.clustering_lr,
    momentum: o.momentum,
  });
}

/** Program inputs of step `step` (from 0), without `images`. */
export function stepInputs(config: Config, step: number): { inputs: Record<string, Values>; rates: Rates } {
  const s = modelSizes(config);
  const { batch } = config.train;
  const grid = { batch, gridHeight: s.gridHeight, gridWidth: s.gridWidth };
  const masks = drawMasks(config.masking, grid, { seed: config.seed, step });
  const placed = maskInputs(s, batch, masks.visible, masks.predict);
  const rates = stepRates(config, step);
  const corrections = adamwCorrections(step + 1, config.optim);
  const scalars: Record<(typeof SCALARS)[number], number> = {
    lr: rates.lr,
    clustering_lr: rates.clusteringLr,
    momentum: rates.momentum,
    correction1: corrections.correction1,
    root_correction2: corrections.rootCorrection2,
  };
  const inputs: Record<string, Values> = {
    ...Object.fromEntries(readMaskInputs(s).map((name) => [name, placed[name]])),
    ...Object.fromEntries(SCALARS.map((name) => [name, Float32Array.of(scalars[name])])),
  };
  const parts = batchParts(config).student;
  const micro = batch / parts;
  for (const plan of dropPathPlan(config)) {
    const kept = new Int32Array(parts * plan.branches * plan.kept);
    const inverse = new Int32Array(parts * plan.branches * micro).fill(plan.kept);
    for (let row = 0; row < parts * plan.branches; row++) {
      const chosen = stream(config.seed, 'drop path', plan.part, step, row).sample(micro, plan.kept);
      kept.set(chosen, row * plan.kept);
      for (let i = 0; i < plan.kept; i++) inverse[row * micro + chosen[i]!] = i;
    }
    inputs[`kept.${plan.part}`] = kept;
    inputs[`inverse.${plan.part}`] = inverse;
  }
  return { inputs, rates };
}

/** Images `part` of `parts` of x [T, B, C], as rows [T * B / parts, C]. */
export function imagesOf(x: Tensor, part: number, parts: number): Tensor {
  const [t, b, c] = x.shape as [number, number, number];
  return tf.reshape(tf.slice(x, [0, (part * b) / parts, 0], [t, b / parts, c]), [-1, c]);
}

/** What micro-batch `m` of the student reads. */
export interface StudentInputs {
  /** [V * B, 3 p p]: the patches that it sees. */
  pixels: Tensor;
  /** Coordinates of registers and visible patches, and of mask tokens; not read with learned positions. */
  context: Tensor;
  queries: Tensor;
  /** Kept samples of drop path, and the cells of learned positions. */
  run: RunOptions;
}

/** Of the inputs `i` and the pixels of all patches [N * B, 3 p p]. */
export function studentInputs(config: Config, i: NamedTensorMap, all: Tensor, m: number): StudentInputs {
  const parts = batchParts(config).student;
  const own = (x: Tensor): Tensor => imagesOf(tf.reshape(x, [x.shape[0]!, x.shape[1]!, 1]), m, parts);
  const pixels = tf.gather(all, tf.reshape(own(i.visible_rows!), [-1]) as never) as Tensor;
  const kept = dropPathPlan(config).flatMap(({ part, branches }) =>
    Array.from({ length: branches }, (_, branch): KeptSamples => {
      const row = (name: string): Tensor => {
        const t = i[`${name}.${part}`]!;
        return tf.reshape(tf.slice(t, [m, branch, 0], [1, 1, t.shape[2]!]), [-1]);
      };
      return { kept: row('kept'), inverse: row('inverse') };
    }),
  );
  const run: RunOptions = kept.length > 0 ? { kept } : {};
  if (config.model.positions === 'rope') {
    const [context, queries] = [i.context_coords!, i.predict_coords!].map((x) => imagesOf(x, m, parts));
    return { pixels, context: context!, queries: queries!, run };
  }
  const { patches } = patchCounts(config);
  const oneHot = (cells: Tensor): Tensor => {
    const numbers = Int32Array.from({ length: patches }, (_, n) => n);
    return tf.cast(tf.equal(own(cells), tf.tensor2d(numbers, [1, patches], 'int32')), 'float32');
  };
  const unread = tf.zeros([1, 2]);
  const cells = { patches: oneHot(i.visible_cells!), queries: oneHot(i.predict_cells!) };
  return { pixels, context: unread, queries: unread, run: { ...run, cells } };
}
