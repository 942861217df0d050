// Names, shapes, initial values and optimiser groups of all parameters, under their names in the official state dict.
import { stream } from '../base/random.js';
import { headShapes } from './head.js';
import type { ModelSizes } from './sizes.js';

export type Parameters = Record<string, Float32Array>;
export type Shapes = Record<string, number[]>;

/** The two prefixes of an official training checkpoint that we train, and the EMA copy of the first. */
export const STUDENT = 'student.';
export const EMA = 'student_ema.';
export const CLUSTERING = 'teacher.head.';

/** Suffixes of the optimiser's running means of a gradient and of its square. */
export const FIRST_MOMENT = '.exp_avg';
export const SECOND_MOMENT = '.exp_avg_sq';

const DEPTHS = { encoder: 'backbone.encoder.blocks', decoder: 'backbone.decoder.blocks' } as const;

export const blockPrefix = (part: keyof typeof DEPTHS, i: number): string => `${DEPTHS[part]}.${i}.`;

function blockShapes(
  prefix: string,
  dim: number,
  context: number,
  hidden: number,
  headWidth: number | null,
): Shapes {
  return {
    [`${prefix}residual1.norm.weight`]: [dim],
    [`${prefix}residual1.fn.q_proj.weight`]: [dim, dim],
    [`${prefix}residual1.fn.k_proj.weight`]: [dim, context],
    [`${prefix}residual1.fn.v_proj.weight`]: [dim, context],
    [`${prefix}residual1.fn.proj.weight`]: [dim, dim],
    ...(headWidth === null ? {} : { [`${prefix}residual1.fn.rope.freqs`]: [2, headWidth] }),
    [`${prefix}residual2.norm.weight`]: [dim],
    [`${prefix}residual2.fn.fc1.weight`]: [hidden, dim],
    [`${prefix}residual2.fn.fc2.weight`]: [dim, hidden],
  };
}

/** Shapes of the student (and of its EMA): encoder, predictor (`decoder`), prediction head; names without prefix. */
export function studentShapes(s: ModelSizes): Shapes {
  const shapes: Shapes = {
    'backbone.patch_embed.weight': [s.dim, 3, s.patch, s.patch],
    'backbone.patch_embed.bias': [s.dim],
    'backbone.mask_token': [1, s.predictorDim],
  };
  if (s.registers > 0) shapes['backbone.registers'] = [1, s.registers, s.dim];
  const rope = s.positions === 'rope';
  const table = s.tableHeight * s.tableWidth;
  if (!rope) shapes['backbone.pos_embed'] = [1, table, s.dim];
  for (let i = 0; i < s.depth; i++) {
    const headWidth = rope ? s.dim / s.heads : null;
    Object.assign(shapes, blockShapes(blockPrefix('encoder', i), s.dim, s.dim, s.hidden, headWidth));
  }
  if (s.predictor === 'self') shapes['backbone.decoder_embed.weight'] = [s.predictorDim, s.dim];
  if (!rope && s.predictor !== 'fused') {
    shapes['backbone.decoder_pos_embed'] = [1, table, s.predictorDim];
  }
  const context = s.predictor === 'self' ? s.predictorDim : s.dim;
  for (let i = 0; i < s.predictorDepth; i++) {
    const headWidth = rope ? s.predictorDim / s.predictorHeads : null;
    Object.assign(
      shapes,
      blockShapes(blockPrefix('decoder', i), s.predictorDim, context, s.predictorHidden, headWidth),
    );
  }
  return Object.assign(shapes, headShapes(s));
}

/** Shapes of the online clustering layer, if the loss has one; names without the prefix `teacher.head.`. */
export function clusteringShapes(s: ModelSizes): Shapes {
  if (!s.clustered) return {};
  return {
    'layer.weight': [s.prototypes, s.dim],
    ...(s.clusteringBias ? { 'layer.bias': [s.prototypes] } : {}),
  };
}

export const isRope = (name: string): boolean => name.endsWith('rope.freqs');

/** Axial rotary frequencies [2, d]: row 0 turns the first half of the channels, row 1 the second; log-spaced, falling. */
export function ropeFrequencies(headWidth: number, low: number, high: number): Float32Array {
  const quarter = headWidth / 4;
  const out = new Float32Array(2 * headWidth);
  for (let j = 0; j < quarter; j++) {
    const f = 2 * Math.PI * high * (high / low) ** (quarter > 1 ? -j / (quarter - 1) : 0);
    out[j] = out[quarter + j] = f;
    out[headWidth + 2 * quarter + j] = out[headWidth + 3 * quarter + j] = f;
  }
  return out;
}

function initial(name: string, shape: number[], s: ModelSizes, seed: number): Float32Array {
  const out = new Float32Array(shape.reduce((a, b) => a * b, 1));
  const random = stream(seed, 'init', name);
  if (isRope(name)) return ropeFrequencies(shape[1]!, s.ropeMin, s.ropeMax);
  if (name.endsWith('norm.weight') || name.endsWith('weight_g')) return out.fill(1);
  if (name === 'layer.bias') return out;
  if (name === 'layer.weight') return random.fillNormal(out, 1);
  if (/(registers|mask_token|pos_embed)$/.test(name)) return random.fillNormal(out, 0.02);
  if (/^head\..*\.bias$/.test(name)) return out;
  if (name.endsWith('weight_v') || name.startsWith('head.mlp.')) {
    // Truncated normal: standard deviation 0.02, cut at +-2 (which never bites).
    return random.fillNormal(out, 0.02);
  }
  const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
  if (name.endsWith('patch_embed.bias')) {
    const bound = 1 / Math.sqrt(3 * s.patch * s.patch);
    return random.fillUniform(out, -bound, bound);
  }
  const bound = Math.sqrt(6 / (fanIn + shape[0]!)); // xavier uniform, the patch embedding as [D, 3 p p]
  return random.fillUniform(out, -bound, bound);
}

/** Initial parameters of student, EMA (a copy) and clustering layer, under full official names, from one seed. */
export function* initialTensors(
  s: ModelSizes,
  seed: number,
): Generator<[name: string, values: Float32Array]> {
  for (const [name, shape] of Object.entries(studentShapes(s))) {
    const values = initial(name, shape, s, seed);
    const copy = values.slice(); // before the caller has the first
    yield [STUDENT + name, values];
    yield [EMA + name, copy];
  }
  for (const [name, shape] of Object.entries(clusteringShapes(s))) {
    yield [CLUSTERING + name, initial(name, shape, s, seed)];
  }
}

/** All of `initialTensors`. */
export const initialParameters = (s: ModelSizes, seed: number): Parameters =>
  Object.fromEntries(initialTensors(s, seed));

/** Shapes of student, EMA and clustering layer under full official names. */
export function allShapes(s: ModelSizes): Shapes {
  const out: Shapes = {};
  for (const [name, shape] of Object.entries(studentShapes(s))) {
    out[STUDENT + name] = shape;
    out[EMA + name] = shape;
  }
  for (const [name, shape] of Object.entries(clusteringShapes(s))) out[CLUSTERING + name] = shape;
  return out;
}

/** Shapes of the optimiser moments, under the parameter's name with a suffix. Fixed rotary frequencies have none. */
export function optimiserShapes(s: ModelSizes): Shapes {
  const out: Shapes = {};
  for (const [name, shape] of Object.entries(allShapes(s))) {
    if (name.startsWith(EMA) || isRope(name)) continue;
    out[name + FIRST_MOMENT] = shape;
    out[name + SECOND_MOMENT] = shape;
  }
  return out;
}

/** Multipliers on learning rate and weight decay of one student parameter: the official groups (paper, Table 6). */
export function parameterGroup(
  name: string,
  multipliers: { patchEmbedLr: number; normDecay: number },
): { lr: number; decay: number } {
  const lr = isRope(name) ? 0 : name.includes('patch_embed') ? multipliers.patchEmbedLr : 1;
  const decay = name.endsWith('.bias') ? 0 : name.endsWith('norm.weight') ? multipliers.normDecay : 1;
  return { lr, decay };
}
