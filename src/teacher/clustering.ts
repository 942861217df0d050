// The teacher's online clustering: prototypes trained on its patch features by their own cross-entropy. Source: paper Sec. 3.1.
import { l2Normalise, linear, softCrossEntropy } from '../tensor/ops/index.js';
import { type Tensor, tf } from '../tensor/tf.js';
import { type SinkhornOptions, sinkhorn } from './sinkhorn.js';

export interface Clustering {
  /** [N, B, K] before any temperature. */
  logits: Tensor;
  /** [N, B, K], the soft targets of all patches. */
  assignments: Tensor;
  /** Mean cross-entropy over all N * B patches. */
  loss: Tensor;
  gradients: Record<string, Tensor>;
  /** softmax(logits / prediction temperature), [N, B, K]: what the layer itself believes. */
  probabilities: Tensor;
}

/** Patch features [N * B, D] to logits [N * B, K] of weights `layer.weight` [K, D] and `layer.bias` [K]. */
export function clusteringLogits(w: Record<string, Tensor>, patches: Tensor): Tensor {
  const y = linear(l2Normalise(patches, 1e-7), w['layer.weight']!);
  return w['layer.bias'] ? tf.add(y, w['layer.bias']) : y;
}

/**
 * One clustering step on teacher patches [N * B, D] (position-major). Gradients reach the layer only, never the teacher.
 */
export function cluster(
  w: Record<string, Tensor>,
  patches: Tensor,
  batch: number,
  o: SinkhornOptions & { predictionTemperature: number },
): Clustering {
  const rows = patches.shape[0]!;
  const names = Object.keys(w);
  const values = names.map((n) => w[n]!);
  const logits = clusteringLogits(w, patches);
  const k = logits.shape[1]!;
  const grid = [rows / batch, batch, k];
  const assignments = sinkhorn(tf.reshape(logits, grid), o);
  const targets = tf.reshape(assignments, [rows, k]);
  const { value, grads } = tf.valueAndGrads((...ws: Tensor[]) => {
    const own = clusteringLogits(Object.fromEntries(names.map((n, i) => [n, ws[i]!])), patches);
    const loss = softCrossEntropy(tf.mul(own, 1 / o.predictionTemperature), targets);
    return tf.mul(loss, 1 / rows) as never;
  })(values);
  return {
    logits: tf.reshape(logits, grid),
    assignments,
    loss: value,
    gradients: Object.fromEntries(names.map((n, i) => [n, grads[i]!])),
    probabilities: tf.reshape(tf.softmax(tf.mul(logits, 1 / o.predictionTemperature)), grid),
  };
}
