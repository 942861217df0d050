// Conformance rows of the element-wise kernels.

import { type Tensor, tf } from '../../../src/tensor/tf.js';
import * as o from '../float64.js';
import { type Drawn, indices, moved, normal, positive, type Row, unary } from './row.js';

type Op2 = (a: Tensor, b: Tensor) => Tensor;

/** Shapes of the two operands of an element-wise kernel: equal, and the ways of broadcasting that the product uses. */
const pairs: Record<string, [number[], number[]]> = {
  '': [
    [3, 4],
    [3, 4],
  ],
  'with a row': [[3, 4], [4]],
  'with a column': [
    [3, 4],
    [3, 1],
  ],
  'of a scalar': [[], [3, 4]],
  'inside a batch': [
    [2, 3, 4],
    [2, 1, 4],
  ],
};

function binary(
  kernel: string,
  run: Op2,
  f: (x: number, y: number) => number,
  { draw = normal, ...rest }: Partial<Row> & { draw?: typeof normal } = {},
): Row[] {
  return Object.entries(pairs).map(([name, [a, b]]) => ({
    name: `${kernel} ${name}`.trim(),
    inputs: { a: draw(...a), b: draw(...b) },
    run: (i) => run(i.a!, i.b!),
    oracle: (i) => o.zip(i.a!, i.b!, f),
    ...rest,
  }));
}

/** A comparison, as float32 zeros and ones; small whole numbers, so that equal ones occur. */
function comparison(kernel: string, run: Op2, f: (x: number, y: number) => boolean): Row[] {
  return [
    indices,
    (below: number, ...shape: number[]): Drawn => ({ ...indices(below, ...shape), dtype: 'float32' }),
  ].map((draw, i) => ({
    name: `${kernel} of ${i === 0 ? 'int32' : 'float32'}`,
    inputs: { a: draw(3, 3, 4), b: draw(3, 3, 4) },
    run: (i) => tf.cast(run(i.a!, i.b!), 'float32'),
    oracle: (i) => o.zip(i.a!, i.b!, (x, y) => Number(f(x, y))),
    wrt: [],
  }));
}

/** TensorFlow.js has no gradient of these for operands of different shapes, and the product differentiates none of them. */
const forwardOnly = { wrt: [] };

export const elementwise: Row[] = [
  ...binary('Add', tf.add, (x, y) => x + y),
  ...binary('Sub', tf.sub, (x, y) => x - y),
  ...binary('Multiply', tf.mul, (x, y) => x * y),
  ...binary('RealDiv', tf.div, (x, y) => x / y, { draw: positive }),
  ...binary('Maximum', tf.maximum, Math.max, forwardOnly),
  ...binary('Minimum', tf.minimum, Math.min, forwardOnly),
  ...binary('Pow', tf.pow, (x, y) => x ** y, { draw: positive }),
  ...binary('SquaredDifference', tf.squaredDifference, (x, y) => (x - y) ** 2, forwardOnly),
  ...comparison('Greater', tf.greater, (x, y) => x > y),
  ...comparison('Less', tf.less, (x, y) => x < y),
  ...comparison('Equal', tf.equal, (x, y) => x === y),
  unary('Exp', tf.exp, Math.exp),
  unary('Log', tf.log, Math.log, { draw: positive }),
  unary('Sqrt', tf.sqrt, Math.sqrt, { draw: positive }),
  unary('Rsqrt', tf.rsqrt, (x) => 1 / Math.sqrt(x), { draw: positive }),
  unary('Neg', tf.neg, (x) => -x, { tolerance: 0 }),
  unary('Erf', tf.erf, o.erf),
  unary('Erf of large numbers', (x) => tf.erf(tf.mul(tf.add(tf.abs(x), 4), x)), Math.sign, {
    draw: (...shape) => ({ shape, dtype: 'float32', draw: (r) => (r.int(2) ? 1 : -1) * r.uniform(1, 9) }),
    wrt: [],
  }),
  unary(
    'Exp of very small and large numbers',
    (x) => tf.exp(tf.mul(x, 40)),
    (x) => Math.exp(40 * x),
    {
      draw: (...shape) => ({ shape, dtype: 'float32', draw: (r) => r.uniform(-2.5, 2) }),
      tolerance: 2e-5, // an exponent of 80 in float32 is good to 5e-6, and so is what comes out
      wrt: [],
    },
  ),
  unary('Sin', tf.sin, Math.sin),
  unary('Cos', tf.cos, Math.cos),
  unary('Tanh', tf.tanh, Math.tanh),
  unary('Reciprocal', tf.reciprocal, (x) => 1 / x, { draw: positive }),
  unary('Abs', tf.abs, Math.abs, { tolerance: 0, wrt: [] }),
  unary('Square', tf.square, (x) => x * x),
  {
    name: 'AddN',
    inputs: { a: normal(3, 4), b: normal(3, 4), c: normal(3, 4) },
    run: (i) => tf.addN([i.a!, i.b!, i.c!] as never[]),
    oracle: (i) => o.add(o.add(i.a!, i.b!), i.c!),
  },
  {
    name: 'Select',
    inputs: { a: normal(3, 4), b: normal(3, 4) },
    run: (i) => tf.where(tf.greater(i.a!, i.b!), i.a!, tf.neg(i.b!)),
    oracle: (i) => o.zip(i.a!, i.b!, (x, y) => (x > y ? x : -y)),
    wrt: [],
    tolerance: 0,
  },
  moved(
    'Cast to int32',
    normal(4, 5),
    (x) => tf.cast(tf.cast(tf.mul(x, 4), 'int32'), 'float32'),
    (x) => o.map(x, (v) => Math.trunc(4 * v)),
    [],
  ),
  moved(
    'Cast of int32',
    indices(9, 5),
    (x) => tf.cast(x, 'float32'),
    (x) => x,
  ),
  moved(
    'Cast of bool',
    normal(9),
    (x) => tf.cast(tf.greater(x, 0), 'float32'),
    (x) => o.map(x, (v) => Number(v > 0)),
    [],
  ),
  moved(
    'Identity',
    normal(4),
    (x) => tf.clone(x),
    (x) => x,
  ),
  moved(
    'ZerosLike',
    normal(2, 3),
    (x) => tf.zerosLike(x),
    (x) => o.map(x, () => 0),
    [],
  ),
  moved(
    'OnesLike',
    normal(2, 3),
    (x) => tf.onesLike(x),
    (x) => o.map(x, () => 1),
    [],
  ),
  moved(
    'Fill',
    normal(2, 3),
    (x) => tf.add(tf.fill([2, 3], 0.5), tf.mul(x, 0)),
    (x) => o.map(x, () => 0.5),
    [],
  ),
];
