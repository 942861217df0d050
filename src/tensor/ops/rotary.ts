// CAPI's rotary position embedding: channel i turns with channel i + d/2, each half by an angle of its own.
import { type Tensor, tf } from '../tf.js';
import { primitive } from './primitive.js';

/** The two halves of the last axis exchanged, x [..., d]. */
function swapHalves(x: Tensor): Tensor {
  const half = x.shape[x.shape.length - 1]! / 2;
  const size = [...x.shape.slice(0, -1), half];
  const from = (start: number): Tensor => tf.slice(x, [...size.slice(0, -1).map(() => 0), start], size);
  return tf.concat([from(half), from(0)], -1);
}

/** Cosine and signed sine of the angles; `signedSin` is [-sin | +sin], so that y = x * cos + swap(x) * signedSin. */
export interface RotaryTable {
  cos: Tensor;
  signedSin: Tensor;
}

/**
 * Table for coordinates [T, 2] (row, column in [0, 1]) and freqs [2, d] (row 0 acts on the first half, row 1 on the second).
 * Differentiable in freqs. Source: official `RopePositionEmbedding`, angle = coords @ freqs.
 */
export function rotaryTable(coords: Tensor, freqs: Tensor): RotaryTable {
  const half = freqs.shape[1]! / 2;
  const angle = tf.matMul(coords as never, freqs as never);
  const sign = tf.tensor1d([...Array(half).fill(-1), ...Array(half).fill(1)]);
  return { cos: tf.cos(angle), signedSin: tf.mul(tf.sin(angle), sign) };
}

/** x [M, d] viewed [rows, per, d] with tables [rows, d]. */
function rotate(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
  return primitive('Rotary', { x, cos, sin }, {}, () => {
    const [rows, d] = cos.shape as [number, number];
    const xr = tf.reshape(x, [rows, x.size / (rows * d), d]);
    const at = (t: Tensor): Tensor => tf.reshape(t, [rows, 1, d]);
    return tf.reshape(tf.add(tf.mul(xr, at(cos)), tf.mul(swapHalves(xr), at(sin))), x.shape);
  });
}

/**
 * Rotates every head of x [T, H*d] (or [N, B, H*d]) by table rows [R, d], where R divides x.size / d: row r serves the r-th
 * run of consecutive heads. `tableGradient` also differentiates the table (official rope frequencies are parameters).
 */
export function rotary(x: Tensor, table: RotaryTable, tableGradient = false): Tensor {
  const backward = (dy: Tensor, cos: Tensor, sin: Tensor): Tensor => rotate(dy, cos, swapHalves(sin));
  if (!tableGradient) {
    const { cos, signedSin } = table;
    return tf.customGrad((...args: unknown[]) => {
      const [x, save] = args as [Tensor, (t: Tensor[]) => void];
      save([cos, signedSin]);
      return {
        value: rotate(x, cos, signedSin),
        gradFunc: (dy: Tensor, [c, s]: Tensor[]) => backward(dy, c!, s!),
      };
    })(x);
  }
  return tf.customGrad((...args: unknown[]) => {
    const [x, cos, sin, save] = args as [Tensor, Tensor, Tensor, (t: Tensor[]) => void];
    save([x, cos, sin]);
    return {
      value: rotate(x, cos, sin),
      gradFunc: (dy: Tensor, [x, c, s]: Tensor[]) => {
        const [rows, d] = c!.shape as [number, number];
        const view = (t: Tensor): Tensor => tf.reshape(t, [rows, t.size / (rows * d), d]);
        const perRow = (t: Tensor): Tensor => tf.sum(t, 1);
        return [
          backward(dy, c!, s!),
          perRow(tf.mul(view(dy), view(x!))),
          perRow(tf.mul(view(dy), swapHalves(view(x!)))),
        ];
      },
    };
  })(x, table.cos, table.signedSin);
}
