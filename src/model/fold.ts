// Weights prepared once a step, outside the micro-batches: norm gains folded into the weights after them, and the
// weight-normalised head.
import { type Tensor, tf } from '../tensor/tf.js';
import type { Weights } from './blocks.js';
import type { ModelSizes } from './sizes.js';

/** The gain that multiplies the input of weight `name`, if one does (keys and values of cross-attention read no block norm). */
export function gainOf(name: string, predictor: ModelSizes['predictor']): string | undefined {
  if (name.endsWith('residual2.fn.fc1.weight')) return name.replace('fn.fc1.weight', 'norm.weight');
  const own = /^(.*(?:encoder|decoder)\.blocks.*residual1\.)fn\.([qkv])_proj\.weight$/.exec(name);
  if (!own) return undefined;
  const cross = predictor === 'cross' && own[1]!.includes('.decoder.');
  return cross && own[2] !== 'q' ? undefined : `${own[1]}norm.weight`;
}

/** v * (g / (|v| + 1e-8)) row by row: v [K, E], g [K, 1]. Source: official weight normalisation of the head. */
export function normalisedHead(v: Tensor, g: Tensor): Tensor {
  const norm = tf.add(tf.sqrt(tf.sum(tf.square(v), -1, true)), 1e-8);
  return tf.mul(v, tf.div(g, norm));
}

export const HEAD = 'head.weight';
const LAST_LAYER = ['head.last_layer.weight_v', 'head.last_layer.weight_g'];

/** rms(x) * g @ w^T = rms(x) @ (w * g)^T: gains disappear from the result, `head.weight` replaces the last layer's two parts. */
export function fold(w: Weights, { predictor }: Pick<ModelSizes, 'predictor'>): Weights {
  const out: Weights = {};
  for (const [name, value] of Object.entries(w)) {
    if (name.endsWith('norm.weight') || name.startsWith('head.last_layer.')) continue;
    const gain = gainOf(name, predictor);
    out[name] = gain ? tf.mul(value, w[gain]!) : value;
  }
  const [v, g] = LAST_LAYER.map((n) => w[n]);
  if (v && g) out[HEAD] = normalisedHead(v, g);
  return out;
}

/** Pulls gradients of folded weights back to the parameters themselves. */
export function unfold(w: Weights, gradients: Weights, s: Pick<ModelSizes, 'predictor'>): Weights {
  const changed = Object.keys(gradients).filter((n) => !(n in w) || gainOf(n, s.predictor));
  const raw = new Set<string>(HEAD in gradients ? LAST_LAYER : []);
  for (const n of changed) {
    const gain = gainOf(n, s.predictor);
    if (gain) raw.add(n).add(gain);
  }
  const names = [...raw];
  // The gradient of sum(folded * constant) is the product of that constant with the Jacobian of the folding.
  const pulled = tf.grads((...values: Tensor[]) => {
    const folded = fold(Object.fromEntries(names.map((n, i) => [n, values[i]!])), s);
    const terms = changed.map((n) => tf.sum(tf.mul(folded[n]!, gradients[n]!)));
    return tf.addN(terms as never[]);
  })(names.map((n) => w[n]!));
  const out: Weights = {};
  for (const [n, g] of Object.entries(gradients)) if (!changed.includes(n)) out[n] = g;
  for (const [i, n] of names.entries()) out[n] = pulled[i]!;
  return out;
}
