// One pre-norm transformer block of CAPI: attention (self or cross) and MLP, each a residual branch. Legend: sizes.ts.
import {
  attention,
  type KeptSamples,
  linear,
  mlp,
  mlpForward,
  product,
  type RotaryTable,
  rmsNorm,
  rmsNormParts,
  rotary,
  spreadSamples,
  takeSamples,
} from '../tensor/ops/index.js';
import { type Tensor, tf } from '../tensor/tf.js';

/** Weights by official name without prefix. A norm gain that is absent is one (or folded into the weights after it). */
export type Weights = Record<string, Tensor>;

export interface BlockOptions {
  heads: number;
  headWidth: number;
  eps: number;
  /** No gradients: fused forms that need not save anything. */
  inference?: boolean;
  /** Differentiate the rotary tables too. */
  tableGradient?: boolean;
}

/** What a block reads beside its own tokens. */
export interface BlockInputs {
  batch: number;
  /** Rotary table of the queries: [T, d] shared by the batch, or [T * B, d]; null where positions are learned. */
  queryTable: RotaryTable | null;
  keyTable: RotaryTable | null;
  /** Keys and values come from here [Tc * B, Dc]; absent for self-attention. */
  context?: Tensor;
}

function normed(x: Tensor, gain: Tensor | undefined, o: BlockOptions): Tensor {
  if (o.inference) return rmsNormParts(x, o.eps, gain)[0];
  const y = rmsNorm(x, o.eps);
  return gain ? tf.mul(y, gain) : y;
}

function attentionBranch(w: Weights, prefix: string, x: Tensor, i: BlockInputs, o: BlockOptions): Tensor {
  const p = (name: string): Tensor => w[`${prefix}residual1.fn.${name}.weight`]!;
  const project = o.inference ? (x: Tensor, w: Tensor): Tensor => product(x, w, { transB: true }) : linear;
  const h = normed(x, w[`${prefix}residual1.norm.weight`], o);
  const c = i.context ?? h;
  const turn = (x: Tensor, table: RotaryTable | null): Tensor =>
    table ? rotary(x, table, o.tableGradient) : x;
  const q = turn(project(h, p('q_proj')), i.queryTable);
  const k = turn(project(c, p('k_proj')), i.keyTable);
  const v = project(c, p('v_proj'));
  return project(attention(q, k, v, i.batch * o.heads, o.headWidth), p('proj'));
}

function mlpBranch(w: Weights, prefix: string, x: Tensor, o: BlockOptions): Tensor {
  const h = normed(x, w[`${prefix}residual2.norm.weight`], o);
  const [w1, w2] = [w[`${prefix}residual2.fn.fc1.weight`]!, w[`${prefix}residual2.fn.fc2.weight`]!];
  return o.inference ? mlpForward(h, w1, w2) : mlp(h, w1, w2);
}

/** Samples kept by a table of per-image rows; a shared table is the same for any choice of images. */
function keptTable(
  table: RotaryTable | null,
  tokens: number,
  batch: number,
  kept: KeptSamples,
): RotaryTable | null {
  if (!table || table.cos.shape[0] === tokens) return table;
  const take = (t: Tensor): Tensor => {
    const d = t.shape[1]!;
    return tf.reshape(takeSamples(tf.reshape(t, [tokens, batch, d]), kept), [-1, d]);
  };
  return { cos: take(table.cos), signedSin: take(table.signedSin) };
}

/**
 * x [T * B, D] -> [T * B, D]. `dropped` gives the samples that each of the two branches keeps (stochastic depth in its
 * official "efficient" form: the branch runs on the kept samples alone and is scaled by B / kept); absent: all.
 */
export function block(
  w: Weights,
  prefix: string,
  x: Tensor,
  i: BlockInputs,
  o: BlockOptions,
  dropped?: [KeptSamples, KeptSamples],
): Tensor {
  if (!dropped) {
    const y = tf.add(x, attentionBranch(w, prefix, x, i, o));
    return tf.add(y, mlpBranch(w, prefix, y, o));
  }
  const width = x.shape[1]!;
  const tokens = x.shape[0]! / i.batch;
  const on = (x: Tensor, kept: KeptSamples, run: (x: Tensor, batch: number) => Tensor): Tensor => {
    const n = kept.kept.shape[0]!;
    const rows = (t: Tensor): Tensor => tf.reshape(t, [-1, t.shape[2]!]);
    const y = run(rows(takeSamples(tf.reshape(x, [tokens, i.batch, width]), kept)), n);
    const spread = rows(spreadSamples(tf.reshape(y, [tokens, n, width]), kept));
    return tf.add(x, tf.mul(spread, i.batch / n));
  };
  const [forAttention, forMlp] = dropped;
  const y = on(x, forAttention, (x, n) => {
    const inputs: BlockInputs = {
      batch: n,
      queryTable: keptTable(i.queryTable, tokens, i.batch, forAttention),
      keyTable: i.keyTable,
    };
    const keyTokens = i.context ? i.context.shape[0]! / i.batch : tokens;
    inputs.keyTable = keptTable(i.keyTable, keyTokens, i.batch, forAttention);
    if (i.context) {
      const c = i.context.shape[1]!;
      const view = tf.reshape(i.context, [keyTokens, i.batch, c]);
      inputs.context = tf.reshape(takeSamples(view, forAttention), [-1, c]);
    }
    return attentionBranch(w, prefix, x, inputs, o);
  });
  return on(y, forMlp, (x) => mlpBranch(w, prefix, x, o));
}
