// Scaled dot-product attention on tokens laid out position first, with a hand-written gradient.
import { type Tensor, tf } from '../tf.js';
import { product } from './product.js';

/**
 * softmax(q k^T / sqrt d) v for each of `groups` = batch * heads. q [Nq * batch, H*d], k and v [Nk * batch, H*d], rows
 * position-major (row = position * batch + image), so that [N, batch * H, d] is a view. Returns [Nq * batch, H*d].
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, groups: number, headWidth: number): Tensor {
  const alpha = 1 / Math.sqrt(headWidth);
  const width = q.shape[1]!;
  const heads = (x: Tensor): Tensor => tf.reshape(x, [-1, groups, headWidth]);
  const tokens = (x: Tensor): Tensor => tf.reshape(tf.transpose(x, [1, 0, 2]), [-1, width]);
  return tf.customGrad((...args: unknown[]) => {
    const [q, k, v, save] = args as [Tensor, Tensor, Tensor, (t: Tensor[]) => void];
    const a = tf.softmax(product(heads(q), heads(k), { batchA: true, batchB: true, transB: true, alpha }));
    save([q, k, v, a]);
    return {
      value: tokens(product(a, heads(v), { batchB: true })),
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [q, k, v, a] = saved as [Tensor, Tensor, Tensor, Tensor];
        const d = heads(dy);
        const dv = tokens(product(a, d, { transA: true, batchB: true }));
        const da = product(d, heads(v), { batchA: true, batchB: true, transB: true });
        const ds = tf.mul(tf.sub(da, tf.sum(tf.mul(da, a), -1, true)), a);
        return [
          tokens(product(ds, heads(k), { batchB: true, alpha })),
          tokens(product(ds, heads(q), { transA: true, batchB: true, alpha })),
          dv,
        ];
      },
    };
  })(q, k, v);
}
