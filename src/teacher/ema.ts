// The exponential moving average that the teacher's backbone is.
import { type Tensor, tf } from '../tensor/tf.js';

/** momentum * ema + (1 - momentum) * value, momentum a scalar tensor. */
export function emaUpdate(ema: Tensor, value: Tensor, momentum: Tensor): Tensor {
  return tf.add(tf.mul(ema, momentum), tf.mul(value, tf.sub(1, momentum)));
}
