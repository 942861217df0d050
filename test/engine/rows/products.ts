// Conformance rows of the matrix products, in every combination of their flags.

import { product } from '../../../src/tensor/ops/index.js';
import { tf } from '../../../src/tensor/tf.js';
import * as o from '../float64.js';
import { normal, type Row } from './row.js';

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

export const products: Row[] = [
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
  // What the product pass makes of a product and an addition.
  ...[[5], [3, 5]].flatMap((shape) =>
    flags.map(
      (transB): Row => ({
        name: `ProductAdd of ${shape.length === 1 ? 'a row' : 'a matrix'}${transB ? ' transB' : ''}`,
        inputs: { a: normal(3, 4), b: normal(...(transB ? [5, 4] : [4, 5])), c: normal(...shape) },
        run: (i) => tf.add(i.c!, product(i.a!, i.b!, { transB, alpha: 0.375 })),
        oracle: (i) => o.add(o.scaled(o.matmul(i.a!, transB ? o.t(i.b!) : i.b!), 0.375), i.c!),
        wrt: [],
      }),
    ),
  ),
];
