// How each kernel of a graph becomes ONNX nodes for onnxruntime on a CPU.

import type { DType, Node } from '../graph/ir.js';
import { axesOf, axisOf, type KernelName, productFlags, splitSizes } from '../graph/kernels.js';
import { elements } from '../program.js';
import type { OnnxBuilder } from './builder.js';

/** Emits the ONNX nodes of a node whose inputs bear `names`; returns the names of the outputs. */
export type Lower = (b: OnnxBuilder, node: Node, names: string[]) => string[];

/** Lowerings that take the place of others. */
export type Lowerings = Partial<Record<KernelName, Lower>>;

const MS = 'com.microsoft';

/** One ONNX node of the same inputs. */
const one =
  (op: string): Lower =>
  (b, _node, names) => [b.node(op, names)];

const filled =
  (value: (node: Node) => number): Lower =>
  (b, node) => {
    const { shape, dtype } = node.outputs[0]!;
    return [b.node('Expand', [b.constant([value(node)], [], dtype), b.i64(shape)])];
  };

const reshaped: Lower = (b, node, [x]) => [b.reshape(x!, node.outputs[0]!.shape)];

const reduced =
  (op: string): Lower =>
  (b, node, names) => [
    b.node(op, [names[0]!, b.i64(axesOf(node.inputs[0]!, node.attrs))], {
      keepdims: node.attrs.keepDims ? 1 : 0,
    }),
  ];

/**
 * Sums over trailing or leading axes become products with a vector of ones: about twice as fast as ReduceSum, and a full
 * sum is done in two stages because one long ReduceSum loses five digits.
 */
export function lowerSum(
  b: OnnxBuilder,
  node: Node,
  names: string[],
  product = (l: string, r: string, transA: number): string =>
    b.node('FusedMatMul', [l, r], { transA, transB: 0, alpha: { f: 1 } }, MS),
): string[] {
  const x = node.inputs[0]!;
  const axes = axesOf(x, node.attrs).sort((p, q) => p - q);
  const out = node.outputs[0]!.shape;
  const rank = x.shape.length;
  if (x.dtype !== 'float32' || axes.length === 0) return reduced('ReduceSum')(b, node, names);
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
  return reduced('ReduceSum')(b, node, names);
}

/** A mean by the sum that is given. */
export const meanBy =
  (sum: Lower): Lower =>
  (b, node, names) => {
    const count = elements(node.inputs[0]!.shape) / Math.max(1, elements(node.outputs[0]!.shape));
    return [b.node('Mul', [sum(b, node, names)[0]!, b.f32(1 / count)])];
  };

/** Scale of a product. */
export const alphaOf = ({ attrs }: Node): number => (attrs.alpha as number | undefined) ?? 1;

const flag = (value: boolean): number => (value ? 1 : 0);

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

export const lowerings: Record<KernelName, Lower> = {
  Add: one('Add'),
  Sub: one('Sub'),
  Multiply: one('Mul'),
  RealDiv: one('Div'),
  Maximum: one('Max'),
  Minimum: one('Min'),
  Pow: one('Pow'),
  Greater: one('Greater'),
  Less: one('Less'),
  Equal: one('Equal'),
  Exp: one('Exp'),
  Log: one('Log'),
  Sqrt: one('Sqrt'),
  Neg: one('Neg'),
  Erf: one('Erf'),
  Sin: one('Sin'),
  Cos: one('Cos'),
  Tanh: one('Tanh'),
  Reciprocal: one('Reciprocal'),
  Abs: one('Abs'),
  Square: (b, _node, [x]) => [b.node('Mul', [x!, x!])],
  Rsqrt: (b, _node, [x]) => [b.node('Reciprocal', [b.node('Sqrt', [x!])])],
  SquaredDifference: (b, _node, names) => {
    const d = b.node('Sub', names);
    return [b.node('Mul', [d, d])];
  },
  AddN: (b, _node, names) => [names.length === 1 ? names[0]! : b.node('Sum', names)],
  Select: one('Where'),
  Cast: (b, node, [x]) => {
    const to = { float32: 1, int32: 6, bool: 9, uint8: 2 }[node.attrs.dtype as DType];
    return [b.node('Cast', [x!], { to })];
  },
  Identity: (_b, _node, [x]) => [x!],
  ZerosLike: filled(() => 0),
  OnesLike: filled(() => 1),
  Fill: filled((node) => node.attrs.value as number),

  Max: reduced('ReduceMax'),
  Min: reduced('ReduceMin'),
  Prod: reduced('ReduceProd'),
  Sum: lowerSum,
  Mean: meanBy(lowerSum),
  Softmax: (b, node, names) => [
    b.node('Softmax', names, { axis: axisOf(node.attrs.dim, node.inputs[0]!.shape) }),
  ],
  TopK: (b, node, [x]) => {
    const k = b.i64([node.attrs.k as number]);
    const [values, indices] = b.nodeN('TopK', [x!, k], 2, { axis: -1, largest: 1, sorted: 1 });
    return [values!, b.node('Cast', [indices!], { to: 6 })];
  },

  Product: (b, node, names) => {
    const { transA, transB, batchA, batchB } = productFlags(node.attrs);
    const trans = { transA: flag(transA), transB: flag(transB) };
    const batch = { transBatchA: flag(batchA), transBatchB: flag(batchB) };
    return [b.node('FusedMatMul', names, { ...trans, ...batch, alpha: { f: alphaOf(node) } }, MS)];
  },
  BatchMatMul: (b, node, names) => {
    const { transA, transB } = productFlags(node.attrs);
    const attrs = { transA: flag(transA), transB: flag(transB), alpha: { f: 1 } };
    return [b.node('FusedMatMul', names, attrs, MS)];
  },
  ProductAdd: (b, node, names) => {
    const { transA, transB } = productFlags(node.attrs);
    const attrs = { transA: flag(transA), transB: flag(transB), alpha: { f: alphaOf(node) }, beta: { f: 1 } };
    return [b.node('Gemm', names, attrs)];
  },

  Reshape: reshaped,
  ExpandDims: reshaped,
  Transpose: (b, node, [x]) => [b.node('Transpose', [x!], { perm: node.attrs.perm as number[] })],
  Concat: (b, node, names) => [
    b.node('Concat', names, { axis: axisOf(node.attrs.axis, node.outputs[0]!.shape) }),
  ],
  Slice: (b, node, [x]) => {
    const out = node.outputs[0]!.shape;
    const begin = node.attrs.begin as number[];
    const axes = out.map((_, i) => i).filter((i) => out[i] !== node.inputs[0]!.shape[i]);
    if (axes.length === 0) return [x!];
    const [from, to] = [axes.map((i) => begin[i]!), axes.map((i) => begin[i]! + out[i]!)];
    return [b.node('Slice', [x!, b.i64(from), b.i64(to), b.i64(axes)])];
  },
  PadV2: (b, node, [x]) => {
    const paddings = node.attrs.paddings as [number, number][];
    return [
      b.node('Pad', [
        x!,
        b.i64([...paddings.map((p) => p[0]), ...paddings.map((p) => p[1])]),
        b.constant([(node.attrs.constantValue as number | undefined) ?? 0], [], node.outputs[0]!.dtype),
      ]),
    ];
  },
  GatherV2: (b, node, names) => [
    b.node('Gather', names, { axis: axisOf(node.attrs.axis, node.inputs[0]!.shape) }),
  ],
  Tile: (b, node, [x]) => [b.node('Tile', [x!, b.i64(node.attrs.reps as number[])])],
  SplitV: (b, node, [x]) => {
    const sizes = splitSizes(node.inputs[0]!, node.attrs);
    const axis = axisOf(node.attrs.axis, node.inputs[0]!.shape);
    return b.nodeN('Split', [x!, b.i64(sizes)], sizes.length, { axis });
  },
  Flat: (b, node, names) => {
    const rows = names.map((name, i) => b.reshape(name, [elements(node.inputs[i]!.shape)]));
    return [rows.length === 1 ? rows[0]! : b.node('Concat', rows, { axis: 0 })];
  },
  Unflat: (b, node, [x]) => {
    if (node.outputs.length === 1) return [b.reshape(x!, node.outputs[0]!.shape)];
    let to = 0;
    return node.outputs.map(({ shape }) => {
      const from = to;
      to += elements(shape);
      // One by one: Split on WebGPU takes no more outputs than a shader may bind buffers.
      return b.reshape(b.node('Slice', [x!, b.i64([from]), b.i64([to]), b.i64([0])]), shape);
    });
  },

  RmsNorm: (b, node, names) => {
    const width = node.inputs[0]!.shape.at(-1)!;
    const gain = names[1] ?? b.constant(new Float32Array(width).fill(1), [width], 'float32');
    return b.nodeN('SimplifiedLayerNormalization', [names[0]!, gain], 2, {
      axis: -1,
      epsilon: { f: node.attrs.eps as number },
      stash_type: 1,
    });
  },
  Gelu: (b, _node, names) => [b.node('Gelu', names, {}, MS)],
  Rotary: (b, node, [x, cos, sin]) => {
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
};
