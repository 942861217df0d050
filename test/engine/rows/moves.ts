// Conformance rows of the kernels that move data.

import { flat, unflat } from '../../../src/tensor/ops/index.js';
import { tf } from '../../../src/tensor/tf.js';
import * as o from '../float64.js';
import { indices, moved, normal, type Row } from './row.js';

export const moves: Row[] = [
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
  ),
  moved(
    'Transpose of patches',
    normal(2, 2, 3, 2, 3, 2),
    (x) => tf.transpose(x, [1, 3, 0, 5, 2, 4]),
    (x) => o.transpose(x, [1, 3, 0, 5, 2, 4]),
  ),
  moved(
    'Slice',
    normal(4, 5, 6),
    (x) => tf.slice(x, [1, 0, 2], [2, -1, 3]),
    (x) => o.build([2, 5, 3], ([i, j, k]) => o.at(x, [i! + 1, j!, k! + 2])),
  ),
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
  ),
  moved(
    'Tile',
    normal(3, 1, 4),
    (x) => tf.tile(x, [1, 5, 1]),
    (x) => o.build([3, 5, 4], (i) => o.at(x, i)),
  ),
  {
    name: 'Flat',
    inputs: { a: normal(3, 4), b: normal(5), c: normal(2, 1, 3) },
    run: (i) => flat([i.a!, i.b!, i.c!]),
    oracle: (i) => o.nd([23], [...i.a!.data, ...i.b!.data, ...i.c!.data]),
    wrt: [],
  },
  {
    name: 'Unflat',
    inputs: { x: normal(23) },
    run: (i) => unflat(i.x!, [[3, 4], [5], [2, 1, 3]]),
    oracle: (i) => [
      o.nd([3, 4], i.x!.data.slice(0, 12)),
      o.nd([5], i.x!.data.slice(12, 17)),
      o.nd([2, 1, 3], i.x!.data.slice(17)),
    ],
    wrt: [],
  },
  moved(
    'Unflat of one',
    normal(12),
    (x) => unflat(x, [[3, 4]])[0]!,
    (x) => o.reshape(x, [3, 4]),
    [],
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
  {
    name: 'TopK with equal values',
    inputs: { x: { shape: [4, 12], dtype: 'float32', draw: (r) => r.int(4) } },
    run: (i) => {
      const { values, indices } = tf.topk(i.x!, 5);
      return [values, tf.cast(indices, 'float32')];
    },
    oracle: ({ x }) => {
      const orders = Array.from({ length: 4 }, (_, row) =>
        [...Array(12).keys()]
          .sort((a, b) => o.at(x!, [row, b]) - o.at(x!, [row, a]) || a - b) // the smaller index comes first
          .slice(0, 5),
      );
      return [
        o.build([4, 5], ([r, j]) => o.at(x!, [r!, orders[r!]![j!]!])),
        o.build([4, 5], ([r, j]) => orders[r!]![j!]!),
      ];
    },
    wrt: [],
    tolerance: 0,
  },
];
