// The table of kernels: for each kernel of the onnx engine's rules at least one row, which calls it as the product does.

import { gelu, product, rmsNormParts, rotary, rotaryTable } from '../../src/tensor/ops/index.js';
import { type Tensor, tf } from '../../src/tensor/tf.js';
import * as o from './float64.js';
import { type Drawn, indices, normal, positive, type Row } from './rows.js';

type Op2 = (a: Tensor, b: Tensor) => Tensor;
type Op1 = (x: Tensor) => Tensor;

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

const unary = (
  kernel: string,
  run: Op1,
  f: (x: number) => number,
  row: Partial<Row> & { draw?: typeof normal } = {},
): Row => {
  const { draw = normal, ...rest } = row;
  return {
    name: kernel,
    inputs: { x: draw(3, 5) },
    run: (i) => run(i.x!),
    oracle: (i) => o.map(i.x!, f),
    ...rest,
  };
};

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

const moved = (
  name: string,
  x: Drawn,
  run: Op1,
  oracle: (x: o.Nd) => o.Nd | o.Nd[],
  wrt?: string[],
): Row => ({
  name,
  inputs: { x },
  run: (i) => run(i.x!),
  oracle: (i) => oracle(i.x!),
  ...(wrt ? { wrt } : {}),
  tolerance: 0, // moves copy
});

/** TensorFlow.js has no gradient of these for operands of different shapes, and the product differentiates none of them. */
const forwardOnly = { wrt: [] };

const elementwise: Row[] = [
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
  ), // prettier-ignore
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
  ), // prettier-ignore
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

const moves: Row[] = [
  moved(
    'Reshape',
    normal(3, 4),
    (x) => tf.reshape(x, [2, -1]),
    (x) => o.reshape(x, [2, 6]),
  ),
  moved(
    'ExpandDims',
    normal(3, 4),
    (x) => tf.expandDims(x, -1),
    (x) => o.reshape(x, [3, 4, 1]),
  ),
  moved(
    'Transpose',
    normal(3, 4),
    (x) => tf.transpose(x),
    (x) => o.t(x),
  ),
  moved(
    'Transpose to image first',
    normal(2, 3, 4),
    (x) => tf.transpose(x, [1, 0, 2]),
    (x) => o.transpose(x, [1, 0, 2]),
  ), // prettier-ignore
  moved(
    'Transpose of patches',
    normal(2, 2, 3, 2, 3, 2),
    (x) => tf.transpose(x, [1, 3, 0, 5, 2, 4]),
    (x) => o.transpose(x, [1, 3, 0, 5, 2, 4]),
  ), // prettier-ignore
  moved(
    'Slice',
    normal(4, 5, 6),
    (x) => tf.slice(x, [1, 0, 2], [2, -1, 3]),
    (x) => o.build([2, 5, 3], ([i, j, k]) => o.at(x, [i! + 1, j!, k! + 2])),
  ), // prettier-ignore
  moved(
    'Slice of nothing',
    normal(4, 5),
    (x) => tf.slice(x, [0, 0], [4, 5]),
    (x) => x,
  ),
  moved(
    'PadV2',
    normal(2, 3),
    (x) =>
      tf.pad(
        x,
        [
          [1, 0],
          [0, 2],
        ],
        7,
      ),
    (x) => o.build([3, 5], ([i, j]) => (i! < 1 || j! > 2 ? 7 : o.at(x, [i! - 1, j!]))),
  ), // prettier-ignore
  moved(
    'Tile',
    normal(3, 1, 4),
    (x) => tf.tile(x, [1, 5, 1]),
    (x) => o.build([3, 5, 4], (i) => o.at(x, i)),
  ),
  {
    name: 'SplitV',
    inputs: { x: normal(4, 6) },
    run: (i) => tf.split(i.x!, [1, 2, 3], 1),
    oracle: (i) => [0, 1, 3].map((start, n) => o.build([4, n + 1], ([r, c]) => o.at(i.x!, [r!, c! + start]))),
    tolerance: 0,
  },
  ...[0, 1, 2].map((axis): Row => {
    const shape = (d: number): number[] => [2, 3, 4].map((n, i) => (i === axis ? d : n));
    const second = (index: number[]): number[] => index.map((n, i) => (i === axis ? n - 2 : n));
    return {
      name: `Concat on axis ${axis}`,
      inputs: { a: normal(...shape(2)), b: normal(...shape(5)) },
      run: (i) => tf.concat([i.a!, i.b!], axis),
      oracle: (i) => o.build(shape(7), (n) => (n[axis]! < 2 ? o.at(i.a!, n) : o.at(i.b!, second(n)))),
      tolerance: 0,
    };
  }),
  {
    name: 'GatherV2 of rows',
    inputs: { x: normal(5, 3), rows: indices(5, 7) },
    run: (i) => tf.gather(i.x!, i.rows as never),
    oracle: (i) => o.build([7, 3], ([r, c]) => o.at(i.x!, [i.rows!.data[r!]!, c!])),
    wrt: [],
    tolerance: 0,
  },
  {
    name: 'GatherV2 of samples',
    inputs: { x: normal(2, 5, 3), samples: indices(5, 4) },
    run: (i) => tf.gather(i.x!, i.samples as never, 1),
    oracle: (i) => o.build([2, 4, 3], ([p, n, c]) => o.at(i.x!, [p!, i.samples!.data[n!]!, c!])),
    wrt: [],
    tolerance: 0,
  },
];

const reductions: Row[] = [
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
  unary('Softmax', (x) => tf.softmax(x), Number.NaN as never, { oracle: (i) => o.softmax(i.x!) }),
];

const flags = [false, true];
/** Stored as [rows, batch, cols] if `batch`, with rows and cols exchanged if `trans`. */
const stored = (rows: number, cols: number, trans: boolean, batch: boolean): number[] => {
  const [r, c] = trans ? [cols, rows] : [rows, cols];
  return batch ? [r, 2, c] : [2, r, c];
};
const operand = (x: o.Nd, trans: boolean, batch: boolean): o.Nd => {
  const b = batch ? o.transpose(x, [1, 0, 2]) : x;
  return trans ? o.t(b) : b;
};

const products: Row[] = [
  ...flags.flatMap((ta) =>
    flags.flatMap((tb) => [
      {
        name: `BatchMatMul ${ta ? 'a^T' : 'a'} ${tb ? 'b^T' : 'b'}`,
        inputs: { a: normal(...(ta ? [4, 3] : [3, 4])), b: normal(...(tb ? [5, 4] : [4, 5])) },
        run: (i) => tf.matMul(i.a as never, i.b as never, ta, tb),
        oracle: (i) => o.matmul(ta ? o.t(i.a!) : i.a!, tb ? o.t(i.b!) : i.b!),
      } satisfies Row,
      {
        name: `BatchMatMul ${ta ? 'a^T' : 'a'} ${tb ? 'b^T' : 'b'} with batch axes`,
        inputs: { a: normal(2, 3, ...(ta ? [4, 3] : [3, 4])), b: normal(2, 3, ...(tb ? [5, 4] : [4, 5])) },
        run: (i) => tf.matMul(i.a as never, i.b as never, ta, tb),
        oracle: (i) => o.matmul(ta ? o.t(i.a!) : i.a!, tb ? o.t(i.b!) : i.b!),
      } satisfies Row,
    ]),
  ),
  {
    name: 'BatchMatMul of one matrix with many',
    inputs: { a: normal(3, 4, 5), b: normal(5, 6) },
    run: (i) => tf.matMul(i.a as never, i.b as never),
    oracle: (i) => o.matmul(i.a!, i.b!),
    wrt: [],
  },
  ...flags.flatMap((transA) =>
    flags.flatMap((transB) =>
      flags.flatMap((batchA) =>
        flags.map((batchB): Row => {
          const alpha = 0.375;
          const options = { transA, transB, batchA, batchB, alpha };
          const on = Object.entries(options).filter(([, v]) => v === true);
          return {
            name: `Product ${on.map(([k]) => k).join(' ')}`.trim(),
            inputs: {
              a: normal(...stored(3, 4, transA, batchA)),
              b: normal(...stored(4, 5, transB, batchB)),
            },
            run: (i) => product(i.a!, i.b!, options),
            oracle: (i) =>
              o.scaled(o.matmul(operand(i.a!, transA, batchA), operand(i.b!, transB, batchB)), alpha),
            wrt: [],
          };
        }),
      ),
    ),
  ),
];

const composites: Row[] = [
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

export const kernelRows: Row[] = [...elementwise, ...moves, ...reductions, ...products, ...composites];

/** The kernel that a row is about: the first word of its name. */
export const kernelOf = (row: Row): string => row.name.split(' ')[0]!;
