// RMS normalisation and L2 normalisation over the last axis, with hand-written gradients.
import { type Tensor, tf } from '../tf.js';
import { primitive } from './primitive.js';
import { product } from './product.js';

/** [y, 1/rms] with y = x / sqrt(mean(x^2) + eps) [* gain], x [T, D]; no gradient. */
export function rmsNormParts(x: Tensor, eps: number, gain?: Tensor): [Tensor, Tensor] {
  return primitive('RmsNorm', gain ? { x, gain } : { x }, { eps }, () => {
    const r = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), eps));
    const y = tf.mul(x, r);
    return [gain ? tf.mul(y, gain) : y, r] as Tensor[];
  }) as [Tensor, Tensor];
}

/** y = x / sqrt(mean(x^2, -1) + eps) without gain, x [T, D]. Source: CAPI's RMSNorm, eps inside the root. */
export function rmsNorm(x: Tensor, eps: number): Tensor {
  const width = x.shape[x.shape.length - 1]!;
  return tf.customGrad((...args: unknown[]) => {
    const [x, save] = args as [Tensor, (t: Tensor[]) => void];
    const [y, r] = rmsNormParts(x, eps);
    save([y, r]);
    return {
      value: y,
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [y, r] = saved as [Tensor, Tensor];
        // dx = (dy - y * mean(dy * y)) * r
        const c = product(tf.mul(dy, y), tf.fill([width, 1], 1 / width));
        return tf.mul(tf.sub(dy, tf.mul(y, c)), r);
      },
    };
  })(x);
}

/** y = x / max(|x|, eps) over the last axis of x [T, D] (as torch.nn.functional.normalize). */
export function l2Normalise(x: Tensor, eps: number): Tensor {
  return tf.customGrad((...args: unknown[]) => {
    const [x, save] = args as [Tensor, (t: Tensor[]) => void];
    const norm = tf.maximum(tf.sqrt(tf.sum(tf.square(x), -1, true)), eps);
    const y = tf.div(x, norm);
    save([y, norm]);
    return {
      value: y,
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [y, norm] = saved as [Tensor, Tensor];
        return tf.div(tf.sub(dy, tf.mul(y, tf.sum(tf.mul(dy, y), -1, true))), norm);
      },
    };
  })(x);
}
