// Conformance rows of the composite kernels, which one engine fuses and the others decompose.

import { gelu, rmsNormParts, rotary, rotaryTable } from '../../../src/tensor/ops/index.js';
import { tf } from '../../../src/tensor/tf.js';
import * as o from '../float64.js';
import { normal, positive, type Row, unary } from './row.js';

const PLACES = Float32Array.of(0.1, 0.9, 0.5, 0.5, 0.8, 0.3);
const FREQUENCIES = Float32Array.of(1, 2, 0, 0, 0, 0, 3, 5);

export const composites: Row[] = [
  ...[false, true].map(
    (gain): Row => ({
      name: `RmsNorm ${gain ? 'with gain' : ''}`.trim(),
      inputs: { x: normal(5, 8), ...(gain ? { gain: positive(8) } : {}) },
      run: (i) => rmsNormParts(i.x!, 1e-5, i.gain),
      oracle: (i) => {
        const r = o.map(o.rowSum(o.mul(i.x!, i.x!)), (s) => 1 / Math.sqrt(s / 8 + 1e-5));
        const y = o.mul(i.x!, r);
        return [i.gain ? o.mul(y, i.gain) : y, r];
      },
      wrt: [],
    }),
  ),
  unary('Gelu', gelu, (x) => (x * (1 + o.erf(x / Math.SQRT2))) / 2, { wrt: [] }),
  {
    name: 'Rotary',
    inputs: { x: normal(6, 8), coords: normal(3, 2), freqs: normal(2, 4) },
    run: (i) => rotary(i.x!, rotaryTable(i.coords!, i.freqs!)),
    oracle: (i) => rotated(i.x!, o.matmul(i.coords!, i.freqs!)),
    wrt: ['x'],
  },
  {
    // Sixteen heads a row and a table that is known beforehand: the onnx engine makes a product of it.
    name: 'Rotary of many heads by a constant table',
    inputs: { x: normal(24, 8) },
    run: (i) => rotary(i.x!, rotaryTable(tf.tensor2d(PLACES, [3, 2]), tf.tensor2d(FREQUENCIES, [2, 4]))),
    oracle: (i) => rotated(i.x!, o.matmul(o.nd([3, 2], PLACES), o.nd([2, 4], FREQUENCIES))),
  },
];

/** Channel i of a head turned with channel i + d/2; half h of the channels by its own angle. x [T, H*d], angle [R, d]. */
export function rotated(x: o.Nd, angle: o.Nd): o.Nd {
  const [rows, d] = angle.shape as [number, number];
  const heads = o.reshape(x, [rows, x.data.length / (rows * d), d]);
  const y = o.build(heads.shape, ([r, h, c]) => {
    const turn = o.at(angle, [r!, c!]);
    const other = o.at(heads, [r!, h!, (c! + d / 2) % d]);
    return o.at(heads, [r!, h!, c!]) * Math.cos(turn) + (c! < d / 2 ? -other : other) * Math.sin(turn);
  });
  return o.reshape(y, x.shape);
}
