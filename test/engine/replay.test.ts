// A recorded program on a TensorFlow.js backend: the same bits as the program as it is written, and nothing left behind.
import { describe, expect, it } from 'vitest';
import { EagerEngine } from '../../src/engine/eager.js';
import { referenceEngine } from '../../src/engine/reference.js';
import { recorded } from '../../src/engine/replay.js';
import { tensorflowEngine } from '../../src/engine/tensorflow.js';
import { tf } from '../../src/tensor/tf.js';
import { suiteNeeding } from '../support/suites.js';
import { small, stepCase, variants } from './configs.js';

const replaying = () => new EagerEngine('reference', 'cpu', '', 'cpu', undefined, true);

describe('a recorded program', () => {
  it.each(['micro-batches', 'drop path', 'the iBOT loss'])(
    'gives the same bits: a step with %s',
    async (name) => {
      const c = stepCase(variants.find((v) => v.name === name)!);
      const results = [];
      for (const engine of [referenceEngine(), replaying()]) {
        const executable = await engine.load(c.program);
        executable.setState(c.state);
        results.push([
          await executable.run(c.inputs(1)),
          await executable.run(c.inputs(2)),
          await executable.getState(),
        ]);
        await executable.dispose();
      }
      expect(results[1]).toEqual(results[0]);
    },
  );

  it('gives back constants and inputs as often as they are asked for', async () => {
    const executable = await replaying().load({
      name: 'constant',
      inputs: { x: { shape: [2], dtype: 'float32' } },
      state: [],
      run: ({ x }) => ({ five: tf.tensor1d([5, 5]), x: x!, again: x! }),
    });
    const x = Float32Array.of(1, 2);
    const five = Float32Array.of(5, 5);
    for (let i = 0; i < 2; i++) expect(await executable.run({ x })).toEqual({ five, x, again: x });
    await executable.dispose();
  });

  it('is not made of a program that reads its tensors', () => {
    const program = {
      name: 'reads',
      inputs: { x: { shape: [], dtype: 'float32' as const } },
      state: [],
      run: ({ x }: Record<string, tf.Tensor>) => ({ y: x!.dataSync()[0]! > 0 ? tf.scalar(1) : tf.scalar(2) }),
    };
    expect(recorded(program, 'cpu')).toBeUndefined();
  });
});

suiteNeeding('tfjs-node')('a training run on tensorflow', () => {
  it('holds as many tensors and bytes after 100 steps as after 2 (1,000: benchmarks/memory/growth.js)', async () => {
    const config = small({
      model: { image_size: 8, depth: 1, predictor: { depth: 1 } },
      clustering: { prototypes: 8 },
      train: { steps: 100 },
    });
    const options = { mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2] };
    const c = stepCase({ name: '', config, options });
    const executable = await tensorflowEngine('auto', 1).load(c.program);
    executable.setState(c.state);
    const held = (): number[] => [tf.memory().numTensors, tf.memory().numBytes, tf.memory().numDataBuffers];
    const seen: number[][] = [];
    for (let step = 0; step < 100; step++) {
      const { capi_loss } = await executable.run(c.inputs(step));
      expect(Number.isFinite(capi_loss![0])).toBe(true);
      if (step > 0) seen.push(held());
    }
    expect(seen.filter((now) => now.join() !== seen[0]!.join())).toEqual([]);
    await executable.dispose();
  }, 600_000);
});
