// Matrix products whose operands may keep their batch in the middle, so that attention needs no transposes.
import { type Tensor, tf } from '../tf.js';
import { primitive } from './primitive.js';

export interface ProductOptions {
  transA?: boolean;
  transB?: boolean;
  /** The operand is stored [rows, batch, cols] and stands for [batch, rows, cols]. */
  batchA?: boolean;
  batchB?: boolean;
  alpha?: number;
}

/** alpha * op(a) @ op(b), without a gradient. */
export function product(a: Tensor, b: Tensor, options: ProductOptions = {}): Tensor {
  const { transA = false, transB = false, batchA = false, batchB = false, alpha = 1 } = options;
  return primitive('Product', { a, b }, { transA, transB, batchA, batchB, alpha }, () => {
    const out = tf.matMul(
      batchA ? tf.transpose(a, [1, 0, 2]) : a,
      batchB ? tf.transpose(b, [1, 0, 2]) : b,
      transA,
      transB,
    );
    return alpha === 1 ? out : tf.mul(out, alpha);
  });
}

/**
 * Gradient of a weight in the official layout [out, in] for y = x @ w^T: dy^T @ x. The narrower operand is transposed:
 * for x as (x^T @ dy)^T, where x^T is shared by all weights that read x and the last transpose is as small as the weight,
 * unless there are so few rows that the weight is the largest of all.
 */
export function weightGradient(x: Tensor, dy: Tensor, alpha = 1): Tensor {
  const [rows, width] = x.shape as [number, number];
  if (width > dy.shape[1]! || width > rows) return product(tf.transpose(dy, [1, 0]), x, { alpha });
  return tf.transpose(product(tf.transpose(x, [1, 0]), dy, { alpha }), [1, 0]);
}

/** y = x @ w^T with w [out, in], x [T, in] -> [T, out]: a linear layer without bias. */
export function linear(x: Tensor, w: Tensor): Tensor {
  return tf.customGrad((...args: unknown[]) => {
    const [x, w, save] = args as [Tensor, Tensor, (t: Tensor[]) => void];
    save([x, w]);
    return {
      value: product(x, w, { transB: true }),
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [x, w] = saved as [Tensor, Tensor];
        return [product(dy, w), weightGradient(x, dy)];
      },
    };
  })(x, w);
}
