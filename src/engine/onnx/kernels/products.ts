// Rules of the matrix products: TensorFlow.js's own and the composite one that reads batches from the middle axis.
import { tf } from '../../../tensor/tf.js';
import type { Attrs, Node, Value } from '../../graph/ir.js';
import { elements } from '../../program.js';
import { defineRule, type Typed } from '../rules.js';

/** The operand as [...batch, rows, cols]; `batch` says that it is stored [rows, batch..., cols]. */
const view = (shape: number[], batch: boolean): number[] =>
  batch ? [...shape.slice(1, -1), shape[0]!, shape[shape.length - 1]!] : shape;

function productShape(values: Value[], attrs: Attrs): Typed[] {
  const a = view(values[0]!.shape, Boolean(attrs.batchA));
  const b = view(values[1]!.shape, Boolean(attrs.batchB));
  const [ka, kb] = [a.at(attrs.transA ? -2 : -1)!, b.at(attrs.transB ? -1 : -2)!];
  if (ka !== kb)
    throw new Error(`product of [${values[0]!.shape}] and [${values[1]!.shape}]: ${ka} != ${kb}`);
  const batch = tf.backend_util.assertAndGetBroadcastShape(a.slice(0, -2), b.slice(0, -2));
  return [[[...batch, a.at(attrs.transA ? -1 : -2)!, b.at(attrs.transB ? -2 : -1)!], 'float32']];
}

/** Channels that each element of a product is a sum over. */
export function summedChannels({ inputs, attrs }: Node): number {
  return view(inputs[0]!.shape, Boolean(attrs.batchA)).at((attrs.transA ?? attrs.transposeA) ? -2 : -1)!;
}

export const productFlop = (node: Node): number =>
  2 * elements(node.outputs[0]!.shape) * summedChannels(node);

/** alpha * op(a) @ op(b). Attributes transA, transB, batchA, batchB, alpha; see tensor/ops/product.ts. */
defineRule('Product', {
  inputs: ['a', 'b'],
  infer: productShape,
  lower: (b, node, names) => [
    b.node(
      'FusedMatMul',
      names,
      {
        transA: node.attrs.transA ? 1 : 0,
        transB: node.attrs.transB ? 1 : 0,
        transBatchA: node.attrs.batchA ? 1 : 0,
        transBatchB: node.attrs.batchB ? 1 : 0,
        alpha: { f: (node.attrs.alpha as number | undefined) ?? 1 },
      },
      'com.microsoft',
    ),
  ],
  flop: productFlop,
});

defineRule('BatchMatMul', {
  inputs: ['a', 'b'],
  foldable: true,
  infer: (values, attrs) => productShape(values, { transA: attrs.transposeA, transB: attrs.transposeB }),
  lower: (b, node, names) => [
    b.node(
      'FusedMatMul',
      names,
      { transA: node.attrs.transposeA ? 1 : 0, transB: node.attrs.transposeB ? 1 : 0, alpha: { f: 1 } },
      'com.microsoft',
    ),
  ],
  flop: productFlop,
});

/** alpha * op(a) @ op(b) + c, all 2-D (c may be one row [n]): what the product pass makes of a product and an addition. */
defineRule('ProductAdd', {
  inputs: ['a', 'b', 'c'],
  infer: (values, attrs) => productShape(values, attrs),
  lower: (b, node, names) => [
    b.node('Gemm', names, {
      transA: node.attrs.transA ? 1 : 0,
      transB: node.attrs.transB ? 1 : 0,
      alpha: { f: (node.attrs.alpha as number | undefined) ?? 1 },
      beta: { f: 1 },
    }),
  ],
  flop: (n) => productFlop(n) + elements(n.outputs[0]!.shape),
});
