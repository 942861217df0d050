// Attentive pooling with one learned query per head, for a stack of heads on the same tokens: values follow the pooling.
import { product } from '../../tensor/ops/index.js';
import { type Tensor, tf } from '../../tensor/tf.js';

/**
 * Softmax-weighted means of the tokens: x [B, N, D] and score vectors u [R, D] -> [B, R, D], row r of which is
 * softmax over N of (x_b u_r), times x_b. Differentiable in u; the tokens are data.
 *
 * This is attention with one query q: q.(K x + b) = (K^T q).x + q.b, where q.b is the same for every token and drops out of
 * the softmax, and the softmax's weights sum to one, so that the value map may follow: sum_n a_n (V x_n + c) = V (sum_n a_n x_n) + c.
 */
export function poolTokens(x: Tensor, u: Tensor): Tensor {
  const [batch, tokens, width] = x.shape as [number, number, number];
  const rows = u.shape[0]!;
  return tf.customGrad((...args: unknown[]) => {
    const [u, save] = args as [Tensor, (t: Tensor[]) => void];
    const a = tf.softmax(product(u, x, { transB: true })); // [B, R, N]
    save([a]);
    return {
      value: product(a, x),
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const a = saved[0]!;
        const da = product(dy, x, { transB: true });
        const ds = tf.mul(tf.sub(da, tf.sum(tf.mul(da, a), -1, true)), a);
        // One product over all tokens of the batch rather than one per image and a sum.
        const byRow = tf.reshape(tf.transpose(ds, [1, 0, 2]), [rows, batch * tokens]);
        return product(byRow, tf.reshape(x, [batch * tokens, width]));
      },
    };
  })(u);
}

/** What `poolTokens` reads: K^T q / sqrt(64) of every head. query [R, W], key [R, W, D] -> [R, D]; R = grid points * heads. */
export function scoreVectors(query: Tensor, key: Tensor): Tensor {
  const [rows, headWidth, width] = key.shape as [number, number, number];
  const q = tf.reshape(query, [rows, 1, headWidth]);
  const u = tf.matMul(q as never, key as never) as Tensor;
  return tf.mul(tf.reshape(u, [rows, width]), 1 / Math.sqrt(headWidth));
}

/** Row r of every sample times matrix r: x [B, R, K], w [R, M, K] -> [R, B, M]. */
function mapRows(x: Tensor, w: Tensor): Tensor {
  return tf.customGrad((...args: unknown[]) => {
    const [x, w, save] = args as [Tensor, Tensor, (t: Tensor[]) => void];
    save([x, w]);
    return {
      value: product(x, w, { batchA: true, transB: true }),
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [x, w] = saved as [Tensor, Tensor];
        return [
          tf.transpose(product(dy, w), [1, 0, 2]),
          product(tf.transpose(dy, [0, 2, 1]), tf.transpose(x, [1, 0, 2])),
        ];
      },
    };
  })(x, w);
}

/**
 * Values of the pooled tokens and their classifier, without biases: pooled [B, G * H, D], value [G * H, W, D] and
 * classifier [G, H * W, C] -> [G, B, C]. With few classes and a large batch both matrices are multiplied first, else the values come
 * first: whichever has fewer products.
 */
export function classifyPooled(pooled: Tensor, value: Tensor, classifier: Tensor): Tensor {
  const [batch, rows, width] = pooled.shape as [number, number, number];
  const headWidth = value.shape[1]!;
  const [points, , classes] = classifier.shape as [number, number, number];
  const heads = rows / points;
  const matricesFirst = classes * width * (headWidth + batch);
  const valuesFirst = batch * headWidth * (width + classes);
  if (matricesFirst < valuesFirst) {
    const byHead = tf.reshape(classifier, [rows, headWidth, classes]);
    const both = tf.matMul(byHead as never, value as never, true) as Tensor; // [R, C, D]
    const side = tf.transpose(tf.reshape(both, [points, heads, classes, width]), [0, 2, 1, 3]);
    return mapRows(
      tf.reshape(pooled, [batch, points, heads * width]),
      tf.reshape(side, [points, classes, heads * width]),
    );
  }
  const byHead = tf.reshape(mapRows(pooled, value), [points, heads, batch, headWidth]);
  const values = tf.reshape(tf.transpose(byHead, [0, 2, 1, 3]), [points, batch, heads * headWidth]);
  return tf.matMul(values as never, classifier as never) as Tensor;
}

/**
 * Cross-entropy of every head, mean over the batch: logits [B, G, C] (`batchAxis` 0) or [G, B, C] (`batchAxis` 1) and one-hot rows
 * `targets` [B, C] -> [G]. Targets get no gradient.
 */
export function stackedCrossEntropy(logits: Tensor, targets: Tensor, batchAxis: 0 | 1): Tensor {
  const [batch, classes] = targets.shape as [number, number];
  const rows = tf.reshape(targets, batchAxis === 0 ? [batch, 1, classes] : [1, batch, classes]);
  return tf.customGrad((...args: unknown[]) => {
    const [logits, save] = args as [Tensor, (t: Tensor[]) => void];
    const logp = tf.logSoftmax(logits as never) as Tensor;
    save([logp, rows]);
    const hits = tf.sum(tf.mul(logp, rows), -1);
    return {
      value: tf.mul(tf.sum(hits, batchAxis), -1 / batch),
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [logp, rows] = saved as [Tensor, Tensor];
        const weight = tf.mul(tf.reshape(dy, batchAxis === 0 ? [1, -1, 1] : [-1, 1, 1]), 1 / batch);
        return tf.mul(tf.sub(tf.exp(logp), rows), weight);
      },
    };
  })(logits);
}
