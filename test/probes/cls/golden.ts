// The reference classifiers as stacks of ours: parameters, gradients and parameters after 3 steps by our names and shapes.
import { HEAD_WIDTH, type HeadSizes, headShapes } from '../../../src/probes/cls/heads.js';
import { tensors } from '../../support/golden.js';

const all = await tensors('classifiers.safetensors');
const values = (name: string): number[] => Array.from(all.get(name)!.data);

export const [batch, tokenCount, width] = all.get('tokens')!.shape as [number, number, number];
export const classes = all.get('linear.linear.bias')!.shape[0]!;
export const tokens = Float32Array.from(all.get('tokens')!.data);
export const labels = Int32Array.from(all.get('labels')!.data);

export const attentive: HeadSizes = { width, tokens: tokenCount, classes, points: 1 };
export const linear: HeadSizes = { width, tokens: null, classes, points: 1 };

/** [out, in] to [in, out]. */
export function transposed(x: ArrayLike<number>, out: number): number[] {
  const columns = x.length / out;
  return Array.from({ length: x.length }, (_, i) => x[(i % out) * columns + Math.floor(i / out)]!);
}

/** The official attentive classifier under `prefix` (`attn.`, `attn.grad.`, `attn.after3.`) in our names. */
export function officialAttentive(prefix: string): Record<string, number[]> {
  const half = (x: number[], second: boolean): number[] =>
    second ? x.slice(x.length / 2) : x.slice(0, x.length / 2);
  return {
    query: values(`${prefix}query_token`),
    'key.weight': half(values(`${prefix}kv.weight`), false),
    'value.weight': half(values(`${prefix}kv.weight`), true),
    'value.bias': half(values(`${prefix}kv.bias`), true),
    'linear.weight': transposed(values(`${prefix}linear.weight`), classes),
    'linear.bias': values(`${prefix}linear.bias`),
  };
}

/** The bias of the keys, which our heads do without. */
export const keyBias = (prefix: string): number[] => values(`${prefix}kv.bias`).slice(0, width);

export const officialLinear = (): Record<string, number[]> => ({
  'linear.weight': transposed(values('linear.linear.weight'), classes),
  'linear.bias': values('linear.linear.bias'),
});

export const attentiveLogits = values('attn.logits');
export const linearLogits = values('linear.logits_of_mean');
export const attentiveLoss = values('attn.loss')[0]!;

/** The mean of each sample's tokens [batch, width], which the linear reference classifies. */
export const meanTokens = Float32Array.from({ length: batch * width }, (_, i) => {
  let sum = 0;
  for (let t = 0; t < tokenCount; t++)
    sum += tokens[(Math.floor(i / width) * tokenCount + t) * width + (i % width)]!;
  return sum / tokenCount;
});

/**
 * A stack whose grid point `at` holds `one` and whose others hold `others`, with zero moments. In the linear stack the weights of all
 * grid points lie side by side in a row.
 */
export function stacked(
  one: Record<string, ArrayLike<number>>,
  sizes: HeadSizes,
  at: number,
  others: (name: string, i: number) => number,
): Record<string, Float32Array> {
  const out: Record<string, Float32Array> = {};
  for (const name of Object.keys(headShapes(sizes))) {
    const source = one[name]!;
    const size = source.length * sizes.points;
    const run = sizes.tokens === null && name === 'linear.weight' ? sizes.classes : source.length;
    out[name] = Float32Array.from({ length: size }, (_, i) => {
      const block = Math.floor(i / run);
      if (block % sizes.points !== at) return others(name, i);
      return source[Math.floor(block / sizes.points) * run + (i % run)]!;
    });
    out[`${name}.exp_avg`] = new Float32Array(size);
    out[`${name}.exp_avg_sq`] = new Float32Array(size);
  }
  return out;
}

/** Attentive pooling in its plain form, keys and values of every token, in float64: tokens [B, N, D] -> [B, A]. */
export function plainPooling(
  x: ArrayLike<number>,
  shape: [number, number, number],
  w: Record<string, ArrayLike<number>>,
  keysBias: ArrayLike<number>,
): Float64Array {
  const [b, n, d] = shape;
  const inner = w.query!.length;
  const out = new Float64Array(b * inner);
  const row = (m: ArrayLike<number>, bias: ArrayLike<number>, sample: number, token: number, c: number) => {
    let sum = bias[c]!;
    for (let j = 0; j < d; j++) sum += m[c * d + j]! * x[(sample * n + token) * d + j]!;
    return sum;
  };
  for (let sample = 0; sample < b; sample++) {
    for (let head = 0; head < inner / HEAD_WIDTH; head++) {
      const channels = Array.from({ length: HEAD_WIDTH }, (_, c) => head * HEAD_WIDTH + c);
      const scores = Array.from({ length: n }, (_, token) => {
        let score = 0;
        for (const c of channels) score += w.query![c]! * row(w['key.weight']!, keysBias, sample, token, c);
        return score / Math.sqrt(HEAD_WIDTH);
      });
      const top = Math.max(...scores);
      const total = scores.reduce((sum, s) => sum + Math.exp(s - top), 0);
      for (const c of channels) {
        for (let token = 0; token < n; token++) {
          const weight = Math.exp(scores[token]! - top) / total;
          out[sample * inner + c]! += weight * row(w['value.weight']!, w['value.bias']!, sample, token, c);
        }
      }
    }
  }
  return out;
}

/**
 * A head with classes that no sample has and that get no probability (weights 0, bias -1e4): it says the same of the real ones,
 * and its gradients for them are the same.
 */
export function withIdleClasses(
  head: Record<string, ArrayLike<number>>,
  all: number,
): Record<string, ArrayLike<number>> {
  const rows = head['linear.weight']!.length / classes;
  return {
    ...head,
    'linear.weight': Array.from({ length: rows * all }, (_, i) =>
      i % all < classes ? head['linear.weight']![Math.floor(i / all) * classes + (i % all)]! : 0,
    ),
    'linear.bias': Array.from({ length: all }, (_, c) => (c < classes ? head['linear.bias']![c]! : -1e4)),
  };
}

/** The real classes' part of a head with idle ones. */
export function realClasses(head: Record<string, Float32Array>, all: number): Record<string, Float32Array> {
  const kept = (x: Float32Array) => x.filter((_, i) => i % all < classes);
  return {
    ...head,
    'linear.weight': kept(head['linear.weight']!),
    'linear.bias': kept(head['linear.bias']!),
  };
}
