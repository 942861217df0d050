// The work of a benchmark in a file that Python reads too: parameters under official names, images, masks.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stream } from '../base/random.js';
import { type StoredTensor, writeSafetensors } from '../base/safetensors.js';
import { batchParts, type Config } from '../config/index.js';
import { encoderParameters } from '../encoder/program.js';
import { drawMasks } from '../masks.js';
import { allShapes, initialParameters, STUDENT } from '../model/parameters.js';
import { modelSizes } from '../model/sizes.js';
import { warmupSteps } from '../optim/schedule.js';
import { dropPathPlan, stepInputs } from '../pretrain/inputs.js';

/** Batches of images that a benchmark goes round. */
const BATCHES = 4;

/** The same batches of random bytes [batch, height, width, 3] for every contender. */
export function benchImages(batch: number, height: number, width: number): Uint8Array[] {
  const random = stream(0, 'bench images');
  return Array.from({ length: BATCHES }, () =>
    new Uint8Array(batch * height * width * 3).map(() => random.int(256)),
  );
}

const f32 = (shape: readonly number[], data: Float32Array): StoredTensor => ({ dtype: 'F32', shape, data });
const i32 = (shape: readonly number[], data: Int32Array): StoredTensor => ({ dtype: 'I32', shape, data });

export function imagesTensor(
  batches: Uint8Array[],
  batch: number,
  height: number,
  width: number,
): StoredTensor {
  const data = new Uint8Array(batches.length * batches[0]!.length);
  for (const [i, b] of batches.entries()) data.set(b, i * b.length);
  return { dtype: 'U8', shape: [batches.length, batch, height, width, 3], data };
}

/** Runs `body` with a folder that is removed afterwards, whatever happens. */
export async function inFolder<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'capi-bench-'));
  try {
    return await body(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Why the PyTorch step cannot do what this config asks for, if it cannot. */
export function beyondPytorch(config: Config): string | undefined {
  const { model, loss, clustering, optim } = config;
  const wrong: [string, boolean][] = [
    ['loss.type', loss.type !== 'capi'],
    ['model.predictor.type', model.predictor.type !== 'cross'],
    ['model.predictor.width', (model.predictor.width ?? model.width) !== model.width],
    ['model.predictor.heads', (model.predictor.heads ?? model.heads) !== model.heads],
    ['model.predictor.drop_path', (model.predictor.drop_path ?? model.drop_path) !== model.drop_path],
    ['model.positions', model.positions !== 'rope'],
    ['model.mlp_ratio', model.mlp_ratio !== 4],
    ['model.norm_eps', model.norm_eps !== 1e-5],
    ['clustering.bias', !clustering.bias],
    ['clustering.sinkhorn', clustering.sinkhorn === 'none'],
    ['optim.clip_norm', optim.clip_norm !== null],
    ['optim.clustering_weight_decay', optim.clustering_weight_decay !== 0.01],
    ['optim.eps', optim.eps !== 1e-8],
  ];
  const keys = wrong.filter(([, is]) => is).map(([key]) => key);
  return keys.length > 0 ? `the PyTorch step has no other ${keys.join(', ')}` : undefined;
}

/** Sizes of the model as benchmarks/speed/pytorch/model.py names them. */
export function pytorchSize(config: Config): Record<string, unknown> {
  const s = modelSizes(config);
  return {
    image_size: [s.height, s.width],
    size: {
      patch: s.patch,
      width: s.dim,
      heads: s.heads,
      depth: s.depth,
      predictor_depth: s.predictorDepth,
      registers: s.registers,
      prototypes: s.prototypes,
      register_coordinates: s.registerCoordinates,
    },
  };
}

/** The numbers of the method as benchmarks/speed/pytorch/capi_step.py names them. */
export function pytorchRecipe(config: Config): Record<string, unknown> {
  const { optim: o, clustering: c, loss, train } = config;
  return {
    steps: train.steps,
    warmup: warmupSteps({ steps: train.steps, warmup: o.warmup }),
    truncate: 1 - o.truncation,
    lr: o.lr,
    clustering_lr: o.clustering_lr,
    momentum: o.momentum,
    weight_decay: o.weight_decay,
    betas: [o.beta1, o.beta2],
    patch_embed_lr: o.patch_embed_lr_multiplier,
    norm_decay: o.norm_decay_multiplier,
    student_temperature: loss.student_temperature,
    clustering_temperature: c.prediction_temperature,
    target_temperature: c.target_temperature,
    sinkhorn_iterations: c.iterations,
    positionwise: c.sinkhorn === 'positionwise',
    drop_path: config.model.drop_path,
  };
}

/**
 * Writes the first `steps` steps of a run: parameters, images, and each step's visible and predicted patches and kept samples.
 * @param config with its micro-batches resolved, since drop path keeps a share of each of them
 */
export async function writeTrainingWork(path: string, config: Config, steps: number): Promise<void> {
  const s = modelSizes(config);
  const { batch } = config.train;
  const parameters = initialParameters(s, config.seed);
  const tensors = new Map<string, StoredTensor>(
    Object.entries(allShapes(s)).map(([name, shape]) => [name, f32(shape, parameters[name]!)]),
  );
  tensors.set('images', imagesTensor(benchImages(batch, s.height, s.width), batch, s.height, s.width));
  const grid = { batch, gridHeight: s.gridHeight, gridWidth: s.gridWidth };
  const masks = Array.from({ length: steps }, (_, step) =>
    drawMasks(config.masking, grid, { seed: config.seed, step }),
  );
  for (const [name, rows] of [
    ['visible', masks.map((m) => m.visible)],
    ['predicted', masks.map((m) => m.predict)],
  ] as const) {
    const data = new Int32Array(steps * rows[0]!.length);
    for (const [i, row] of rows.entries()) data.set(row, i * row.length);
    tensors.set(name, i32([steps, rows[0]!.length], data));
  }
  const kept = keptSamples(config, steps);
  if (kept) tensors.set('kept', kept);
  await writeSafetensors(path, tensors);
}

/** Images of the batch that each residual branch keeps, [steps, branches, most], in call order; shorter rows end in -1. */
function keptSamples(config: Config, steps: number): StoredTensor | undefined {
  const parts = batchParts(config).student;
  const micro = config.train.batch / parts;
  const plan = dropPathPlan(config);
  if (plan.length === 0) return undefined;
  const branches = plan.reduce((n, p) => n + p.branches, 0);
  const most = parts * Math.max(...plan.map((p) => p.kept));
  const data = new Int32Array(steps * branches * most).fill(-1);
  for (let step = 0; step < steps; step++) {
    const { inputs } = stepInputs(config, step);
    let row = step * branches;
    for (const { part, branches: own, kept } of plan) {
      const chosen = inputs[`kept.${part}`]!; // [parts, branches, kept] within each micro-batch
      for (let b = 0; b < own; b++, row++) {
        for (let m = 0; m < parts; m++) {
          for (let i = 0; i < kept; i++) {
            data[row * most + m * kept + i] = m * micro + chosen[(m * own + b) * kept + i]!;
          }
        }
      }
    }
  }
  return i32([steps, branches, most], data);
}

/** Weights that evaluation reads, under official names without prefix. */
export function encoderWeights(config: Config): Record<string, Float32Array> {
  const s = modelSizes(config);
  const all = initialParameters(s, config.seed);
  return Object.fromEntries(Object.keys(encoderParameters(s)).map((name) => [name, all[STUDENT + name]!]));
}

/** Writes the encoder and the images of an extraction. */
export async function writeExtractionWork(path: string, config: Config): Promise<void> {
  const s = modelSizes(config);
  const { batch } = config.train;
  const weights = encoderWeights(config);
  const tensors = new Map<string, StoredTensor>(
    Object.entries(encoderParameters(s)).map(([name, shape]) => [name, f32(shape, weights[name]!)]),
  );
  tensors.set('images', imagesTensor(benchImages(batch, s.height, s.width), batch, s.height, s.width));
  await writeSafetensors(path, tensors);
}
