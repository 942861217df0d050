// Every pass fires where it should, as the printed graph shows, and changes no result.

import { beforeAll, describe, expect, it } from 'vitest';
import { type Graph, printGraph } from '../../../src/engine/graph/ir.js';
import { optimise, type Pass, passes } from '../../../src/engine/graph/passes/index.js';
import { trace } from '../../../src/engine/graph/trace.js';
import { OnnxEngine } from '../../../src/engine/onnx/session.js';
import type { Outputs } from '../../../src/engine/program.js';
import { linear, softCrossEntropy } from '../../../src/tensor/ops/index.js';
import { type NamedTensorMap, type Tensor, tf } from '../../../src/tensor/tf.js';
import { relativeError } from '../../support/golden.js';
import { type Case, encoderCase, stepCase, variants } from '../configs.js';

/** The graph of a program of float32 inputs. */
function graphOf(
  shapes: Record<string, number[]>,
  run: (i: NamedTensorMap) => Tensor | NamedTensorMap,
): Graph {
  const outputs = (i: NamedTensorMap): NamedTensorMap => {
    const out = run(i);
    return out instanceof tf.Tensor ? { y: out } : (out as NamedTensorMap);
  };
  return trace({
    name: 'example',
    inputs: Object.fromEntries(
      Object.entries(shapes).map(([n, shape]) => [n, { shape, dtype: 'float32' as const }]),
    ),
    state: [],
    run: outputs,
  });
}

/** The lines of a printed graph between its inputs and its outputs, after `pass`. */
const linesAfter = (pass: Pass, graph: Graph): string =>
  printGraph(pass(graph))
    .split('\n')
    .filter((line) => line.includes(' = '))
    .map((line) => line.trim())
    .join('\n');

const x = { x: [2, 3] };

describe('the printed graph', () => {
  it('of a linear layer under cross-entropy and its gradient', () => {
    const graph = graphOf({ x: [4, 3], w: [5, 3], targets: [4, 5] }, (i) => {
      const { value, grads } = tf.valueAndGrads(
        (w: Tensor) => softCrossEntropy(tf.mul(linear(i.x!, w), 10), i.targets!) as never,
      )([i.w!]);
      return { loss: value, gradient: grads[0]! };
    });
    expect(printGraph(optimise(graph))).toMatchInlineSnapshot(`
      "program example
        input %x: f32[4,3]
        input %w: f32[5,3]
        input %targets: f32[4,5]
        %0: f32[4,5] = Product(%x, %w) {transB=true alpha=10}
        %1: f32[4,1] = Max(%0) {reductionIndices=1 keepDims=true}
        %2: f32[4,5] = Sub(%0, %1)
        %3: f32[4,5] = Exp(%2)
        %4: f32[4,1] = Sum(%3) {axis=1 keepDims=true}
        %5: f32[4,1] = Log(%4)
        %6: f32[4,5] = Sub(%2, %5)
        %7: f32[4,5] = Multiply(%6, %targets)
        %8: f32[] = Sum(%7)
        %9: f32[] = Neg(%8)
        %10: f32[4,5] = Exp(%6)
        %11: f32[4,1] = Sum(%targets) {axis=-1 keepDims=true}
        %12: f32[4,5] = Multiply(%10, %11)
        %13: f32[4,5] = Sub(%12, %targets)
        %14: f32[3,4] = Transpose(%x) {perm=[1,0]}
        %15: f32[3,5] = Product(%14, %13) {alpha=10}
        %16: f32[5,3] = Transpose(%15) {perm=[1,0]}
        output loss = %9
        output gradient = %16
      "
    `);
  });
});

describe('foldConstants', () => {
  it('evaluates what reads only constants', () => {
    const graph = graphOf(x, (i) => tf.mul(i.x!, tf.cos(tf.add(tf.tensor1d([0, 1, 2]), 1))));
    expect(linesAfter(passes.foldConstants!, graph)).toMatchInlineSnapshot(`
      "%0: f32[2,3] = Multiply(%x, const f32[3])
      output y = %0"
    `);
    const folded = passes.foldConstants!(graph).nodes.at(-1)!.inputs[1]!.data!;
    expect(relativeError(folded, [1, 2, 3].map(Math.cos))).toBeLessThan(1e-7); // float32
  });

  it('takes kernels with numbered inputs', () => {
    const graph = graphOf(x, (i) =>
      tf.add(i.x!, tf.concat([tf.tensor1d([1, 2]), tf.addN([tf.tensor1d([1]), tf.tensor1d([2])])])),
    );
    const folded = passes.foldConstants!(graph);
    expect(folded.nodes.map((n) => n.kernel)).toEqual(['Add']);
    expect(Array.from(folded.nodes[0]!.inputs[1]!.data!)).toEqual([1, 2, 3]);
  });

  it('leaves large results to be computed when the program runs', () => {
    const graph = graphOf({ x: [1] }, (i) => tf.mul(i.x!, tf.tile(tf.tensor1d([1, 2]), [1 << 20])));
    expect(passes.foldConstants!(graph).nodes.map((n) => n.kernel)).toEqual(['Tile', 'Multiply']);
  });
});

describe('simplify', () => {
  it('drops neutral elements', () => {
    const graph = graphOf(x, ({ x }) => tf.div(tf.sub(tf.add(tf.mul(x!, 1), tf.zeros([3])), 0), 1));
    expect(linesAfter(passes.simplify!, graph)).toBe('output y = %x');
  });

  it('keeps a neutral element whose shape the result needs', () => {
    const graph = graphOf({ x: [3] }, ({ x }) => tf.add(x!, tf.zeros([2, 3])));
    expect(linesAfter(passes.simplify!, graph)).toContain('Add');
  });

  it('joins reshapes and transposes, and drops those that end where they began', () => {
    const graph = graphOf({ x: [2, 3, 4] }, ({ x }) => ({
      reshaped: tf.reshape(tf.reshape(x!, [6, 4]), [4, 6]),
      back: tf.reshape(tf.reshape(x!, [6, 4]), [2, 3, 4]),
      moved: tf.transpose(tf.transpose(x!, [1, 0, 2]), [2, 0, 1]),
      undone: tf.transpose(tf.transpose(x!, [1, 2, 0]), [2, 0, 1]),
    }));
    const both: Pass = (g) => passes.removeDeadNodes!(passes.simplify!(passes.simplify!(g)));
    expect(linesAfter(both, graph)).toMatchInlineSnapshot(`
      "%0: f32[4,6] = Reshape(%x) {shape=[4,6]}
      %1: f32[4,3,2] = Transpose(%x) {perm=[2,1,0]}
      output reshaped = %0
      output back = %x
      output moved = %1
      output undone = %x"
    `);
  });

  it('reads a uniform operand as a scalar', () => {
    const graph = graphOf(x, ({ x }) => tf.mul(x!, tf.reshape(tf.fill([3, 2], 0.5), [2, 3])));
    const both: Pass = (g) => passes.removeDeadNodes!(passes.simplify!(g));
    expect(linesAfter(both, graph)).toMatchInlineSnapshot(`
      "%0: f32[2,3] = Multiply(%x, 0.5)
      output y = %0"
    `);
  });

  it('leaves one of two uniform operands its shape', () => {
    const graph = graphOf({}, () => tf.add(tf.fill([2, 3], 1), tf.fill([2, 3], 2)));
    const sum = passes.simplify!(graph).nodes.at(-1)!;
    expect(sum.inputs.map((v) => v.shape)).toContainEqual([2, 3]);
  });
});

describe('shareEqualNodes', () => {
  it('computes equal things once, with equal small constants counted as equal', () => {
    const graph = graphOf(x, ({ x }) => tf.add(tf.exp(tf.mul(x!, 2)), tf.exp(tf.mul(x!, 2))));
    expect(linesAfter(passes.shareEqualNodes!, graph)).toMatchInlineSnapshot(`
      "%0: f32[2,3] = Multiply(%x, 2)
      %1: f32[2,3] = Exp(%0)
      %2: f32[2,3] = Add(%1, %1)
      output y = %2"
    `);
  });

  it('tells attributes apart, infinities too', () => {
    const graph = graphOf(x, ({ x }) => ({
      rows: tf.sum(x!, 1),
      columns: tf.sum(x!, 0),
      high: tf.minimum(x!, tf.fill([3], Number.POSITIVE_INFINITY)),
      low: tf.maximum(x!, tf.fill([3], Number.NEGATIVE_INFINITY)),
    }));
    expect(passes.shareEqualNodes!(graph).nodes.length).toBe(graph.nodes.length);
  });
});

describe('fuseProducts', () => {
  it('takes in the transpose of a right operand and scales on both sides', () => {
    const graph = graphOf({ a: [4, 3], b: [5, 3] }, ({ a, b }) =>
      tf.mul(tf.matMul(tf.mul(a!, 3) as never, tf.transpose(b!) as never), 2),
    );
    const both: Pass = (g) => passes.removeDeadNodes!(passes.fuseProducts!(g));
    expect(linesAfter(both, graph)).toMatchInlineSnapshot(`
      "%0: f32[4,5] = Product(%a, %b) {transB=true alpha=6}
      output y = %0"
    `);
  });

  it('reads attention heads where they lie', () => {
    const graph = graphOf({ q: [5, 2, 4], k: [6, 2, 4] }, ({ q, k }) =>
      tf.matMul(tf.transpose(q!, [1, 0, 2]) as never, tf.transpose(k!, [1, 0, 2]) as never, false, true),
    );
    const both: Pass = (g) => passes.removeDeadNodes!(passes.fuseProducts!(g));
    expect(linesAfter(both, graph)).toMatchInlineSnapshot(`
      "%0: f32[2,5,6] = Product(%q, %k) {transB=true alpha=1 batchA=true batchB=true}
      output y = %0"
    `);
  });

  it('leaves alone what somebody else reads', () => {
    const graph = graphOf({ a: [4, 3], b: [5, 3] }, ({ a, b }) => {
      const bt = tf.transpose(b!);
      const y = tf.matMul(a as never, bt as never) as Tensor;
      return { bt, y, twice: tf.mul(y, 2) };
    });
    expect(passes.fuseProducts!(graph).nodes.map((n) => n.kernel)).toEqual([
      'Transpose',
      'Product',
      'Multiply',
    ]);
  });

  it('keeps the rank that a scale of rank 3 gives', () => {
    const graph = graphOf({ a: [4, 3], b: [1, 3, 5] }, ({ a, b }) =>
      tf.matMul(tf.mul(a!, tf.tensor3d([[[2]]])) as never, b as never),
    );
    const fused = passes.fuseProducts!(graph);
    expect(fused.nodes.at(-1)!.inputs[0]!.shape).toEqual([1, 4, 3]);
  });
});

describe('removeDeadNodes', () => {
  it('drops what no output reads', () => {
    const graph = graphOf(x, ({ x }) => {
      tf.exp(tf.sin(x!));
      return tf.neg(x!);
    });
    expect(graph.nodes.length).toBe(3);
    expect(linesAfter(passes.removeDeadNodes!, graph)).toBe('%0: f32[2,3] = Neg(%x)\noutput y = %0');
  });
});

it('every pass finds work in the training step', () => {
  let graph = trace(stepCase(variants[3]!).program);
  for (const [name, pass] of Object.entries(passes)) {
    const next = pass(graph);
    expect(printGraph(next) === printGraph(graph), name).toBe(false);
    graph = next;
  }
});

describe('no pass changes a result', () => {
  // The variant in which most things meet, and the encoder.
  const cases: Case[] = [stepCase(variants[3]!), encoderCase()];
  const runs: Outputs[] = [];

  /** All outputs, the next state among them, of the graph as `pass` leaves it. */
  async function results({ program, state, inputs }: Case, pass: Pass): Promise<Outputs> {
    const executable = await new OnnxEngine({ threads: 1 }).loadGraph(program, pass(trace(program)));
    executable.setState(state);
    const outputs = await executable.run(inputs(7));
    const next = await executable.getState();
    await executable.dispose();
    return { ...outputs, ...next };
  }

  beforeAll(async () => {
    for (const c of cases) runs.push(await results(c, (graph) => graph));
  });

  // Moving data and reading it elsewhere changes no bit. Products round their scale at another place; a rotary angle of
  // 40 radians that is folded into a constant is rounded at another place, and 40 times 6e-8 is what its cosine shows.
  const bounds: Record<string, number> = { fuseProducts: 1e-6, foldConstants: 2.5e-6, optimise: 2.5e-6 };
  const each: [string, Pass][] = [...Object.entries(passes), ['optimise', optimise]];
  it.each(each)('%s', async (name, pass) => {
    for (const [i, c] of cases.entries()) {
      const passed = await results(c, pass);
      let worst = 0;
      for (const [output, values] of Object.entries(runs[i]!)) {
        worst = Math.max(worst, relativeError(passed[output]!, values));
      }
      expect(worst, c.program.name).toBeLessThanOrEqual(bounds[name] ?? 0);
    }
  });
});
