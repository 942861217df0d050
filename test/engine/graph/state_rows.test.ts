// State that a program reads and writes as rows: what becomes an input, what stays a copy, and that steps are the same to the bit.
import { describe, expect, it } from 'vitest';
import { printGraph } from '../../../src/engine/graph/ir.js';
import { optimise } from '../../../src/engine/graph/passes/index.js';
import { stateRows } from '../../../src/engine/graph/state_rows.js';
import { trace } from '../../../src/engine/graph/trace.js';
import { OnnxEngine } from '../../../src/engine/onnx/session.js';
import type { Program } from '../../../src/engine/program.js';
import { flat, unflat } from '../../../src/tensor/ops/index.js';
import { tf } from '../../../src/tensor/tf.js';
import { stepCase, variants } from '../configs.js';

const float = (...shape: number[]) => ({ shape, dtype: 'float32' as const });

/** Adds `by` to a and b as one row; c is read beside a, in another order, and stays as it is. */
const program: Program = {
  name: 'rows',
  inputs: { a: float(2, 3), b: float(4), c: float(2), by: float() },
  state: ['a', 'b', 'c'],
  run: ({ a, b, c, by }) => {
    const [nextA, nextB] = unflat(tf.add(flat([a!, b!]), by!), [[2, 3], [4]]);
    return { a: nextA!, b: nextB!, sum: tf.sum(tf.mul(flat([c!, a!]), 2)) };
  },
};

describe('the graph', () => {
  it('reads and writes tensors of one row as one, and copies those that belong to another', () => {
    const { graph, rows } = stateRows(optimise(trace(program)), program.state);
    expect(rows).toEqual({ 'row of a': ['a', 'b'] });
    expect(printGraph(graph)).toMatchInlineSnapshot(`
      "program rows
        input %a: f32[2,3]
        input %b: f32[4]
        input %c: f32[2]
        input %by: f32[]
        input %row of a: f32[10]
        %0: f32[10] = Add(%row of a, %by)
        %1: f32[8] = Flat(%c, %a)
        %2: f32[8] = Multiply(%1, 2)
        %3: f32[] = Sum(%2)
        output sum = %3
        output row of a = %0
      "
    `);
  });

  it('keeps a row apart whose next value is read as well, or goes by other names', () => {
    const both: Program = {
      ...program,
      run: ({ a, b, by }) => {
        const [nextA, nextB] = unflat(tf.add(flat([a!, b!]), by!), [[2, 3], [4]]);
        return { a: nextA!, b: nextB!, again: tf.add(nextA!, 1) };
      },
    };
    const { graph } = stateRows(optimise(trace(both)), both.state);
    expect(graph.outputs.map(({ name }) => name).sort()).toEqual(['a', 'again', 'b']);
  });

  it('of a training step copies gradients only', () => {
    const c = stepCase(variants[0]!);
    const traced = optimise(trace(c.program));
    const { graph, rows } = stateRows(traced, c.program.state);
    const flats = (g: typeof graph, kernel: string) => g.nodes.filter((n) => n.kernel === kernel);
    const state = new Set(graph.inputs.filter((i) => c.program.state.includes(i.name)).map((i) => i.value));
    expect(flats(graph, 'Unflat')).toEqual([]);
    expect(
      flats(graph, 'Flat')
        .flatMap((n) => n.inputs)
        .filter((v) => state.has(v)),
    ).toEqual([]);
    expect(flats(traced, 'Flat').length - flats(graph, 'Flat').length).toBe(Object.keys(rows).length);
    expect(graph.outputs.filter(({ name }) => c.program.state.includes(name))).toEqual([]);
  });
});

describe('a program with rows', () => {
  it('steps, refuses and is set like any other', async () => {
    const executable = await new OnnxEngine({ threads: 1 }).load(program);
    executable.setState({
      a: Float32Array.of(1, 2, 3, 4, 5, 6),
      b: Float32Array.of(7, 8, 9, 10),
      c: Float32Array.of(1, 1),
    });
    const by = Float32Array.of(10);
    expect((await executable.run({ by })).sum).toEqual(Float32Array.of(46));
    expect((await executable.run({ by }, () => false)).sum).toEqual(Float32Array.of(166));
    expect(await executable.getState()).toEqual({
      a: Float32Array.of(11, 12, 13, 14, 15, 16),
      b: Float32Array.of(17, 18, 19, 20),
      c: Float32Array.of(1, 1),
    });
    executable.setState({ b: Float32Array.of(0, 0, 0, 0) });
    await executable.run({ by });
    expect(await executable.getState(['a', 'b'])).toEqual({
      a: Float32Array.of(21, 22, 23, 24, 25, 26),
      b: Float32Array.of(10, 10, 10, 10),
    });
    await executable.dispose();
  });
});
