// What a trace refuses, in words that name the kernel and the program, and that it leaves nothing behind.

import { describe, expect, it } from 'vitest';
import { optimise } from '../../../src/engine/graph/passes/index.js';
import { trace } from '../../../src/engine/graph/trace.js';
import { OnnxBuilder } from '../../../src/engine/onnx/builder.js';
import { lower, lowerInto } from '../../../src/engine/onnx/lower.js';
import { OnnxEngine } from '../../../src/engine/onnx/session.js';
import type { Program } from '../../../src/engine/program.js';
import { EngineError } from '../../../src/errors.js';
import { rotary, rotaryTable } from '../../../src/tensor/ops/index.js';
import { type NamedTensorMap, type Tensor, tf } from '../../../src/tensor/tf.js';
import { stepCase, variants } from '../configs.js';

const program = (name: string, run: (i: NamedTensorMap) => NamedTensorMap): Program => ({
  name,
  inputs: { x: { shape: [2, 3], dtype: 'float32' } },
  state: [],
  run,
});

describe('a kernel that is not in the table', () => {
  const floors = program('floors', ({ x }) => ({ y: tf.floor(x!) }));

  it('is an error that names kernel and program', async () => {
    const error = await new OnnxEngine().load(floors).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(EngineError);
    expect((error as EngineError).message).toMatch(/kernel Floor, which program floors uses/);
    expect((error as EngineError).message).toContain('--engine tensorflow');
    expect((error as EngineError).message).not.toContain('\n');
    expect((error as EngineError).details).toEqual({ kernel: 'Floor', program: 'floors' });
    expect((error as EngineError).exitCode).toBe(2);
  });

  it('is named too where it is the gradient that needs it', () => {
    const gathers = program('gathers', ({ x }) => ({
      y: tf.grad((x) => tf.sum(tf.gather(x, tf.tensor1d([0, 1], 'int32'))))(x!),
    }));
    expect(() => trace(gathers)).toThrow(/kernel UnsortedSegmentSum, which program gathers uses/);
  });

  it('is named when a graph made otherwise is lowered', () => {
    const graph = trace(program('negates', ({ x }) => ({ y: tf.neg(x!) })));
    const changed = { ...graph, nodes: graph.nodes.map((n) => ({ ...n, kernel: 'Nagate' })) };
    expect(() => lower(changed)).toThrow(EngineError);
    expect(() => lower(changed)).toThrow(
      'kernel Nagate of program negates has no lowering on the onnx engine',
    );
  });
});

describe('a program that looks at its data', () => {
  it('is refused', () => {
    const peeks = program('peeks', ({ x }) => ({ y: tf.mul(x!, x!.dataSync()[0]!) }));
    expect(() => trace(peeks)).toThrow(EngineError);
    expect(() => trace(peeks)).toThrow('control flow must not depend on data');
  });
});

describe('a trace', () => {
  const good = stepCase(variants[0]!).program;
  const bad = program('floors', ({ x }) => ({ y: tf.floor(tf.neg(x!)) }));

  it('leaves the backend and no tensor behind, also when it fails', () => {
    tf.setBackend('cpu');
    const before = tf.memory().numTensors;
    trace(good);
    expect(() => trace(bad)).toThrow();
    expect(tf.getBackend()).toBe('cpu');
    expect(tf.memory().numTensors).toBe(before);
  });

  it('is the same every time', () => {
    expect(Buffer.from(lower(trace(good))).equals(Buffer.from(lower(trace(good))))).toBe(true);
  });
});

describe('rotary positions', () => {
  /** The ONNX operators of tokens [rows * heads, 4] turned by a table of three rows. */
  const operators = (heads: number, coords: (i: NamedTensorMap) => Tensor): string[] => {
    const inputs = {
      x: { shape: [3 * heads, 4], dtype: 'float32' as const },
      coords: { shape: [3, 2], dtype: 'float32' as const },
    };
    const freqs = Float32Array.of(1, 2, 0, 0, 0, 0, 3, 5);
    const run = (i: NamedTensorMap): NamedTensorMap => ({
      y: rotary(i.x!, rotaryTable(coords(i), tf.tensor2d(freqs, [2, 4]))),
    });
    const b = new OnnxBuilder();
    lowerInto(b, optimise(trace({ name: 'turns', inputs, state: [], run })));
    return b.nodes.map(({ op }) => op).filter((op) => op !== 'Reshape');
  };
  const known = (): Tensor => tf.tensor2d([0.1, 0.9, 0.5, 0.5, 0.8, 0.3], [3, 2]);

  it('that are known beforehand turn many heads by one product', () => {
    expect(operators(16, known)).toEqual(['MatMul']);
  });

  it('are computed element by element for few heads, and where they come with the batch', () => {
    expect(operators(4, known)).toEqual(['Gather', 'Mul', 'Mul', 'Add']);
    expect(operators(16, (i) => i.coords!)).toEqual(expect.arrayContaining(['Cos', 'Gather', 'Add']));
  });
});
