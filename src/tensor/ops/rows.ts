// Row selection and repetition whose gradients are gathers and sums rather than scatters.
import { type Tensor, tf } from '../tf.js';

/**
 * Rows `index` of x [N, ...], all different. `inverse` [N] says where each row of x went, or index.length for rows not
 * taken; with it the gradient is a gather too.
 */
export function takeRows(x: Tensor, index: Tensor, inverse: Tensor): Tensor {
  return tf.customGrad((...args: unknown[]) => {
    const [x, save] = args as [Tensor, (t: Tensor[]) => void];
    save([index, inverse]);
    return {
      value: tf.gather(x, index as never),
      gradFunc: (dy: Tensor, [, inverse]: Tensor[]) => gatherOrZero(dy, inverse!),
    };
  })(x);
}

/** The reverse of takeRows: y [index.length, ...] spread to N rows, zero where no row was taken. */
export function spreadRows(y: Tensor, index: Tensor, inverse: Tensor): Tensor {
  return tf.customGrad((...args: unknown[]) => {
    const [y, save] = args as [Tensor, (t: Tensor[]) => void];
    save([index, inverse]);
    return {
      value: gatherOrZero(y, inverse),
      gradFunc: (dy: Tensor, [index]: Tensor[]) => tf.gather(dy, index as never),
    };
  })(y);
}

function gatherOrZero(y: Tensor, inverse: Tensor): Tensor {
  const zero = tf.zeros([1, ...y.shape.slice(1)]);
  return tf.gather(tf.concat([y, zero], 0), inverse as never);
}

/** Each row of x [R, D] `times` times in a run: [R * times, D], row r * times + b = x[r]. */
export function repeatRows(x: Tensor, times: number): Tensor {
  const [rows, width] = x.shape as [number, number];
  return tf.customGrad((...args: unknown[]) => {
    const [x] = args as [Tensor];
    return {
      value: tf.reshape(tf.tile(tf.reshape(x, [rows, 1, width]), [1, times, 1]), [rows * times, width]),
      gradFunc: (dy: Tensor) => tf.sum(tf.reshape(dy, [rows, times, width]), 1),
    };
  })(x);
}
