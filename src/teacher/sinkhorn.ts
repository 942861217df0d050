// Sinkhorn-Knopp assignments, position-wise (the paper's proposal) and standard, and none. Source: paper Sec. 3.1, Table 1i.
import { product } from '../tensor/ops/index.js';
import { type Tensor, tf } from '../tensor/tf.js';

export interface SinkhornOptions {
  temperature: number;
  iterations: number;
  /** `positionwise`: one run for each patch position over the batch; `standard`: one run over all tokens; `none`: softmax alone. */
  variant: 'positionwise' | 'standard' | 'none';
}

/**
 * Soft assignments [N, B, K] of logits [N, B, K]; no gradient. The matrix M = exp(logits / temperature + 50 - column
 * maximum) is only read: the alternating normalisations update a row and a column factor.
 */
export function sinkhorn(logits: Tensor, o: SinkhornOptions): Tensor {
  const [positions, batch, k] = logits.shape as [number, number, number];
  if (o.variant === 'none') return tf.softmax(tf.mul(logits, 1 / o.temperature));
  const [n, b] = o.variant === 'positionwise' ? [positions, batch] : [1, positions * batch];
  const scaled = tf.mul(tf.reshape(logits, [n, b, k]), 1 / o.temperature);
  const m = tf.exp(tf.sub(scaled, tf.sub(tf.max(scaled, 1, true), 50)));
  let row: Tensor = tf.fill([n, 1, b], 1);
  let column: Tensor = tf.fill([n, 1, k], 1);
  for (let i = 0; i < o.iterations; i++) {
    const columnSum = product(row, m);
    column = tf.div(column, tf.add(tf.mul(column, columnSum), 1e-8));
    const rowSum = tf.reshape(product(m, tf.reshape(column, [n, k, 1])), [n, 1, b]);
    // Columns sum to 1, then rows: each round the factors drift apart by b / k, and many rounds would leave float32.
    const scaled = b === k ? row : tf.mul(row, k / b);
    row = tf.div(scaled, tf.add(tf.mul(row, rowSum), 1e-8));
    column = b === k ? column : tf.mul(column, b / k);
  }
  const assigned = tf.mul(tf.mul(m, tf.reshape(row, [n, b, 1])), column);
  return tf.reshape(assigned, [positions, batch, k]);
}
