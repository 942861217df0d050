// State on a GPU: it lies there between steps, survives the way there and back, and steps free what they replace.
import { expect, it } from 'vitest';
import type { OnnxExecutable } from '../../../src/engine/onnx/session.js';
import type { Program } from '../../../src/engine/program.js';
import { tf } from '../../../src/tensor/tf.js';
import { webgpu } from '../../support/engines.js';
import { suiteNeeding } from '../../support/suites.js';

const MEBIBYTE = 2 ** 18; // values of float32

function accumulator(shape: number[]): Program {
  const of = { shape, dtype: 'float32' as const };
  return {
    name: 'accumulator',
    inputs: { total: of, fixed: of, by: { shape: [], dtype: 'float32' } },
    state: ['total', 'fixed'],
    run: ({ total, fixed, by }) => {
      const next = tf.add(total!, tf.mul(fixed!, by!));
      return { total: next, largest: tf.max(next) };
    },
  };
}

suiteNeeding('webgpu-swiftshader')('state on the device', () => {
  it('never comes back between steps, whether they change it or not', async () => {
    const executable = (await (await webgpu.open()).load(accumulator([2, 3]))) as OnnxExecutable;
    executable.setState({ total: new Float32Array(6), fixed: Float32Array.of(1, 2, 3, 4, 5, 6) });
    const resident = { total: 'device', fixed: 'device' };
    for (let step = 1; step <= 3; step++) {
      const { largest } = await executable.run({ by: Float32Array.of(0.5) });
      expect(largest).toEqual(Float32Array.of(3 * step));
      expect(executable.locations).toEqual(resident);
    }
    await executable.run({ by: Float32Array.of(100) }, () => false);
    expect(executable.locations).toEqual(resident);
    expect((await executable.getState(['total'])).total).toEqual(Float32Array.of(1.5, 3, 4.5, 6, 7.5, 9));
    expect(executable.locations).toEqual(resident);
    await executable.dispose();
  });

  it('carries any float32 there and back', async () => {
    const executable = await (await webgpu.open()).load(accumulator([5]));
    const values = Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, -0, 3.4e38, 1.2e-38);
    executable.setState({ total: values, fixed: values });
    const back = await executable.getState();
    expect(new Uint32Array(back.total!.buffer)).toEqual(new Uint32Array(values.buffer));
    await executable.dispose();
  });

  it('frees the state that a step replaces, or that is refused', async () => {
    const executable = await (await webgpu.open()).load(accumulator([8, MEBIBYTE]));
    const zeros = new Float32Array(8 * MEBIBYTE);
    executable.setState({ total: zeros, fixed: zeros });
    const step = (accepted: boolean) => executable.run({ by: Float32Array.of(1) }, () => accepted);
    for (let i = 0; i < 4; i++) await step(i % 2 === 0);
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 40; i++) await step(i % 2 === 0);
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    expect(grown).toBeLessThan(100); // MiB; 40 states kept would be 320
    await executable.dispose();
  });

  it('computes weights that never change into the program', async () => {
    const program = accumulator([3]);
    const executable = await (await webgpu.open()).load(program, { fixed: Float32Array.of(1, 2, 3) });
    executable.setState({ total: Float32Array.of(1, 1, 1) });
    await executable.run({ by: Float32Array.of(2) });
    expect(await executable.getState(['total'])).toEqual({ total: Float32Array.of(3, 5, 7) });
    await executable.dispose();
  });
});
