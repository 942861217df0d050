// Small configs that between them reach every branch of the product's programs, and the programs with values to run them on.

import { stream } from '../../src/base/random.js';
import { type Config, parseConfig } from '../../src/config/index.js';
import { encoderProgram } from '../../src/encoder/program.js';
import { elements, type Program, type Values } from '../../src/engine/program.js';
import {
  FIRST_MOMENT,
  initialParameters,
  isRope,
  SECOND_MOMENT,
  STUDENT,
} from '../../src/model/parameters.js';
import { modelSizes } from '../../src/model/sizes.js';
import { stepInputs } from '../../src/pretrain/inputs.js';
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

export function small(change: Record<string, Record<string, unknown>> = {}): Config {
  return parseConfig({
    seed: 3,
    ...change,
    model: { ...model, ...change.model },
    masking: { predict: 0.5, ...change.masking },
    clustering: { prototypes: 12, ...change.clustering },
    train: { batch: 4, steps: 20, ...change.train },
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
  variant('micro-batches', { engine: { teacher_micro_batches: 4, student_micro_batches: 2 } }),
  variant('drop path', { model: { drop_path: 0.5 } }),
  variant('drop path of the encoder only, in micro-batches', {
    model: { drop_path: 0.5, predictor: { depth: 1, drop_path: 0 } },
    engine: { student_micro_batches: 2 },
  }),
  variant('standard Sinkhorn', { clustering: { sinkhorn: 'standard' } }),
  variant('a clustering layer without bias', { clustering: { bias: false } }),
  variant('clipped gradients', { optim: { clip_norm: 0.1 } }),
  variant('no registers', { model: { registers: 0 } }),
  variant('registers in the corner', { model: { register_coordinates: 'zeros', registers: 3 } }),
  variant('no Sinkhorn', { clustering: { sinkhorn: 'none' } }),
  variant('a predictor of self-attention', {
    model: { drop_path: 0.5, predictor: { depth: 2, type: 'self' } },
  }),
  variant('a fused predictor, in micro-batches', {
    model: { drop_path: 0.5, predictor: { type: 'fused' } },
    engine: { student_micro_batches: 2 },
  }),
  variant('learned positions', { model: { positions: 'learned' } }),
  variant('learned positions under self-attention', {
    model: { positions: 'learned', registers: 3, predictor: { depth: 1, type: 'self', width: 24, heads: 3 } },
  }),
  variant('an MLP head', { loss: { type: 'capi-mlp' } }),
  variant('the iBOT loss', { loss: { type: 'ibot' } }),
  variant('latent regression', { loss: { type: 'direct' } }),
  variant('pixel regression', { loss: { type: 'pixel' } }),
  variant('a wider predictor with more heads', { model: { predictor: { depth: 1, width: 24, heads: 3 } } }),
];

/** A program with the values that it is run on. */
export interface Case {
  program: Program;
  state: Record<string, Values>;
  inputs(step: number): Record<string, Values>;
}

const bytes = (program: Program, ...keys: (string | number)[]): Uint8Array => {
  const random = stream(5, 'images', ...keys);
  return new Uint8Array(elements(program.inputs.images!.shape)).map(() => random.int(256));
};

/**
 * Values as in the middle of a run: gains that are not one, biases that are not zero, and running means that make an
 * update a smooth function of the gradient (from zero means, AdamW divides a gradient by itself).
 */
function midway(program: Program, parameters: Record<string, Float32Array>): Record<string, Values> {
  return Object.fromEntries(
    program.state.map((name) => {
      const random = stream(5, name);
      const from = parameters[name] ?? new Float32Array(elements(program.inputs[name]!.shape));
      if (name.endsWith(FIRST_MOMENT)) return [name, from.map(() => 1e-3 * random.normal())];
      if (name.endsWith(SECOND_MOMENT)) return [name, from.map(() => 1e-4 * random.uniform(0.5, 2))];
      return [name, isRope(name) ? from : from.map((value) => value + 0.1 * random.normal())];
    }),
  );
}

export function stepCase({ config, options }: Variant): Case {
  const program = stepProgram(config, options);
  const s = modelSizes(config);
  return {
    program,
    state: midway(program, initialParameters(s, 1)),
    inputs: (step) => ({
      ...stepInputs(config, step).inputs,
      images: options.reference
        ? Float32Array.from(bytes(program, step), (b) => b / 128 - 1)
        : bytes(program, step),
    }),
  };
}

/** The encoder at a size that it was not trained at. */
export function encoderCase(
  size: [number, number] = [12, 20],
  registers = 4,
  change: Record<string, unknown> = {},
): Case {
  const s = modelSizes(small({ model: { registers, ...change } }), size);
  const program = encoderProgram(s, { batch: 3, ...pixels });
  const student = Object.entries(initialParameters(s, 1)).filter(([n]) => n.startsWith(STUDENT));
  return {
    program,
    state: midway(program, Object.fromEntries(student.map(([n, v]) => [n.slice(STUDENT.length), v]))),
    inputs: (step) => ({ images: bytes(program, step) }),
  };
}

/** Every program of the product, in every variant; the parity tests' form too. */
export const productCases = (): Case[] => [
  ...variants.map(stepCase),
  stepCase(variant('reference', { model: { drop_path: 0.5 } }, { reference: true })),
  encoderCase(),
  encoderCase([16, 16], 0),
  encoderCase([20, 20], 3, { positions: 'learned', predictor: { depth: 1, type: 'self' } }),
  encoderCase([12, 20], 4, { predictor: { type: 'fused' } }),
];
