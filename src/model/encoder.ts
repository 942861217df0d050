// CAPI's encoder, its cross-attention predictor, and the two rivals of that predictor, on position-major tokens. Legend: sizes.ts.
import {
  type KeptSamples,
  linear,
  product,
  type RotaryTable,
  repeatRows,
  rmsNorm,
  rmsNormParts,
  rotaryTable,
} from '../tensor/ops/index.js';
import { type Tensor, tf } from '../tensor/tf.js';
import { type BlockOptions, block, type Weights } from './blocks.js';

export type { Weights } from './blocks.js';

import { blockPrefix } from './parameters.js';
import { tableWeights } from './positions.js';
import type { ModelSizes } from './sizes.js';

export interface RunOptions {
  inference?: boolean;
  tableGradient?: boolean;
  /** Kept samples of residual branch i, in call order: encoder blocks, then predictor; attention, then MLP. */
  kept?: KeptSamples[];
  /**
   * Learned positions: how patches and mask tokens read the table of N cells, [T, N] shared by the batch or [T * B, N]; rows of a patch
   * that stands on a cell have a single one. Coordinates are not read then.
   */
  cells?: { patches: Tensor; queries?: Tensor };
}

/** Rotary tables for coordinates [T, 2]; blocks that share their frequency tensor share the table. None for learned positions. */
function tablesFor(coords: Tensor): (freqs: Tensor | undefined) => RotaryTable | null {
  const known = new Map<Tensor, RotaryTable>();
  return (freqs) => {
    if (!freqs) return null;
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
  return finalNorm(encoderBlocks(w, s, batch, inputTokens(w, s, batch, pixels, run), coords, run), s, run);
}

/** Registers, then embedded patches: [(R + V) * B, D]. */
function inputTokens(w: Weights, s: ModelSizes, batch: number, pixels: Tensor, run: RunOptions): Tensor {
  const registers = w['backbone.registers'];
  const embedded = placed(embedPatches(w, pixels), w['backbone.pos_embed'], run.cells?.patches);
  if (!registers || s.registers === 0) return embedded;
  const rows = repeatRows(tf.reshape(registers, [s.registers, s.dim]), batch);
  return tf.concat([rows, embedded], 0);
}

/** x [T * B, D] plus the learned positions of its tokens, if positions are learned: table [1, N, D] read by `cells`. */
function placed(x: Tensor, table: Tensor | undefined, cells: Tensor | undefined): Tensor {
  if (!table || !cells) return x;
  const read = tf.matMul(cells as never, tf.reshape(table, table.shape.slice(1)) as never) as Tensor;
  const [tokens, width] = read.shape as [number, number];
  const rows = x.shape[0]!;
  return tf.add(x, rows === tokens ? read : repeatRows(tf.reshape(read, [tokens, width]), rows / tokens));
}

function encoderBlocks(
  w: Weights,
  s: ModelSizes,
  batch: number,
  tokens: Tensor,
  coords: Tensor,
  run: RunOptions,
): Tensor {
  const table = tablesFor(coords);
  const o = options(s, 'encoder', run);
  let x = tokens;
  for (let i = 0; i < s.depth; i++) {
    const prefix = blockPrefix('encoder', i);
    const t = table(w[`${prefix}residual1.fn.rope.freqs`]);
    x = block(w, prefix, x, { batch, queryTable: t, keyTable: t }, o, keptPair(run, i));
  }
  return x;
}

/**
 * The fused arm of Table 1a: mask tokens stand beside the visible patches and registers in the encoder itself, as in BEiT (arXiv 2106.08254,
 * Sec. 2.3) and iBOT (2111.07832, Sec. 3.2), which put one at every masked position. The paper does not say how deep its fused model is: here
 * it has the encoder's blocks alone, so that the frozen encoders of all arms are of one size. Returns [M * B, D] after the final norm.
 */
export function predictFused(
  w: Weights,
  s: ModelSizes,
  batch: number,
  positions: number,
  pixels: Tensor,
  queryCoords: Tensor,
  contextCoords: Tensor,
  run: RunOptions = {},
): Tensor {
  const queries = maskTokenRows(w, 'backbone.pos_embed', positions * batch, run);
  const tokens = tf.concat([inputTokens(w, s, batch, pixels, run), queries], 0);
  const coords = run.cells ? contextCoords : tf.concat([contextCoords, queryCoords], 0);
  const x = encoderBlocks(w, s, batch, tokens, coords, run);
  return finalNorm(lastRows(x, positions * batch), s, run);
}

const maskTokenRows = (w: Weights, table: string, rows: number, run: RunOptions): Tensor =>
  placed(repeatRows(w['backbone.mask_token']!, rows), w[table], run.cells?.queries);

const lastRows = (x: Tensor, count: number): Tensor => {
  const [rows, width] = x.shape as [number, number];
  return tf.slice(x, [rows - count, 0], [count, width]);
};

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
  if (s.predictor === 'self') {
    return predictSelf(w, s, batch, positions, context, queryCoords, contextCoords, run, depth);
  }
  let y = maskTokenRows(w, 'backbone.decoder_pos_embed', positions * batch, run);
  const queryTable = tablesFor(queryCoords);
  const keyTable = tablesFor(contextCoords);
  const o = options(s, 'decoder', run);
  for (let i = 0; i < depth; i++) {
    const prefix = blockPrefix('decoder', i);
    const freqs = w[`${prefix}residual1.fn.rope.freqs`];
    const inputs = { batch, queryTable: queryTable(freqs), keyTable: keyTable(freqs), context };
    y = block(w, prefix, y, inputs, o, keptPair(run, s.depth + i));
  }
  return finalNorm(y, s, run);
}

/**
 * The split, self-attention arm of Table 1a, after MAE (arXiv 2111.06377, Sec. 3) and I-JEPA (2301.08243, Sec. 3): the encoder's output, embedded
 * into the predictor's width, and mask tokens attend to each other. The embedding has no bias, as CAPI has none (Table 6); with learned
 * positions the predictor has a table of its own for both kinds of token (MAE). Mask tokens stand at the predicted positions alone, as in
 * I-JEPA and as CAPI's prediction subsampling has it; the paper does not say.
 */
function predictSelf(
  w: Weights,
  s: ModelSizes,
  batch: number,
  positions: number,
  context: Tensor,
  queryCoords: Tensor,
  contextCoords: Tensor,
  run: RunOptions,
  depth: number,
): Tensor {
  const project = run.inference ? (x: Tensor, w: Tensor): Tensor => product(x, w, { transB: true }) : linear;
  const table = w['backbone.decoder_pos_embed'];
  let embedded = project(context, w['backbone.decoder_embed.weight']!);
  if (table) {
    const r = s.registers * batch;
    const patches = embedded.shape[0]! - r;
    const own = placed(lastRows(embedded, patches), table, run.cells?.patches);
    embedded = r > 0 ? tf.concat([tf.slice(embedded, [0, 0], [r, s.predictorDim]), own], 0) : own;
  }
  const queries = maskTokenRows(w, 'backbone.decoder_pos_embed', positions * batch, run);
  const tableOf = tablesFor(run.cells ? contextCoords : tf.concat([contextCoords, queryCoords], 0));
  const o = options(s, 'decoder', run);
  let y: Tensor = tf.concat([embedded, queries], 0);
  for (let i = 0; i < depth; i++) {
    const prefix = blockPrefix('decoder', i);
    const t = tableOf(w[`${prefix}residual1.fn.rope.freqs`]);
    y = block(w, prefix, y, { batch, queryTable: t, keyTable: t }, o, keptPair(run, s.depth + i));
  }
  return finalNorm(lastRows(y, positions * batch), s, run);
}

/** What a probe sees, for images at any resolution that the patch divides. */
export interface Features {
  /** [B, E]: mean over all grid positions of the first predictor block's normalised output; a fused model has none. */
  global?: Tensor;
  /** [B, R, D] */
  registers: Tensor;
  /** [B, gh, gw, D] */
  featureMap: Tensor;
}

/** Evaluation outputs of patch pixels [N * B, 3 p p]; `coords` [(R + N), 2] from wholeImageCoordinates. */
export function features(w: Weights, s: ModelSizes, batch: number, pixels: Tensor, coords: Tensor): Features {
  const run: RunOptions = { inference: true };
  if (s.positions === 'learned') {
    const weights = tf.tensor2d(tableWeights(s), [s.patches, s.tableHeight * s.tableWidth]);
    run.cells = { patches: weights, queries: weights };
  }
  const tokens = encode(w, s, batch, pixels, coords, run);
  const r = s.registers;
  const byImage = (t: Tensor, count: number): Tensor =>
    tf.transpose(tf.reshape(t, [count, batch, t.shape[1]!]), [1, 0, 2]);
  const map = byImage(tf.slice(tokens, [r * batch, 0], [s.patches * batch, s.dim]), s.patches);
  const pooled = (): Tensor => {
    const patchCoords = tf.slice(coords, [r, 0], [s.patches, 2]);
    const first = predict(w, s, batch, s.patches, tokens, patchCoords, coords, run, 1);
    return tf.mean(tf.reshape(first, [s.patches, batch, s.predictorDim]), 0);
  };
  return {
    ...(s.predictor === 'fused' ? {} : { global: pooled() }),
    registers: r > 0 ? byImage(tf.slice(tokens, [0, 0], [r * batch, s.dim]), r) : tf.zeros([batch, 0, s.dim]),
    featureMap: tf.reshape(map, [batch, s.gridHeight, s.gridWidth, s.dim]),
  };
}
