// What crosses between us and onnxruntime in a training step: the batch and scalars go in, metrics come out, and no state does.
// Counted at the door: every byte that a call of the library may read or write of ours is a tensor over host memory.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ortApi } from '../../src/engine/onnx/c_api.js';
import { openOnnxFile } from '../../src/engine/onnx/foreign_file.js';
import { OnnxEngine, type OnnxExecutable } from '../../src/engine/onnx/session.js';
import { elements, type Values } from '../../src/engine/program.js';
import { type Case, stepCase, variants } from './configs.js';

const bytesOf = (values: Iterable<Values>): number => [...values].reduce((n, v) => n + v.byteLength, 0);

/** Bytes of host memory that onnxruntime is given while `work` runs, and how often tensors are copied. */
async function counted(work: () => Promise<unknown>): Promise<{ lent: number; copies: number }> {
  const [made, called] = [vi.spyOn(ortApi(), 'make'), vi.spyOn(ortApi(), 'call')];
  await work();
  const lent = made.mock.calls.filter(([name]) => name === 'CreateTensorWithDataAsOrtValue');
  const copies = called.mock.calls.filter(([name]) => name === 'CopyTensors').length;
  return { lent: bytesOf(lent.map((call) => call[2] as Values)), copies };
}

async function loaded(c: Case): Promise<OnnxExecutable> {
  const executable = await new OnnxEngine({ threads: 1 }).load(c.program);
  executable.setState(c.state);
  return executable;
}

describe('a training step', () => {
  afterEach(() => void vi.restoreAllMocks());

  it.each(variants.slice(0, 3))('is given its inputs and nothing else: $name', async (variant) => {
    const c = stepCase(variant);
    const executable = await loaded(c);
    for (const step of [7, 8, 9]) {
      const inputs = c.inputs(step);
      let outputs: Record<string, Values> = {};
      const { lent, copies } = await counted(async () => {
        outputs = await executable.run(inputs);
      });
      expect(lent).toBe(bytesOf(Object.values(inputs)) + bytesOf(Object.values(outputs)));
      expect(lent).toBeLessThan(bytesOf(Object.values(c.state)) / 4); // and the state is far more
      expect(copies).toBe(0);
      vi.restoreAllMocks();
    }
    expect(new Set(Object.values(executable.locations))).toEqual(new Set(['host']));
    await executable.dispose();
  });

  it('keeps the event loop going', async () => {
    const side = 1500; // a product of some 7 GFLOP, 30 ms at the very least
    const square = { shape: [side, side], dtype: 'float32' as const };
    const executable = await new OnnxEngine({ threads: 1 }).load({
      name: 'long',
      inputs: { a: square },
      state: [],
      run: ({ a }) => ({ sum: a!.matMul(a!).sum() }),
    });
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await executable.run({ a: new Float32Array(elements(square.shape)) });
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(3);
    await executable.dispose();
  });

  it('takes runs that are asked for at once one after another', async () => {
    const c = stepCase(variants[0]!);
    const [together, apart] = [await loaded(c), await loaded(c)];
    const steps = [7, 8, 9];
    const all = await Promise.all(steps.map((step) => together.run(c.inputs(step))));
    for (const [i, step] of steps.entries()) expect(all[i]).toEqual(await apart.run(c.inputs(step)));
    expect(await together.getState()).toEqual(await apart.getState());
    await together.dispose();
    await apart.dispose();
  });

  it('knows how much memory its intermediate values took', async () => {
    const c = stepCase(variants[0]!);
    const executable = await loaded(c);
    const idle = executable.peakBytes();
    await executable.run(c.inputs(7));
    const once = executable.peakBytes();
    const largest = Math.max(
      ...executable.graph.nodes.flatMap((n) => n.outputs.map((o) => 4 * elements(o.shape))),
    );
    expect(once - idle).toBeGreaterThan(largest); // what it is made of stands beside it
    await executable.run(c.inputs(8));
    expect(executable.peakBytes()).toBeLessThan(1.5 * once); // runs do not pile up
    await executable.dispose();
  });
});

describe('the library', () => {
  it('stays loaded after a garbage collection', async () => {
    const c = stepCase(variants[0]!);
    const executable = await loaded(c);
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    for (let i = 0; i < 3; i++) {
      gc();
      await new Promise(setImmediate); // finalisers
    }
    await executable.run(c.inputs(7));
    await executable.dispose();
  });

  it('says in its own words what went wrong', async () => {
    await expect(openOnnxFile('/nowhere.onnx', { device: 'cpu' })).rejects.toThrow(
      /^onnxruntime cannot run \/nowhere.onnx on cpu: .*File doesn't exist/,
    );
  });
});
