// Rules of the kernels that move data: no arithmetic, so no floating-point operations.
import { tf } from '../../../tensor/tf.js';
import type { Attrs, Value } from '../../graph/ir.js';
import { elements } from '../../program.js';
import { defineRule, type Rule } from '../rules.js';

const moves = (kernel: string, rule: Omit<Rule, 'flop'>): void =>
  defineRule(kernel, { ...rule, flop: () => 0 });

moves('Reshape', {
  inputs: ['x'],
  foldable: true,
  infer: ([x], attrs) => [
    [tf.util.inferFromImplicitShape(attrs.shape as number[], elements(x!.shape)), x!.dtype],
  ],
  lower: (b, node, [x]) => [b.reshape(x!, node.outputs[0]!.shape)],
});

moves('ExpandDims', {
  inputs: ['input'],
  foldable: true,
  infer: ([x], attrs) => {
    const dim = attrs.dim as number;
    const shape = [...x!.shape];
    shape.splice(dim < 0 ? shape.length + 1 + dim : dim, 0, 1);
    return [[shape, x!.dtype]];
  },
  lower: (b, node, [x]) => [b.reshape(x!, node.outputs[0]!.shape)],
});

moves('Transpose', {
  inputs: ['x'],
  foldable: true,
  infer: ([x], attrs) => [[(attrs.perm as number[]).map((p) => x!.shape[p]!), x!.dtype]],
  lower: (b, node, [x]) => [b.node('Transpose', [x!], { perm: node.attrs.perm as number[] })],
});

moves('Concat', {
  inputs: null,
  foldable: true,
  infer: (values, attrs) => {
    const axis = tf.util.parseAxisParam(attrs.axis as number, values[0]!.shape)[0]!;
    const shape = [...values[0]!.shape];
    shape[axis] = values.reduce((s, v) => s + v.shape[axis]!, 0);
    return [[shape, values[0]!.dtype]];
  },
  lower: (b, node, names) => [
    b.node('Concat', names, {
      axis: tf.util.parseAxisParam(node.attrs.axis as number, node.outputs[0]!.shape)[0]!,
    }),
  ],
});

moves('Slice', {
  inputs: ['x'],
  foldable: true,
  infer: ([x], attrs) => {
    const begin = attrs.begin as number[];
    return [[(attrs.size as number[]).map((s, i) => (s < 0 ? x!.shape[i]! - begin[i]! : s)), x!.dtype]];
  },
  lower: (b, node, [x]) => {
    const out = node.outputs[0]!.shape;
    const begin = node.attrs.begin as number[];
    const axes = out.map((_, i) => i).filter((i) => out[i] !== node.inputs[0]!.shape[i]);
    if (axes.length === 0) return [x!];
    return [
      b.node('Slice', [
        x!,
        b.i64(axes.map((i) => begin[i]!)),
        b.i64(axes.map((i) => begin[i]! + out[i]!)),
        b.i64(axes),
      ]),
    ];
  },
});

moves('PadV2', {
  inputs: ['x'],
  foldable: true,
  infer: ([x], attrs) => {
    const paddings = attrs.paddings as [number, number][];
    return [[x!.shape.map((d, i) => d + paddings[i]![0] + paddings[i]![1]), x!.dtype]];
  },
  lower: (b, node, [x]) => {
    const paddings = node.attrs.paddings as [number, number][];
    return [
      b.node('Pad', [
        x!,
        b.i64([...paddings.map((p) => p[0]), ...paddings.map((p) => p[1])]),
        b.constant([(node.attrs.constantValue as number | undefined) ?? 0], [], node.outputs[0]!.dtype),
      ]),
    ];
  },
});

moves('GatherV2', {
  inputs: ['x', 'indices'],
  foldable: true,
  infer: ([x, indices], attrs) => {
    if (attrs.batchDims) throw new Error('GatherV2 with batchDims has no lowering rule');
    const axis = tf.util.parseAxisParam(attrs.axis as number, x!.shape)[0]!;
    return [[[...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)], x!.dtype]];
  },
  lower: (b, node, names) => [
    b.node('Gather', names, {
      axis: tf.util.parseAxisParam(node.attrs.axis as number, node.inputs[0]!.shape)[0]!,
    }),
  ],
});

moves('Tile', {
  inputs: ['x'],
  foldable: true,
  infer: ([x], attrs) => [[x!.shape.map((d, i) => d * (attrs.reps as number[])[i]!), x!.dtype]],
  lower: (b, node, [x]) => [b.node('Tile', [x!, b.i64(node.attrs.reps as number[])])],
});

moves('SplitV', {
  inputs: ['x'],
  infer: ([x], attrs) => {
    const axis = tf.util.parseAxisParam(attrs.axis as number, x!.shape)[0]!;
    return splitSizes(x!, attrs).map((n) => [x!.shape.map((d, i) => (i === axis ? n : d)), x!.dtype]);
  },
  lower: (b, node, [x]) => {
    const sizes = splitSizes(node.inputs[0]!, node.attrs);
    const axis = tf.util.parseAxisParam(node.attrs.axis as number, node.inputs[0]!.shape)[0]!;
    return b.nodeN('Split', [x!, b.i64(sizes)], sizes.length, { axis });
  },
});

function splitSizes(x: Value, attrs: Attrs): number[] {
  const axis = tf.util.parseAxisParam(attrs.axis as number, x.shape)[0]!;
  return tf.backend_util.prepareSplitSize(
    { shape: x.shape } as never,
    attrs.numOrSizeSplits as number | number[],
    axis,
  );
}

/** Source: tensor/ops/flat.ts. */
moves('Flat', {
  inputs: null,
  infer: (values) => [[[values.reduce((n, v) => n + elements(v.shape), 0)], values[0]!.dtype]],
  lower: (b, node, names) => {
    const rows = names.map((name, i) => b.reshape(name, [elements(node.inputs[i]!.shape)]));
    return [rows.length === 1 ? rows[0]! : b.node('Concat', rows, { axis: 0 })];
  },
});

moves('Unflat', {
  inputs: ['x'],
  infer: ([x], attrs) => (attrs.shapes as number[][]).map((shape) => [shape, x!.dtype]),
  lower: (b, node, [x]) => {
    if (node.outputs.length === 1) return [b.reshape(x!, node.outputs[0]!.shape)];
    let to = 0;
    return node.outputs.map(({ shape }) => {
      const from = to;
      to += elements(shape);
      // One by one: Split on WebGPU takes no more outputs than a shader may bind buffers.
      return b.reshape(b.node('Slice', [x!, b.i64([from]), b.i64([to]), b.i64([0])]), shape);
    });
  },
});
