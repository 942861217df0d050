// The transformer MLP gelu(x w1^T) w2^T with exact GELU; the backward pass reuses the error function of the forward pass.
import { type Tensor, tf } from '../tf.js';
import { primitive } from './primitive.js';
import { product, weightGradient } from './product.js';

const ROOT_HALF = Math.SQRT1_2;
const LOG_2_OVER_ROOT_PI = Math.log(2 / Math.sqrt(Math.PI));

/** Exact GELU, x * (1 + erf(x / sqrt 2)) / 2, without a gradient. */
export function gelu(x: Tensor): Tensor {
  return primitive('Gelu', { x }, {}, () => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, ROOT_HALF)), 1)));
}

/** Exact GELU with its gradient, Phi(x) + x phi(x); where no product follows that could be fused with it. */
export function geluLayer(x: Tensor): Tensor {
  return tf.customGrad((...args: unknown[]) => {
    const [x, save] = args as [Tensor, (t: Tensor[]) => void];
    save([x]);
    return {
      value: gelu(x),
      gradFunc: (dy: Tensor, [x]: Tensor[]) => {
        const below = tf.mul(tf.add(tf.erf(tf.mul(x!, ROOT_HALF)), 1), 0.5);
        const density = tf.mul(tf.exp(tf.mul(tf.square(x!), -0.5)), 1 / Math.sqrt(2 * Math.PI));
        return tf.mul(dy, tf.add(below, tf.mul(x!, density)));
      },
    };
  })(x);
}

/** gelu(x @ w1^T) @ w2^T for inference: x [T, D], w1 [F, D], w2 [D, F] -> [T, D]. */
export function mlpForward(x: Tensor, w1: Tensor, w2: Tensor): Tensor {
  return product(gelu(product(x, w1, { transB: true })), w2, { transB: true });
}

/**
 * gelu(x @ w1^T) @ w2^T, x [T, D], w1 [F, D], w2 [D, F] -> [T, D].
 * With u = x w1^T / sqrt 2 (the scale rides in the products) and c = 1 + erf u:
 * gelu = u c / sqrt 2 and d gelu / d(x w1^T) = (c + u (2 / sqrt pi) exp(-u^2)) / 2.
 */
export function mlp(x: Tensor, w1: Tensor, w2: Tensor): Tensor {
  return tf.customGrad((...args: unknown[]) => {
    const [x, w1, w2, save] = args as [Tensor, Tensor, Tensor, (t: Tensor[]) => void];
    const u = product(x, w1, { transB: true, alpha: ROOT_HALF });
    const c = tf.add(tf.erf(u), 1);
    const p = tf.mul(u, c);
    const bell = tf.exp(tf.sub(LOG_2_OVER_ROOT_PI, tf.mul(u, u)));
    const slope = tf.add(c, tf.mul(u, bell));
    save([x, w1, w2, p, slope]);
    return {
      value: product(p, w2, { transB: true, alpha: ROOT_HALF }),
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [x, w1, w2, p, slope] = saved as [Tensor, Tensor, Tensor, Tensor, Tensor];
        // du carries sqrt 2 * d/d(x w1^T): the products divide it out again.
        const du = tf.mul(product(dy, w2, { alpha: ROOT_HALF }), slope);
        return [
          product(du, w1, { alpha: ROOT_HALF }),
          weightGradient(x, du, ROOT_HALF),
          weightGradient(p, dy, ROOT_HALF),
        ];
      },
    };
  })(x, w1, w2);
}
