// Sample selection and row repetition whose gradients are gathers and sums rather than scatters.
import { type Tensor, tf } from '../tf.js';

/** Which samples of a batch are kept: `kept` [n] are their indices, `inverse` [B] where each went (n = not kept). */
export interface KeptSamples {
  kept: Tensor;
  inverse: Tensor;
}

/** Samples `kept` of x [T, B, D] -> [T, n, D]. */
export function takeSamples(x: Tensor, { kept, inverse }: KeptSamples): Tensor {
  return tf.customGrad((...args: unknown[]) => {
    const [x, save] = args as [Tensor, (t: Tensor[]) => void];
    save([inverse]);
    return {
      value: tf.gather(x, kept as never, 1),
      gradFunc: (dy: Tensor, saved: Tensor[]) => gatherOrZero(dy, saved[0]!),
    };
  })(x);
}

/** The reverse of takeSamples: y [T, n, D] -> [T, B, D], zero for samples that were not kept. */
export function spreadSamples(y: Tensor, { kept, inverse }: KeptSamples): Tensor {
  return tf.customGrad((...args: unknown[]) => {
    const [y, save] = args as [Tensor, (t: Tensor[]) => void];
    save([kept]);
    return {
      value: gatherOrZero(y, inverse),
      gradFunc: (dy: Tensor, saved: Tensor[]) => tf.gather(dy, saved[0] as never, 1),
    };
  })(y);
}

function gatherOrZero(y: Tensor, inverse: Tensor): Tensor {
  const [t, , d] = y.shape as [number, number, number];
  return tf.gather(tf.concat([y, tf.fill([t, 1, d], 0)], 1), inverse as never, 1);
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
