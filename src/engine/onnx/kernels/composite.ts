// Rules of the composite kernels of src/tensor/ops: each lowers to a few fused ONNX nodes.
import { elements } from '../../program.js';
import { defineRule } from '../rules.js';

const MS = 'com.microsoft';

/** x / sqrt(mean(x^2) + eps) [* gain] over the last axis -> [y, 1/rms]. */
defineRule('RmsNorm', {
  inputs: ['x', 'gain'],
  infer: ([x]) => [
    [x!.shape, 'float32'],
    [[...x!.shape.slice(0, -1), 1], 'float32'],
  ],
  lower: (b, node, names) => {
    const width = node.inputs[0]!.shape.at(-1)!;
    const gain = names[1] ?? b.constant(new Float32Array(width).fill(1), [width], 'float32');
    return b.nodeN('SimplifiedLayerNormalization', [names[0]!, gain], 2, {
      axis: -1,
      epsilon: { f: node.attrs.eps as number },
      stash_type: 1,
    });
  },
  flop: (n) => 4 * elements(n.inputs[0]!.shape),
});

/** gelu(x) = x * (1 + erf(x / sqrt 2)) / 2. */
defineRule('Gelu', {
  inputs: ['x'],
  infer: ([x]) => [[x!.shape, 'float32']],
  lower: (b, _node, names) => [b.node('Gelu', names, {}, MS)],
  flop: (n) => 4 * elements(n.inputs[0]!.shape),
});

/** x * cos + swap(x) * sin, swap exchanging the two halves of each head; see tensor/ops/rotary.ts. */
defineRule('Rotary', {
  inputs: ['x', 'cos', 'sin'],
  infer: ([x]) => [[x!.shape, 'float32']],
  lower: (b, node, [x, cos, sin]) => {
    const [rows, d] = node.inputs[1]!.shape as [number, number];
    const shape = node.inputs[0]!.shape;
    const per = elements(shape) / (rows * d);
    const half = d / 2;
    const table = (t: string): string => b.reshape(t, [rows, 1, 2, half]);
    const view = b.reshape(x!, [rows, per, 2, half]);
    const swapped = b.node('Gather', [view, b.i64([1, 0])], { axis: 2 });
    const y = b.node('Add', [b.node('Mul', [view, table(cos!)]), b.node('Mul', [swapped, table(sin!)])]);
    return [b.reshape(y, shape)];
  },
  flop: (n) => 3 * elements(n.inputs[0]!.shape),
});
