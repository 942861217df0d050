// Cross-entropy between soft targets and the softmax of logits, with a hand-written gradient.
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
