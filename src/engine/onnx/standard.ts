// Lowering of the fused kernels to operators of the ONNX standard, for files that any runtime can read.

import type { Node } from '../graph/ir.js';
import { productFlags } from '../graph/kernels.js';
import { elements } from '../program.js';
import type { OnnxBuilder } from './builder.js';
import { alphaOf, type Lower, type Lowerings, lowerSum, meanBy } from './lowerings.js';

const product: Lower = (b, node, names) => {
  const { transA, transB, batchA, batchB } = productFlags(node.attrs);
  const alpha = alphaOf(node);
  const [a, c] = node.inputs as [Node['inputs'][0], Node['inputs'][0]];
  if (a.shape.length === 2 && c.shape.length === 2) {
    return [b.node('Gemm', names, { transA: transA ? 1 : 0, transB: transB ? 1 : 0, alpha: { f: alpha } })];
  }
  const left = asMatrices(b, names[0]!, a.shape.length, transA, batchA);
  const right = asMatrices(b, names[1]!, c.shape.length, transB, batchB);
  if (alpha === 1) return [b.node('MatMul', [left, right])];
  // The scale goes where there is less to multiply.
  if (elements(a.shape) <= elements(node.outputs[0]!.shape)) {
    return [b.node('MatMul', [b.node('Mul', [left, b.f32(alpha)]), right])];
  }
  return [b.node('Mul', [b.node('MatMul', [left, right]), b.f32(alpha)])];
};

/** An operand as [...batch, rows, columns]; see ProductFlags. */
function asMatrices(b: OnnxBuilder, x: string, rank: number, trans: boolean, batch: boolean): string {
  const axes = Array.from({ length: rank }, (_, i) => i);
  let perm = batch ? [...axes.slice(1, -1), 0, rank - 1] : axes;
  if (trans) perm = [...perm.slice(0, -2), perm[rank - 1]!, perm[rank - 2]!];
  return perm.every((p, i) => p === i) ? x : b.node('Transpose', [x], { perm });
}

const sum: Lower = (b, node, names) =>
  lowerSum(b, node, names, (left, right, transA) =>
    b.node('Gemm', [left, right], { transA, transB: 0, alpha: { f: 1 } }),
  );

/** What takes the place of the lowerings with operators of onnxruntime's own. The forms are those that onnxruntime fuses again. */
export const standardLowerings = {
  Product: product,
  BatchMatMul: product,
  Sum: sum,
  Mean: meanBy(sum),
  RmsNorm: (b, node, [x, gain]) => {
    const square = b.node('Pow', [x!, b.f32(2)]);
    const mean = b.node('ReduceMean', [square, b.i64([-1])], { keepdims: 1 });
    const rms = b.node('Sqrt', [b.node('Add', [mean, b.f32(node.attrs.eps as number)])]);
    const y = b.node('Div', [x!, rms]);
    return [gain ? b.node('Mul', [y, gain]) : y, b.node('Reciprocal', [rms])];
  },
  Gelu: (b, _node, [x]) => {
    const c = b.node('Add', [b.node('Erf', [b.node('Div', [x!, b.f32(Math.SQRT2)])]), b.f32(1)]);
    return [b.node('Mul', [b.node('Mul', [x!, c]), b.f32(0.5)])];
  },
} satisfies Lowerings;
