// Losses summed over rows, with hand-written gradients: cross-entropy against soft targets, and Huber's.
import { type Tensor, tf } from '../tf.js';

/** -sum over all rows of sum_k target * log softmax(logits): logits and targets [T, K] -> scalar. Targets get no gradient. */
export function softCrossEntropy(logits: Tensor, targets: Tensor): Tensor {
  return tf.customGrad((...args: unknown[]) => {
    const [logits, save] = args as [Tensor, (t: Tensor[]) => void];
    const logp = tf.logSoftmax(logits as never) as Tensor;
    save([logp, targets]);
    return {
      value: tf.neg(tf.sum(tf.mul(logp, targets))),
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [logp, targets] = saved as [Tensor, Tensor];
        const d = tf.sub(tf.mul(tf.exp(logp), tf.sum(targets, -1, true)), targets);
        return tf.mul(d, dy);
      },
    };
  })(logits);
}

/** Sum over all entries of Huber's loss of x - target: d^2 / 2 up to |d| = delta, delta (|d| - delta / 2) beyond. Targets get no gradient. */
export function huberSum(x: Tensor, target: Tensor, delta: number): Tensor {
  return tf.customGrad((...args: unknown[]) => {
    const [x, save] = args as [Tensor, (t: Tensor[]) => void];
    const d = tf.sub(x, target);
    const clipped = tf.minimum(tf.maximum(d, -delta), delta);
    save([clipped]);
    return {
      // With c = d clipped to [-delta, delta]: c (d - c / 2).
      value: tf.sum(tf.mul(clipped, tf.sub(d, tf.mul(clipped, 0.5)))),
      gradFunc: (dy: Tensor, [c]: Tensor[]) => tf.mul(c!, dy),
    };
  })(x);
}
