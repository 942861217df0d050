// Small configs that between them reach every branch of the product's programs, and the programs themselves.

import { type Config, parseConfig } from '../../src/config/index.js';
import { encoderProgram } from '../../src/encoder/program.js';
import type { Program } from '../../src/engine/program.js';
import { modelSizes } from '../../src/model/sizes.js';
import { type StepOptions, stepProgram } from '../../src/pretrain/step.js';

export const pixels = { mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3] };

const model = {
  image_size: [16, 24],
  patch_size: 4,
  width: 16,
  heads: 2,
  depth: 2,
  registers: 4,
  drop_path: 0,
  predictor: { depth: 2 },
};

function small(change: Record<string, Record<string, unknown>> = {}): Config {
  return parseConfig({
    seed: 3,
    ...change,
    model: { ...model, ...change.model },
    masking: { predict: 0.5, ...change.masking },
    clustering: { prototypes: 12, ...change.clustering },
    train: { batch: 4, steps: 20 },
  });
}

export interface Variant {
  name: string;
  config: Config;
  options: StepOptions;
}

const variant = (
  name: string,
  change: Parameters<typeof small>[0] = {},
  options: StepOptions = {},
): Variant => ({
  name,
  config: small(change),
  options: { ...pixels, ...options },
});

/** One setting changed at a time, and the ones that meet in the graph together. */
export const variants: Variant[] = [
  variant('the defaults'),
  variant('micro-batches', {}, { teacherMicroBatches: 4, studentMicroBatches: 2 }),
  variant('drop path', { model: { drop_path: 0.5 } }),
  variant(
    'drop path of the encoder only, in micro-batches',
    { model: { drop_path: 0.5, predictor: { depth: 1, drop_path: 0 } } },
    { studentMicroBatches: 2 },
  ),
  variant('standard Sinkhorn', { clustering: { sinkhorn: 'standard' } }),
  variant('a clustering layer without bias', { clustering: { bias: false } }),
  variant('clipped gradients', { optim: { clip_norm: 0.1 } }),
  variant('no registers', { model: { registers: 0 } }),
  variant('registers in the corner', { model: { register_coordinates: 'zeros', registers: 3 } }),
  variant('a wider predictor with more heads', { model: { predictor: { depth: 1, width: 24, heads: 3 } } }),
];

export const stepOf = (v: Variant): Program => stepProgram(v.config, v.options);

/** The encoder at a size that it was not trained at. */
export function encoderOf(size: [number, number] = [12, 20], registers = 4): Program {
  return encoderProgram(modelSizes(small({ model: { registers } }), size), { batch: 3, ...pixels });
}

/** Every program of the product, in every variant; the parity tests' form too. */
export const productPrograms = (): Program[] => [
  ...variants.map(stepOf),
  stepOf(variant('reference', { model: { drop_path: 0.5 } }, { reference: true })),
  encoderOf(),
  encoderOf([16, 16], 0),
];
