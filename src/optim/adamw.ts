// AdamW (decoupled weight decay) as a pure update of one parameter. Source: Loshchilov and Hutter 2019, as in PyTorch.
import { type Tensor, tf } from '../tensor/tf.js';

export interface AdamwOptions {
  beta1: number;
  beta2: number;
  eps: number;
}

/** Scalar tensors that change with the step. */
export interface AdamwScalars {
  lr: Tensor;
  /** 1 - beta1^t and sqrt(1 - beta2^t), t counted from 1. */
  correction1: Tensor;
  rootCorrection2: Tensor;
}

export interface AdamwState {
  value: Tensor;
  /** Running means of the gradient and of its square. */
  m: Tensor;
  v: Tensor;
}

/** One step; `lr` and `decay` are this parameter's multiplier on the rate and its own weight decay. */
export function adamw(
  state: AdamwState,
  gradient: Tensor,
  s: AdamwScalars,
  o: AdamwOptions,
  group: { lr: number; decay: number | Tensor },
): AdamwState {
  const lr = group.lr === 1 ? s.lr : tf.mul(s.lr, group.lr);
  const m = tf.add(tf.mul(state.m, o.beta1), tf.mul(gradient, 1 - o.beta1));
  const v = tf.add(tf.mul(state.v, o.beta2), tf.mul(tf.square(gradient), 1 - o.beta2));
  // lr / c1 * m / (sqrt v / rc2 + eps) = (lr * rc2 / c1) * m / (sqrt v + eps * rc2)
  const denominator = tf.add(tf.sqrt(v), tf.mul(s.rootCorrection2, o.eps));
  const rate = tf.div(tf.mul(lr, s.rootCorrection2), s.correction1);
  const kept = group.decay === 0 ? state.value : tf.mul(state.value, tf.sub(1, tf.mul(lr, group.decay)));
  return { value: tf.sub(kept, tf.mul(tf.div(m, denominator), rate)), m, v };
}

/** The scalars of step t (from 1) for the inputs of a program. */
export function adamwCorrections(
  step: number,
  o: AdamwOptions,
): { correction1: number; rootCorrection2: number } {
  return { correction1: 1 - o.beta1 ** step, rootCorrection2: Math.sqrt(1 - o.beta2 ** step) };
}
