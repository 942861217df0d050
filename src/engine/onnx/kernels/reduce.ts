// Rules of the reductions and the softmax family.
import { tf } from '../../../tensor/tf.js';
import type { Attrs, Node, Value } from '../../graph/ir.js';
import { elements } from '../../program.js';
import type { OnnxBuilder } from '../builder.js';
import { defineRule, type Typed } from '../rules.js';

/** The axes of a reduction: the attribute is `reductionIndices` on Max and `axis` on the others. */
const axesOf = (x: Value, attrs: Attrs): number[] =>
  tf.util.parseAxisParam((attrs.axis ?? attrs.reductionIndices) as number | number[], x.shape);

function reduced(values: Value[], attrs: Attrs): Typed[] {
  const x = values[0]!;
  const axes = axesOf(x, attrs);
  const shape = attrs.keepDims
    ? x.shape.map((d, i) => (axes.includes(i) ? 1 : d))
    : x.shape.filter((_, i) => !axes.includes(i));
  return [[shape, x.dtype]];
}

const onnxReduce = (op: string) => (b: OnnxBuilder, node: Node, names: string[]) => [
  b.node(op, [names[0]!, b.i64(axesOf(node.inputs[0]!, node.attrs))], {
    keepdims: node.attrs.keepDims ? 1 : 0,
  }),
];

const inputFlop = (n: Node): number => elements(n.inputs[0]!.shape);

for (const [kernel, op] of [
  ['Max', 'ReduceMax'],
  ['Min', 'ReduceMin'],
  ['Prod', 'ReduceProd'],
] as const) {
  defineRule(kernel, {
    inputs: ['x'],
    foldable: true,
    infer: reduced,
    lower: onnxReduce(op),
    flop: inputFlop,
  });
}

/**
 * Sums over trailing or leading axes become products with a vector of ones: about twice as fast as ReduceSum, and a full
 * sum is done in two stages because one long ReduceSum loses five digits.
 */
export function lowerSum(
  b: OnnxBuilder,
  node: Node,
  names: string[],
  product = (l: string, r: string, transA: number): string =>
    b.node('FusedMatMul', [l, r], { transA, transB: 0, alpha: { f: 1 } }, 'com.microsoft'),
): string[] {
  const x = node.inputs[0]!;
  const axes = axesOf(x, node.attrs).sort((p, q) => p - q);
  const out = node.outputs[0]!.shape;
  const rank = x.shape.length;
  if (x.dtype !== 'float32' || axes.length === 0) return onnxReduce('ReduceSum')(b, node, names);
  const ones = (n: number): string => b.node('Expand', [b.f32(1), b.i64([n, 1])]);
  const size = elements(x.shape);
  if (axes.length === rank && rank > 0) {
    const cols = x.shape[rank - 1]!;
    const rows = size / cols;
    const perRow = product(b.reshape(names[0]!, [rows, cols]), ones(cols), 0);
    return [b.reshape(product(perRow, ones(rows), 1), out)];
  }
  const trailing = axes.every((a, i) => a === rank - axes.length + i);
  if (trailing) {
    const cols = axes.reduce((n, a) => n * x.shape[a]!, 1);
    return [b.reshape(product(b.reshape(names[0]!, [size / cols, cols]), ones(cols), 0), out)];
  }
  const leading = axes.every((a, i) => a === i);
  if (leading) {
    const rows = axes.reduce((n, a) => n * x.shape[a]!, 1);
    const sum = product(ones(rows), b.reshape(names[0]!, [rows, size / rows]), 1);
    return [b.reshape(sum, out)];
  }
  return onnxReduce('ReduceSum')(b, node, names);
}

defineRule('Sum', { inputs: ['x'], foldable: true, infer: reduced, lower: lowerSum, flop: inputFlop });

defineRule('Mean', {
  inputs: ['x'],
  foldable: true,
  infer: reduced,
  lower: (b, node, names) => {
    const count = elements(node.inputs[0]!.shape) / Math.max(1, elements(node.outputs[0]!.shape));
    return [b.node('Mul', [lowerSum(b, node, names)[0]!, b.f32(1 / count)])];
  },
  flop: inputFlop,
});

defineRule('Softmax', {
  inputs: ['logits'],
  foldable: true,
  infer: ([x]) => [[x!.shape, 'float32']],
  lower: (b, node, names) => [
    b.node('Softmax', names, {
      axis: tf.util.parseAxisParam(node.attrs.dim as number, node.inputs[0]!.shape)[0]!,
    }),
  ],
  flop: (n) => 5 * inputFlop(n),
});
