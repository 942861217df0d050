// The teacher's online clustering: prototypes trained on its patch features by their own cross-entropy. Source: paper Sec. 3.1.
import { l2Normalise, linear, softCrossEntropy } from '../tensor/ops/index.js';
import { type Tensor, tf } from '../tensor/tf.js';
import { type SinkhornOptions, sinkhorn } from './sinkhorn.js';

export interface Clustering {
  /** [N * B, K], position-major: the soft targets of all patches. */
  assignments: Tensor;
  /** Mean cross-entropy over all N * B patches. */
  loss: Tensor;
  gradients: Record<string, Tensor>;
  /** [N, K]: softmax(logits / prediction temperature), what the layer itself believes, averaged over the batch. */
  positionUse: Tensor;
}

/** Patch features [N * B, D] to logits [N * B, K] of weights `layer.weight` [K, D] and `layer.bias` [K]. */
export function clusteringLogits(w: Record<string, Tensor>, patches: Tensor): Tensor {
  const y = linear(l2Normalise(patches, 1e-7), w['layer.weight']!);
  return w['layer.bias'] ? tf.add(y, w['layer.bias']) : y;
}

export interface ClusteringOptions extends SinkhornOptions {
  predictionTemperature: number;
  /** Values that the logits of one run of positions may fill, see `valuesAtOnce`. */
  atOnce: number;
}

/** A run of positions has no fewer rows than a product is fast with. */
const LEAST_ROWS = 128;

/**
 * Values that the logits of one run of positions may fill: on a CPU what a core's cache holds; on a GPU, where every run costs the start of
 * some hundred kernels, as many as WebGPU binds as one buffer by default (128 MiB). Changes results by rounding only.
 */
export const valuesAtOnce = (device: string): number =>
  device === 'cuda' || device === 'webgpu' ? 1 << 25 : 1 << 19;

/**
 * One clustering step on teacher patches [N * B, D] (position-major). Gradients reach the layer only, never the teacher.
 * Position-wise Sinkhorn treats positions one by one, so they are worked through in runs.
 */
export function cluster(
  w: Record<string, Tensor>,
  patches: Tensor,
  batch: number,
  o: ClusteringOptions,
): Clustering {
  const [rows, width] = patches.shape as [number, number];
  const positions = rows / batch;
  const prototypes = w['layer.weight']!.shape[0]!;
  const fitting = Math.floor(o.atOnce / (batch * prototypes));
  const most = o.variant === 'standard' ? positions : Math.max(1, fitting, Math.ceil(LEAST_ROWS / batch));
  const parts: Clustering[] = [];
  for (let first = 0; first < positions; first += most) {
    const count = Math.min(most, positions - first);
    const part = tf.slice(patches, [first * batch, 0], [count * batch, width]);
    parts.push(clusterPositions(w, part, batch, o, rows));
  }
  if (parts.length === 1) return parts[0]!;
  const sum = (values: Tensor[]): Tensor => values.reduce((a, b) => tf.add(a, b)); // one after another: none waits for the last
  return {
    assignments: tf.concat(
      parts.map((p) => p.assignments),
      0,
    ),
    loss: sum(parts.map((p) => p.loss)),
    gradients: Object.fromEntries(Object.keys(w).map((n) => [n, sum(parts.map((p) => p.gradients[n]!))])),
    positionUse: tf.concat(
      parts.map((p) => p.positionUse),
      0,
    ),
  };
}

/** The same for some positions, with losses divided by the `total` rows of all. */
function clusterPositions(
  w: Record<string, Tensor>,
  patches: Tensor,
  batch: number,
  o: ClusteringOptions,
  total: number,
): Clustering {
  const rows = patches.shape[0]!;
  const names = Object.keys(w);
  const logits = clusteringLogits(w, patches);
  const k = logits.shape[1]!;
  const grid = [rows / batch, batch, k];
  const assignments = tf.reshape(sinkhorn(tf.reshape(logits, grid), o), [rows, k]);
  const scaled = (logits: Tensor): Tensor => tf.mul(logits, 1 / o.predictionTemperature);
  const { value, grads } = tf.valueAndGrads((...ws: Tensor[]) => {
    const own = clusteringLogits(Object.fromEntries(names.map((n, i) => [n, ws[i]!])), patches);
    return tf.mul(softCrossEntropy(scaled(own), assignments), 1 / total) as never;
  })(names.map((n) => w[n]!));
  // exp(log softmax) is what the cross-entropy computes too: one kernel serves both.
  const probabilities = tf.exp(tf.logSoftmax(scaled(logits) as never) as Tensor);
  return {
    assignments,
    loss: value,
    gradients: Object.fromEntries(names.map((n, i) => [n, grads[i]!])),
    positionUse: tf.mean(tf.reshape(probabilities, grid), 1),
  };
}
