// Rules of the element-wise kernels: one ONNX node each, NumPy broadcasting.
import { tf } from '../../../tensor/tf.js';
import type { DType, Node } from '../../graph/ir.js';
import { elements } from '../../program.js';
import { defineRule } from '../rules.js';

const broadcast = (a: number[], b: number[]): number[] => tf.backend_util.assertAndGetBroadcastShape(a, b);

function binary(kernel: string, op: string, out?: DType): void {
  defineRule(kernel, {
    inputs: ['a', 'b'],
    foldable: true,
    infer: ([a, b]) => [[broadcast(a!.shape, b!.shape), out ?? a!.dtype]],
    lower: (b, _node, names) => [b.node(op, names)],
  });
}
binary('Add', 'Add');
binary('Sub', 'Sub');
binary('Multiply', 'Mul');
binary('RealDiv', 'Div');
binary('Maximum', 'Max');
binary('Minimum', 'Min');
binary('Pow', 'Pow');
binary('Greater', 'Greater', 'bool');
binary('Less', 'Less', 'bool');
binary('Equal', 'Equal', 'bool');

function unary(kernel: string, op: string): void {
  defineRule(kernel, {
    inputs: ['x'],
    foldable: true,
    infer: ([x]) => [[x!.shape, x!.dtype]],
    lower: (b, _node, names) => [b.node(op, names)],
  });
}
for (const [kernel, op] of [
  ['Exp', 'Exp'],
  ['Log', 'Log'],
  ['Sqrt', 'Sqrt'],
  ['Neg', 'Neg'],
  ['Erf', 'Erf'],
  ['Sin', 'Sin'],
  ['Cos', 'Cos'],
  ['Tanh', 'Tanh'],
  ['Reciprocal', 'Reciprocal'],
  ['Abs', 'Abs'],
] as const) {
  unary(kernel, op);
}

defineRule('Square', {
  inputs: ['x'],
  foldable: true,
  infer: ([x]) => [[x!.shape, x!.dtype]],
  lower: (b, _node, [x]) => [b.node('Mul', [x!, x!])],
});

defineRule('Rsqrt', {
  inputs: ['x'],
  foldable: true,
  infer: ([x]) => [[x!.shape, x!.dtype]],
  lower: (b, _node, [x]) => [b.node('Reciprocal', [b.node('Sqrt', [x!])])],
  flop: (n) => 2 * elements(n.outputs[0]!.shape),
});

defineRule('SquaredDifference', {
  inputs: ['a', 'b'],
  foldable: true,
  infer: ([a, b]) => [[broadcast(a!.shape, b!.shape), a!.dtype]],
  lower: (b, _node, names) => {
    const d = b.node('Sub', names);
    return [b.node('Mul', [d, d])];
  },
  flop: (n) => 2 * elements(n.outputs[0]!.shape),
});

defineRule('AddN', {
  inputs: null,
  foldable: true,
  infer: (values) => [[values[0]!.shape, values[0]!.dtype]],
  lower: (b, _node, names) => [names.length === 1 ? names[0]! : b.node('Sum', names)],
  flop: (n: Node) => (n.inputs.length - 1) * elements(n.outputs[0]!.shape),
});

defineRule('Select', {
  inputs: ['condition', 't', 'e'],
  foldable: true,
  infer: ([, t]) => [[t!.shape, t!.dtype]],
  lower: (b, _node, names) => [b.node('Where', names)],
});

defineRule('Cast', {
  inputs: ['x'],
  foldable: true,
  infer: ([x], attrs) => [[x!.shape, attrs.dtype as DType]],
  lower: (b, node, [x]) => {
    const to = { float32: 1, int32: 6, bool: 9, uint8: 2 }[node.attrs.dtype as DType];
    return [b.node('Cast', [x!], { to })];
  },
  flop: () => 0,
});

defineRule('Identity', {
  inputs: ['x'],
  infer: ([x]) => [[x!.shape, x!.dtype]],
  lower: (_b, _node, [x]) => [x!],
  flop: () => 0,
});

defineRule('ZerosLike', {
  inputs: ['x'],
  infer: ([x]) => [[x!.shape, x!.dtype]],
  lower: (b, node) => [
    b.node('Expand', [b.constant([0], [], node.outputs[0]!.dtype), b.i64(node.outputs[0]!.shape)]),
  ],
  flop: () => 0,
});

defineRule('OnesLike', {
  inputs: ['x'],
  infer: ([x]) => [[x!.shape, x!.dtype]],
  lower: (b, node) => [
    b.node('Expand', [b.constant([1], [], node.outputs[0]!.dtype), b.i64(node.outputs[0]!.shape)]),
  ],
  flop: () => 0,
});

defineRule('Fill', {
  inputs: [],
  infer: (_values, attrs) => [[attrs.shape as number[], (attrs.dtype as DType | undefined) ?? 'float32']],
  lower: (b, node) => [
    b.node('Expand', [
      b.constant([node.attrs.value as number], [], node.outputs[0]!.dtype),
      b.i64(node.outputs[0]!.shape),
    ]),
  ],
  flop: () => 0,
});
