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
    const [c, s] = [node.inputs[1]!.data, node.inputs[2]!.data];
    if (c && s && per >= LEAST_HEADS) {
      const make = (): string => b.constant(rotations(c, s, rows, d), [rows, d, d], 'float32');
      const turns = b.derived(`rotations ${cos} ${sin}`, make);
      return [b.reshape(b.node('MatMul', [b.reshape(x!, [rows, per, d]), turns]), shape)];
    }
    const half = d / 2;
    const table = (t: string): string => b.reshape(t, [rows, 1, 2, half]);
    const view = b.reshape(x!, [rows, per, 2, half]);
    const swapped = b.node('Gather', [view, b.i64([1, 0])], { axis: 2 });
    const y = b.node('Add', [b.node('Mul', [view, table(cos!)]), b.node('Mul', [swapped, table(sin!)])]);
    return [b.reshape(y, shape)];
  },
  flop: (n) => 3 * elements(n.inputs[0]!.shape),
});

/** From so many heads of all images a row on, one product with a constant matrix is faster than four passes over the tokens. */
const LEAST_HEADS = 16;

/** The rotations of a constant table as matrices [rows, d, d], for x [rows, heads, d] from the left. */
function rotations(cos: ArrayLike<number>, sin: ArrayLike<number>, rows: number, d: number): Float32Array {
  const out = new Float32Array(rows * d * d);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < d; i++) {
      const to = (from: number): number => (r * d + from) * d + i;
      out[to(i)] = cos[r * d + i]!;
      out[to((i + d / 2) % d)] = sin[r * d + i]!;
    }
  }
  return out;
}
