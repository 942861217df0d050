// The table of composite ops: each with its float64 meaning, against which values and hand-written gradients are checked.

import * as ops from '../../../src/tensor/ops/index.js';
import { tf } from '../../../src/tensor/tf.js';
import * as o from '../../engine/float64.js';
import { rotated } from '../../engine/rows/composites.js';
import { type Drawn, normal, positive, type Row } from '../../engine/rows/row.js';

const gelu = (x: number): number => (x * (1 + o.erf(x / Math.SQRT2))) / 2;

/** softmax(q k^T / sqrt d) v for every image and head; rows are position * batch + image, columns head * d + channel. */
function attended(q: o.Nd, k: o.Nd, v: o.Nd, groups: number, d: number): o.Nd {
  const heads = (x: o.Nd): o.Nd =>
    o.transpose(o.reshape(x, [x.data.length / (groups * d), groups, d]), [1, 0, 2]);
  const a = o.softmax(o.scaled(o.matmul(heads(q), o.t(heads(k))), 1 / Math.sqrt(d)));
  return o.reshape(o.transpose(o.matmul(a, heads(v)), [1, 0, 2]), q.shape);
}

/** x / max(|x|, eps) by rows. */
const normalised = (x: o.Nd, eps: number): o.Nd =>
  o.zip(x, o.rowSum(o.mul(x, x)), (v, squares) => v / Math.max(Math.sqrt(squares), eps));

const rms = (x: o.Nd, eps: number): o.Nd =>
  o.zip(x, o.rowSum(o.mul(x, x)), (v, squares) => v / Math.sqrt(squares / x.shape.at(-1)! + eps));

const logSoftmax = (x: o.Nd): o.Nd => o.map(o.softmax(x), Math.log);

const zero = (...shape: number[]): Drawn => ({ shape, dtype: 'float32', draw: () => 0 });

/** Samples 3 and 0 of five, and where each of the five went. */
const chosen = [3, 0];
const kept = (): ops.KeptSamples => ({
  kept: tf.tensor1d(chosen, 'int32'),
  inverse: tf.tensor1d([1, 2, 2, 0, 2], 'int32'),
});

export const opRows: Row[] = [
  {
    name: 'attention',
    inputs: { q: normal(3 * 4, 6), k: normal(5 * 4, 6), v: normal(5 * 4, 6) }, // 4 images, 2 heads of 3 channels
    run: (i) => ops.attention(i.q!, i.k!, i.v!, 4 * 2, 3),
    oracle: (i) => attended(i.q!, i.k!, i.v!, 4 * 2, 3),
  },
  {
    name: 'softCrossEntropy of targets that do not sum to one',
    inputs: { logits: normal(4, 5), targets: positive(4, 5) },
    run: (i) => ops.softCrossEntropy(i.logits!, i.targets!),
    oracle: (i) => o.scaled(o.sum(o.mul(logSoftmax(i.logits!), i.targets!), [0, 1]), -1),
    wrt: ['logits'],
  },
  {
    name: 'huberSum on both sides of its delta',
    inputs: { x: normal(6, 8), target: normal(6, 8) },
    run: (i) => ops.huberSum(i.x!, i.target!, 0.7),
    oracle: (i) => {
      const d = o.zip(i.x!, i.target!, (x, t) => Math.abs(x - t));
      return o.sum(
        o.map(d, (a) => (a <= 0.7 ? a ** 2 / 2 : 0.7 * (a - 0.35))),
        [0, 1],
      );
    },
    wrt: ['x'],
  },
  {
    name: 'geluLayer',
    inputs: { x: normal(5, 6) },
    run: (i) => ops.geluLayer(i.x!),
    oracle: (i) => o.map(i.x!, gelu),
  },
  {
    name: 'rmsNorm',
    inputs: { x: normal(5, 6) },
    run: (i) => ops.rmsNorm(i.x!, 1e-5),
    oracle: (i) => rms(i.x!, 1e-5),
  },
  {
    name: 'rmsNorm of small numbers', // where eps is as large as the mean square
    inputs: { x: normal(5, 6) },
    run: (i) => ops.rmsNorm(tf.mul(i.x!, 3e-3), 1e-5),
    oracle: (i) => rms(o.scaled(i.x!, 3e-3), 1e-5),
  },
  {
    name: 'l2Normalise',
    inputs: { x: normal(5, 6) },
    run: (i) => ops.l2Normalise(i.x!, 1e-7),
    oracle: (i) => normalised(i.x!, 1e-7),
  },
  {
    name: 'l2Normalise of zeros',
    inputs: { x: zero(2, 6) },
    run: (i) => ops.l2Normalise(i.x!, 1e-2),
    oracle: (i) => normalised(i.x!, 1e-2),
  },
  {
    name: 'linear',
    inputs: { x: normal(4, 3), w: normal(5, 3) },
    run: (i) => ops.linear(i.x!, i.w!),
    oracle: (i) => o.matmul(i.x!, o.t(i.w!)),
  },
  {
    name: 'linear to fewer channels',
    inputs: { x: normal(4, 5), w: normal(3, 5) },
    run: (i) => ops.linear(i.x!, i.w!),
    oracle: (i) => o.matmul(i.x!, o.t(i.w!)),
  },
  ...[
    [3, 5],
    [5, 3],
  ].map(
    ([into, out]): Row => ({
      name: `weightGradient from ${into} to ${out} channels`,
      inputs: { x: normal(4, into!), dy: normal(4, out!) },
      run: (i) => ops.weightGradient(i.x!, i.dy!, 0.5),
      oracle: (i) => o.scaled(o.matmul(o.t(i.dy!), i.x!), 0.5),
      wrt: [],
    }),
  ),
  ...Object.entries({ mlp: ops.mlp, mlpForward: ops.mlpForward }).map(
    ([name, run]): Row => ({
      name,
      inputs: { x: normal(4, 3), w1: normal(6, 3), w2: normal(3, 6) },
      run: (i) => run(i.x!, i.w1!, i.w2!),
      oracle: (i) => o.matmul(o.map(o.matmul(i.x!, o.t(i.w1!)), gelu), o.t(i.w2!)),
      ...(name === 'mlp' ? {} : { wrt: [] }),
    }),
  ),
  {
    name: 'gelu',
    inputs: { x: normal(3, 5) },
    run: (i) => ops.gelu(i.x!),
    oracle: (i) => o.map(i.x!, gelu),
    wrt: [],
  },
  {
    name: 'product',
    inputs: { a: normal(3, 2, 4), b: normal(5, 2, 4) },
    run: (i) => ops.product(i.a!, i.b!, { batchA: true, batchB: true, transB: true, alpha: 3 }),
    oracle: (i) => {
      const image = (x: o.Nd): o.Nd => o.transpose(x, [1, 0, 2]);
      return o.scaled(o.matmul(image(i.a!), o.t(image(i.b!))), 3);
    },
    wrt: [],
  },
  {
    name: 'rmsNormParts',
    inputs: { x: normal(5, 6), gain: positive(6) },
    run: (i) => ops.rmsNormParts(i.x!, 1e-5, i.gain)[0],
    oracle: (i) => o.mul(rms(i.x!, 1e-5), i.gain!),
    wrt: [],
  },
  {
    name: 'rotary of rows that share a table',
    inputs: { x: normal(3 * 4, 2 * 8), coords: normal(3, 2), freqs: normal(2, 8) },
    run: (i) => ops.rotary(i.x!, ops.rotaryTable(i.coords!, i.freqs!)),
    oracle: (i) => rotated(i.x!, o.matmul(i.coords!, i.freqs!)),
    wrt: ['x'],
  },
  {
    name: 'rotary with the gradient of its table',
    inputs: { x: normal(3 * 2, 2 * 4), coords: normal(6, 2), freqs: normal(2, 4) },
    run: (i) => ops.rotary(i.x!, ops.rotaryTable(i.coords!, i.freqs!), true),
    oracle: (i) => rotated(i.x!, o.matmul(i.coords!, i.freqs!)),
  },
  {
    name: 'rotaryTable',
    inputs: { coords: normal(6, 2), freqs: normal(2, 4) },
    run: (i) => {
      const { cos, signedSin } = ops.rotaryTable(i.coords!, i.freqs!);
      return [cos, signedSin];
    },
    oracle: (i) => {
      const angle = o.matmul(i.coords!, i.freqs!);
      const sign = o.nd([4], [-1, -1, 1, 1]);
      return [o.map(angle, Math.cos), o.mul(o.map(angle, Math.sin), sign)];
    },
  },
  {
    name: 'takeSamples',
    inputs: { x: normal(2, 5, 3) },
    run: (i) => ops.takeSamples(i.x!, kept()),
    oracle: (i) => o.build([2, 2, 3], ([t, n, c]) => o.at(i.x!, [t!, chosen[n!]!, c!])),
  },
  {
    name: 'spreadSamples',
    inputs: { y: normal(2, 2, 3) },
    run: (i) => ops.spreadSamples(i.y!, kept()),
    oracle: (i) =>
      o.build([2, 5, 3], ([t, b, c]) => (chosen.includes(b!) ? o.at(i.y!, [t!, chosen.indexOf(b!), c!]) : 0)),
  },
  {
    name: 'flat',
    inputs: { a: normal(3, 4), b: normal(5) },
    run: (i) => ops.flat([i.a!, i.b!]),
    oracle: (i) => o.nd([17], [...i.a!.data, ...i.b!.data]),
    wrt: [], // nothing is differentiated through the optimiser's rows
  },
  {
    name: 'unflat',
    inputs: { x: normal(17) },
    run: (i) => ops.unflat(i.x!, [[3, 4], [5]]),
    oracle: (i) => [o.nd([3, 4], i.x!.data.slice(0, 12)), o.nd([5], i.x!.data.slice(12))],
    wrt: [],
  },
  {
    name: 'repeatRows',
    inputs: { x: normal(3, 4) },
    run: (i) => ops.repeatRows(i.x!, 5),
    oracle: (i) => o.build([15, 4], ([r, c]) => o.at(i.x!, [Math.floor(r! / 5), c!])),
  },
];
