// Conformance rows of the reductions, over every kind of axes that lowers in a way of its own.

import { type Tensor, tf } from '../../../src/tensor/tf.js';
import * as o from '../float64.js';
import { indices, moved, normal, positive, type Row, unary } from './row.js';

const axesCases: [name: string, shape: number[], axes: number[], keepDims: boolean][] = [
  ['of everything', [3, 4], [0, 1], false],
  ['of a vector', [7], [0], false],
  ['over rows', [3, 4, 5], [2], true],
  ['over the last two', [3, 4, 5], [1, 2], false],
  ['over the first', [3, 4, 5], [0], false],
  ['over the first two', [3, 4, 5], [0, 1], true],
  ['over the middle', [3, 4, 5], [1], false],
  ['over the outer two', [3, 4, 5], [0, 2], true],
];

function reduction(
  kernel: string,
  run: (x: Tensor, axes: number[], keepDims: boolean) => Tensor,
  oracle: (x: o.Nd, axes: number[], keepDims: boolean) => o.Nd,
  wrt?: string[],
): Row[] {
  return axesCases.map(([name, shape, axes, keepDims]) => ({
    name: `${kernel} ${name}`,
    inputs: { x: normal(...shape) },
    run: (i) => run(i.x!, axes, keepDims),
    oracle: (i) => oracle(i.x!, axes, keepDims),
    ...(wrt ? { wrt } : {}),
  }));
}

export const reductions: Row[] = [
  ...reduction('Sum', tf.sum, o.sum),
  ...reduction('Mean', tf.mean, (x, axes, keep) =>
    o.scaled(o.sum(x, axes, keep), 1 / axes.reduce((n, a) => n * x.shape[a]!, 1)),
  ),
  ...reduction('Max', tf.max, (x, axes, keep) => o.reduce(x, axes, keep, Math.max, Number.NEGATIVE_INFINITY)),
  ...reduction('Min', tf.min, (x, axes, keep) => o.reduce(x, axes, keep, Math.min, Number.POSITIVE_INFINITY)),
  ...reduction('Prod', tf.prod, (x, axes, keep) => o.reduce(x, axes, keep, (a, b) => a * b, 1), []),
  moved(
    'Sum of int32',
    indices(9, 3, 4),
    (x) => tf.cast(tf.sum(x, 1), 'float32'),
    (x) => o.sum(x, [1]),
  ),
  {
    name: 'Sum of many', // one after another in float32 would lose five digits
    inputs: { x: positive(300, 500) },
    run: (i) => tf.sum(i.x!),
    oracle: (i) => o.sum(i.x!, [0, 1]),
    wrt: [],
  },
  unary('Softmax of large numbers', (x) => tf.softmax(tf.mul(x, 1000)), Number.NaN as never, {
    oracle: (i) => o.softmax(o.scaled(i.x!, 1000)),
    wrt: [],
    tolerance: 1e-4, // a logit of 2,000 in float32 is good to 1e-4
  }),
  unary('Softmax', (x) => tf.softmax(x), Number.NaN as never, { oracle: (i) => o.softmax(i.x!) }),
];
