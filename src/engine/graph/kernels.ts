// The table of kernels that a graph may hold: names of their inputs, shapes of their outputs, floating-point operations.
import { tf } from '../../tensor/tf.js';
import { elements } from '../program.js';
import type { Attrs, DType, Node, Value } from './ir.js';

export type Typed = [shape: number[], dtype: DType];

export interface Kernel {
  /** Names of the inputs in order, as the kernel's `inputs` record has them; `null` for numbered inputs (Concat, AddN). */
  inputs: string[] | null;
  /** Shapes and types of the outputs. */
  infer(inputs: Value[], attrs: Attrs): Typed[];
  /** Floating-point operations; default: one for each output element. */
  flop?(node: Node): number;
  /** Runs on the plain JavaScript backend, so that constants can be folded. */
  foldable?: boolean;
}

const each = <const K extends string>(names: readonly K[], kernel: Kernel): Record<K, Kernel> =>
  Object.fromEntries(names.map((name) => [name, kernel])) as Record<K, Kernel>;

const none = (): number => 0;
const inputFlop = (n: Node): number => elements(n.inputs[0]!.shape);
const outputFlop = (n: Node): number => elements(n.outputs[0]!.shape);

const asInput = ([x]: Value[]): Typed[] => [[x!.shape, x!.dtype]];
const asFloats = ([x]: Value[]): Typed[] => [[x!.shape, 'float32']];

const broadcast = (a: number[], b: number[]): number[] => tf.backend_util.assertAndGetBroadcastShape(a, b);
const unary: Kernel = { inputs: ['x'], foldable: true, infer: asInput };
const binary = (out?: DType): Kernel => ({
  inputs: ['a', 'b'],
  foldable: true,
  infer: ([a, b]) => [[broadcast(a!.shape, b!.shape), out ?? a!.dtype]],
});

/** The one axis of a kernel on tensors of that shape, counted from 0. */
export const axisOf = (axis: unknown, shape: number[]): number =>
  tf.util.parseAxisParam(axis as number, shape)[0]!;

/** The axes of a reduction: the attribute is `reductionIndices` on Max and `axis` on the others. */
export const axesOf = (x: Value, attrs: Attrs): number[] =>
  tf.util.parseAxisParam((attrs.axis ?? attrs.reductionIndices) as number | number[], x.shape);

const reduction: Kernel = {
  inputs: ['x'],
  foldable: true,
  infer: ([x], attrs) => {
    const axes = axesOf(x!, attrs);
    const shape = attrs.keepDims
      ? x!.shape.map((d, i) => (axes.includes(i) ? 1 : d))
      : x!.shape.filter((_, i) => !axes.includes(i));
    return [[shape, x!.dtype]];
  },
  flop: inputFlop,
};

/** The operand of a product as [...batch, rows, cols]; `batch` says that it is stored [rows, batch..., cols]. */
const view = (shape: number[], batch: boolean): number[] =>
  batch ? [...shape.slice(1, -1), shape[0]!, shape[shape.length - 1]!] : shape;

/** How a product reads its operands: `trans`, exchanged; `batch`, stored [rows, batch..., cols]. */
export interface ProductFlags {
  transA: boolean;
  transB: boolean;
  batchA: boolean;
  batchB: boolean;
}

/** The flags of a product of ours (tensor/ops/product.ts) or of TensorFlow.js, which calls them otherwise. */
export const productFlags = (attrs: Attrs): ProductFlags => ({
  transA: Boolean(attrs.transA ?? attrs.transposeA),
  transB: Boolean(attrs.transB ?? attrs.transposeB),
  batchA: Boolean(attrs.batchA),
  batchB: Boolean(attrs.batchB),
});

/** Channels that each element of a product is a sum over. */
export function summedChannels({ inputs, attrs }: Node): number {
  const { batchA, transA } = productFlags(attrs);
  return view(inputs[0]!.shape, batchA).at(transA ? -2 : -1)!;
}

const productFlop = (node: Node): number => 2 * outputFlop(node) * summedChannels(node);

const product: Kernel = {
  inputs: ['a', 'b'],
  infer: ([left, right], attrs) => {
    const { transA, transB, batchA, batchB } = productFlags(attrs);
    const [a, b] = [view(left!.shape, batchA), view(right!.shape, batchB)];
    const [ka, kb] = [a.at(transA ? -2 : -1)!, b.at(transB ? -1 : -2)!];
    if (ka !== kb) throw new Error(`product of [${left!.shape}] and [${right!.shape}]: ${ka} != ${kb}`);
    const batch = broadcast(a.slice(0, -2), b.slice(0, -2));
    return [[[...batch, a.at(transA ? -1 : -2)!, b.at(transB ? -2 : -1)!], 'float32']];
  },
  flop: productFlop,
};

/** Rows of each part of a split. */
export const splitSizes = (x: Value, attrs: Attrs): number[] =>
  tf.backend_util.prepareSplitSize(
    { shape: x.shape } as never,
    attrs.numOrSizeSplits as number | number[],
    axisOf(attrs.axis, x.shape),
  );

export const kernels = {
  // Element by element, with NumPy's broadcasting.
  ...each(['Add', 'Sub', 'Multiply', 'RealDiv', 'Maximum', 'Minimum', 'Pow'], binary()),
  ...each(['Greater', 'Less', 'Equal'], binary('bool')),
  ...each(['Exp', 'Log', 'Sqrt', 'Neg', 'Erf', 'Sin', 'Cos', 'Tanh', 'Reciprocal', 'Abs', 'Square'], unary),
  Rsqrt: { ...unary, flop: (n) => 2 * outputFlop(n) },
  SquaredDifference: { ...binary(), flop: (n) => 2 * outputFlop(n) },
  AddN: { ...unary, inputs: null, flop: (n) => (n.inputs.length - 1) * outputFlop(n) },
  Select: { inputs: ['condition', 't', 'e'], foldable: true, infer: ([, t]) => [[t!.shape, t!.dtype]] },
  Cast: { ...unary, infer: ([x], attrs) => [[x!.shape, attrs.dtype as DType]], flop: none },
  ...each(['Identity', 'ZerosLike', 'OnesLike'], { inputs: ['x'], infer: asInput, flop: none }),
  Fill: {
    inputs: [],
    infer: (_values, attrs) => [[attrs.shape as number[], (attrs.dtype as DType | undefined) ?? 'float32']],
    flop: none,
  },

  ...each(['Max', 'Min', 'Prod', 'Sum', 'Mean'], reduction),
  Softmax: { inputs: ['logits'], foldable: true, infer: asFloats, flop: (n) => 5 * inputFlop(n) },
  /** x [..., n] -> values [..., k], indices int32 [..., k], descending; of equal ones the smaller index first, as TensorFlow.js has it. */
  TopK: {
    inputs: ['x'],
    infer: ([x], attrs) => {
      const shape = [...x!.shape.slice(0, -1), attrs.k as number];
      return [
        [shape, x!.dtype],
        [shape, 'int32'],
      ];
    },
    flop: inputFlop,
  },

  /** alpha * op(a) @ op(b). Attributes transA, transB, batchA, batchB, alpha; see tensor/ops/product.ts. */
  Product: product,
  BatchMatMul: { ...product, foldable: true },
  /** alpha * op(a) @ op(b) + c, all 2-D (c may be one row [n]): what the product pass makes of a product and an addition. */
  ProductAdd: { ...product, inputs: ['a', 'b', 'c'], flop: (n) => productFlop(n) + outputFlop(n) },

  // Those that move data: no arithmetic.
  Reshape: {
    inputs: ['x'],
    foldable: true,
    infer: ([x], attrs) => [
      [tf.util.inferFromImplicitShape(attrs.shape as number[], elements(x!.shape)), x!.dtype],
    ],
    flop: none,
  },
  ExpandDims: {
    inputs: ['input'],
    foldable: true,
    infer: ([x], attrs) => {
      const dim = attrs.dim as number;
      const shape = [...x!.shape];
      shape.splice(dim < 0 ? shape.length + 1 + dim : dim, 0, 1);
      return [[shape, x!.dtype]];
    },
    flop: none,
  },
  Transpose: {
    inputs: ['x'],
    foldable: true,
    infer: ([x], attrs) => [[(attrs.perm as number[]).map((p) => x!.shape[p]!), x!.dtype]],
    flop: none,
  },
  Concat: {
    inputs: null,
    foldable: true,
    infer: (values, attrs) => {
      const shape = [...values[0]!.shape];
      const axis = axisOf(attrs.axis, shape);
      shape[axis] = values.reduce((s, v) => s + v.shape[axis]!, 0);
      return [[shape, values[0]!.dtype]];
    },
    flop: none,
  },
  Slice: {
    inputs: ['x'],
    foldable: true,
    infer: ([x], attrs) => {
      const begin = attrs.begin as number[];
      return [[(attrs.size as number[]).map((s, i) => (s < 0 ? x!.shape[i]! - begin[i]! : s)), x!.dtype]];
    },
    flop: none,
  },
  PadV2: {
    inputs: ['x'],
    foldable: true,
    infer: ([x], attrs) => {
      const paddings = attrs.paddings as [number, number][];
      return [[x!.shape.map((d, i) => d + paddings[i]![0] + paddings[i]![1]), x!.dtype]];
    },
    flop: none,
  },
  GatherV2: {
    inputs: ['x', 'indices'],
    foldable: true,
    infer: ([x, indices], attrs) => {
      if (attrs.batchDims) throw new Error('GatherV2 with batchDims is not in the table of kernels');
      const axis = axisOf(attrs.axis, x!.shape);
      return [[[...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)], x!.dtype]];
    },
    flop: none,
  },
  Tile: {
    inputs: ['x'],
    foldable: true,
    infer: ([x], attrs) => [[x!.shape.map((d, i) => d * (attrs.reps as number[])[i]!), x!.dtype]],
    flop: none,
  },
  SplitV: {
    inputs: ['x'],
    infer: ([x], attrs) => {
      const axis = axisOf(attrs.axis, x!.shape);
      return splitSizes(x!, attrs).map((n) => [x!.shape.map((d, i) => (i === axis ? n : d)), x!.dtype]);
    },
    flop: none,
  },
  /** All values of all inputs in one row; source: tensor/ops/flat.ts. */
  Flat: {
    inputs: null,
    infer: (values) => [[[values.reduce((n, v) => n + elements(v.shape), 0)], values[0]!.dtype]],
    flop: none,
  },
  Unflat: {
    inputs: ['x'],
    infer: ([x], attrs) => (attrs.shapes as number[][]).map((shape) => [shape, x!.dtype]),
    flop: none,
  },

  /** x / sqrt(mean(x^2) + eps) [* gain] over the last axis -> [y, 1/rms]. */
  RmsNorm: {
    inputs: ['x', 'gain'],
    infer: ([x]) => [
      [x!.shape, 'float32'],
      [[...x!.shape.slice(0, -1), 1], 'float32'],
    ],
    flop: (n) => 4 * inputFlop(n),
  },
  /** gelu(x) = x * (1 + erf(x / sqrt 2)) / 2. */
  Gelu: { inputs: ['x'], infer: asFloats, flop: (n) => 4 * inputFlop(n) },
  /** x * cos + swap(x) * sin, swap exchanging the two halves of each head; see tensor/ops/rotary.ts. */
  Rotary: { inputs: ['x', 'cos', 'sin'], infer: asFloats, flop: (n) => 3 * inputFlop(n) },
} satisfies Record<string, Kernel>;

export type KernelName = keyof typeof kernels;

/** The row of a kernel, or undefined where the table has none. */
export const kernelOf = (name: string): Kernel | undefined =>
  Object.hasOwn(kernels, name) ? kernels[name as KernelName] : undefined;
