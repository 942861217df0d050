// CAPI's encoder and cross-attention predictor on position-major tokens. Legend and layout: sizes.ts.
import {
  type KeptSamples,
  type RotaryTable,
  repeatRows,
  rmsNorm,
  rmsNormParts,
  rotaryTable,
} from '../tensor/ops/index.js';
import { type Tensor, tf } from '../tensor/tf.js';
import { type BlockOptions, block, type Weights } from './blocks.js';
import { blockPrefix } from './parameters.js';
import type { ModelSizes } from './sizes.js';

export interface RunOptions {
  inference?: boolean;
  tableGradient?: boolean;
  /** Kept samples of residual branch i, in call order: encoder blocks, then predictor; attention, then MLP. */
  kept?: KeptSamples[];
}

/** Rotary tables for coordinates [T, 2]; blocks that share their frequency tensor share the table. */
function tablesFor(coords: Tensor): (freqs: Tensor) => RotaryTable {
  const known = new Map<Tensor, RotaryTable>();
  return (freqs) => {
    let table = known.get(freqs);
    if (!table) {
      table = rotaryTable(coords, freqs);
      known.set(freqs, table);
    }
    return table;
  };
}

const options = (s: ModelSizes, part: 'encoder' | 'decoder', run: RunOptions): BlockOptions => ({
  heads: part === 'encoder' ? s.heads : s.predictorHeads,
  headWidth: part === 'encoder' ? s.dim / s.heads : s.predictorDim / s.predictorHeads,
  eps: s.eps,
  ...(run.inference ? { inference: true } : {}),
  ...(run.tableGradient ? { tableGradient: true } : {}),
});

const finalNorm = (x: Tensor, s: ModelSizes, run: RunOptions): Tensor =>
  run.inference ? rmsNormParts(x, s.eps)[0] : rmsNorm(x, s.eps);

/** Patch pixels [T * B, 3 p p] (row, column, channel) to tokens [T * B, D]. */
export function embedPatches(w: Weights, pixels: Tensor): Tensor {
  const weight = w['backbone.patch_embed.weight']!;
  const flat = tf.reshape(tf.transpose(weight, [0, 2, 3, 1]), [weight.shape[0]!, -1]); // [D, 3, p, p] -> [D, 3 p p]
  return tf.add(tf.matMul(pixels as never, flat as never, false, true), w['backbone.patch_embed.bias']!);
}

/**
 * Encodes visible patches: pixels [V * B, 3 p p] and coordinates [(R + V), 2] shared or [(R + V) * B, 2] of registers then
 * patches. Returns all tokens after the affine-free final norm, [(R + V) * B, D], registers first.
 */
export function encode(
  w: Weights,
  s: ModelSizes,
  batch: number,
  pixels: Tensor,
  coords: Tensor,
  run: RunOptions = {},
): Tensor {
  const registers = w['backbone.registers'];
  const embedded = embedPatches(w, pixels);
  let x = embedded;
  if (registers && s.registers > 0) {
    const rows = repeatRows(tf.reshape(registers, [s.registers, s.dim]), batch);
    x = tf.concat([rows, embedded], 0);
  }
  const table = tablesFor(coords);
  const o = options(s, 'encoder', run);
  for (let i = 0; i < s.depth; i++) {
    const prefix = blockPrefix('encoder', i);
    const t = table(w[`${prefix}residual1.fn.rope.freqs`]!);
    x = block(w, prefix, x, { batch, queryTable: t, keyTable: t }, o, keptPair(run, i));
  }
  return finalNorm(x, s, run);
}

function keptPair(run: RunOptions, i: number): [KeptSamples, KeptSamples] | undefined {
  return run.kept ? [run.kept[2 * i]!, run.kept[2 * i + 1]!] : undefined;
}

/**
 * Predicts at given positions: every block cross-attends from the mask-token stream to the same normalised encoder
 * output `context` [(R + V) * B, D]. queryCoords [P, 2] or [P * B, 2]. Returns [P * B, E] after the final norm.
 * `depth` stops early: the global vector of evaluation comes from the first block alone.
 */
export function predict(
  w: Weights,
  s: ModelSizes,
  batch: number,
  positions: number,
  context: Tensor,
  queryCoords: Tensor,
  contextCoords: Tensor,
  run: RunOptions = {},
  depth = s.predictorDepth,
): Tensor {
  let y = repeatRows(w['backbone.mask_token']!, positions * batch);
  const queryTable = tablesFor(queryCoords);
  const keyTable = tablesFor(contextCoords);
  const o = options(s, 'decoder', run);
  for (let i = 0; i < depth; i++) {
    const prefix = blockPrefix('decoder', i);
    const freqs = w[`${prefix}residual1.fn.rope.freqs`]!;
    const inputs = { batch, queryTable: queryTable(freqs), keyTable: keyTable(freqs), context };
    y = block(w, prefix, y, inputs, o, keptPair(run, s.depth + i));
  }
  return finalNorm(y, s, run);
}

/** What a probe sees, for images at any resolution that the patch divides. */
export interface Features {
  /** [B, E]: mean over all grid positions of the first predictor block's normalised output. */
  global: Tensor;
  /** [B, R, D] */
  registers: Tensor;
  /** [B, gh, gw, D] */
  featureMap: Tensor;
}

/** Evaluation outputs of patch pixels [N * B, 3 p p]; `coords` [(R + N), 2] from wholeImageCoordinates. */
export function features(w: Weights, s: ModelSizes, batch: number, pixels: Tensor, coords: Tensor): Features {
  const run = { inference: true };
  const tokens = encode(w, s, batch, pixels, coords, run);
  const r = s.registers;
  const patchCoords = tf.slice(coords, [r, 0], [s.patches, 2]);
  const first = predict(w, s, batch, s.patches, tokens, patchCoords, coords, run, 1);
  const byImage = (t: Tensor, count: number): Tensor =>
    tf.transpose(tf.reshape(t, [count, batch, t.shape[1]!]), [1, 0, 2]);
  const map = byImage(tf.slice(tokens, [r * batch, 0], [s.patches * batch, s.dim]), s.patches);
  return {
    global: tf.mean(tf.reshape(first, [s.patches, batch, s.predictorDim]), 0),
    registers: r > 0 ? byImage(tf.slice(tokens, [0, 0], [r * batch, s.dim]), r) : tf.zeros([batch, 0, s.dim]),
    featureMap: tf.reshape(map, [batch, s.gridHeight, s.gridWidth, s.dim]),
  };
}
