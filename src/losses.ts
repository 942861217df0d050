// The CAPI loss: cross-entropy between the teacher's assignments and the student's predictions at dropped patches.
import { l2Normalise, linear, softCrossEntropy } from './tensor/ops/index.js';
import { type Tensor, tf } from './tensor/tf.js';

/** Logits [T, K] of predictions [T, E] under the weight-normalised head [K, E]: L2-normalise, then linear without bias. */
export function headLogits(predictions: Tensor, head: Tensor): Tensor {
  return linear(l2Normalise(predictions, 1e-12), head);
}

/** Sum over rows of -sum_k target log softmax(logits / temperature); divide by the row count for the loss of the paper. */
export function capiLossSum(logits: Tensor, targets: Tensor, temperature: number): Tensor {
  return softCrossEntropy(tf.mul(logits, 1 / temperature), targets);
}

/** Mean over rows of the entropy of the targets [T, K], in nats. */
export function targetEntropy(targets: Tensor): Tensor {
  const logs = tf.log(tf.maximum(targets, 1e-30));
  return tf.neg(tf.div(tf.sum(tf.mul(targets, logs)), targets.shape[0]!));
}
