// What the student's answers are compared with the targets by: one loss for each row of Table 1c, and MAE's.
import type { Config } from './config/index.js';
import { huberSum, softCrossEntropy } from './tensor/ops/index.js';
import { type Tensor, tf } from './tensor/tf.js';

/** Sum over rows of -sum_k target log softmax(logits / temperature); divide by the row count for the loss of the paper. */
export function capiLossSum(logits: Tensor, targets: Tensor, temperature: number): Tensor {
  return softCrossEntropy(tf.mul(logits, 1 / temperature), targets);
}

/**
 * Sum over the rows of answers and targets [T, W] of `loss.type`:
 * - `capi`, `capi-mlp`, `ibot`: cross-entropy (paper, Eq. 1; iBOT, arXiv 2111.07832, Eq. 2, without its [CLS] term);
 * - `direct`: Huber, mean over the W features (I-JEPA, facebookresearch/ijepa, src/train.py: smooth L1, which is Huber with delta 1);
 * - `pixel`: squared error, mean over the W values of a patch (MAE, arXiv 2111.06377, Sec. 3).
 */
export function lossSum({ loss }: Pick<Config, 'loss'>, answers: Tensor, targets: Tensor): Tensor {
  const width = answers.shape[1]!;
  if (loss.type === 'direct') return tf.mul(huberSum(answers, targets, loss.huber_delta), 1 / width);
  if (loss.type === 'pixel') return tf.mul(tf.sum(tf.square(tf.sub(answers, targets))), 1 / width);
  return capiLossSum(answers, targets, loss.student_temperature);
}

/** Mean over rows of the entropy of the targets [T, K], in nats. */
export function targetEntropy(targets: Tensor): Tensor {
  const logs = tf.log(tf.maximum(targets, 1e-30));
  return tf.neg(tf.div(tf.sum(tf.mul(targets, logs)), targets.shape[0]!));
}
