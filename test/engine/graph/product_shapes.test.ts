// The distinct matrix products of a graph: sizes, layouts and counts, against a graph made by hand.

import { expect, it } from 'vitest';
import { optimise } from '../../../src/engine/graph/passes/index.js';
import { productFlopOf, productShapes } from '../../../src/engine/graph/product_shapes.js';
import { trace } from '../../../src/engine/graph/trace.js';
import type { Program } from '../../../src/engine/program.js';
import { product } from '../../../src/tensor/ops/index.js';
import { type Tensor, tf } from '../../../src/tensor/tf.js';

const float = (shape: number[]) => ({ shape, dtype: 'float32' as const });

it('counts equal products once, whatever their scale or addend', () => {
  const program: Program = {
    name: 'products',
    inputs: { x: float([6, 4]), w: float([5, 4]), v: float([5, 4]), q: float([7, 2, 3]), c: float([6, 5]) },
    state: [],
    run: (i) => {
      const scaled = tf.mul(product(i.x!, i.w!, { transB: true }), 3);
      const added = tf.add(product(i.x!, i.v!, { transB: true }), i.c!);
      // Two images in the middle axis: [7, 2, 3] stands for 2 times [7, 3].
      const scores = product(i.q!, i.q!, { batchA: true, batchB: true, transB: true });
      return { scaled, added, scores } as Record<string, Tensor>;
    },
  };
  const shapes = productShapes(optimise(trace(program)));
  const plain = { transA: false, transB: true, batchA: false, batchB: false };
  expect(shapes).toEqual(
    [
      {
        m: 7,
        k: 3,
        n: 7,
        batch: 2,
        a: [7, 2, 3],
        b: [7, 2, 3],
        ...plain,
        batchA: true,
        batchB: true,
        count: 1,
      },
      { m: 6, k: 4, n: 5, batch: 1, a: [6, 4], b: [5, 4], ...plain, count: 2 },
    ].sort((x, y) => y.count * productFlopOf(y) - x.count * productFlopOf(x)),
  );
  expect(shapes.map((s) => s.count * productFlopOf(s)).reduce((a, b) => a + b)).toBe(
    2 * 2 * 7 * 3 * 7 + 2 * 2 * 6 * 4 * 5,
  );
});
