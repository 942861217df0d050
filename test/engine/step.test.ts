// The whole training step in every variant of the config, and the encoder: every engine gives what the reference engine gives.

import { expect, it } from 'vitest';
import type { Engine, Outputs } from '../../src/engine/program.js';
import { referenceEngine } from '../../src/engine/reference.js';
import { cuda, engines, onEveryEngine, webgpu } from '../support/engines.js';
import { relativeError } from '../support/golden.js';
import { type Case, encoderCase, stepCase, type Variant, variants } from './configs.js';

// Two float32 engines differ by the order of their sums: some 1e-7 in a mean, some 1e-6 where a gradient has passed the
// whole depth, and twice that in its square.
const LOSS = 1e-6;
const TENSOR = 1e-5;

const STEPS = 3;

/** Outputs and next state of every step. */
async function run(engine: Engine, { program, state, inputs }: Case, steps = STEPS): Promise<Outputs[]> {
  const executable = await engine.load(program);
  executable.setState(state);
  const results: Outputs[] = [];
  for (let step = 0; step < steps; step++) {
    const outputs = await executable.run(inputs(step + 7));
    results.push({ ...outputs, ...(await executable.getState()) });
  }
  await executable.dispose();
  return results;
}

function expectSame(results: Outputs[], wanted: Outputs[]): void {
  for (const [step, outputs] of wanted.entries()) {
    for (const [name, values] of Object.entries(outputs)) {
      const error = relativeError(results[step]![name]!, values);
      expect(error, `${name} after step ${step + 1}`).toBeLessThan(name.endsWith('_loss') ? LOSS : TENSOR);
    }
  }
}

const known = new Map<string, Promise<Outputs[]>>();
/** What the reference engine gives, computed once. */
function reference(name: string, c: Case): Promise<Outputs[]> {
  const results = known.get(name) ?? run(referenceEngine(), c);
  known.set(name, results);
  return results;
}

const others = [...engines.filter((engine) => engine.name !== 'reference'), webgpu, cuda]; // the golden tests hold that one

// In software WebGPU compiles shaders for seconds: a few variants that differ most.
const onWebgpu = [
  'the defaults',
  'micro-batches',
  'drop path',
  'a fused predictor, in micro-batches',
  'an MLP head',
];
const variantsOn = (engine: string): Variant[] =>
  engine === 'webgpu' ? variants.filter((v) => onWebgpu.includes(v.name)) : variants;

onEveryEngine(
  'the training step',
  (engine) => {
    it.each(variantsOn(engine.name))('$name', async (v) => {
      const c = stepCase(v);
      expectSame(await run(await engine.open(), c), await reference(v.name, c));
    });

    it('is the same in micro-batches', async () => {
      const [whole, parts] = ['the defaults', 'micro-batches'].map((name) =>
        stepCase(variants.find((v) => v.name === name)!),
      );
      const opened = await engine.open();
      expectSame(await run(opened, parts!), await run(opened, whole!));
    });
  },
  others,
);

onEveryEngine(
  'the encoder',
  (engine) => {
    it.each([
      { name: 'at a size of its own, not square', c: () => encoderCase([12, 20]) },
      { name: 'without registers', c: () => encoderCase([16, 16], 0) },
      { name: 'with a fused predictor', c: () => encoderCase([12, 20], 4, { predictor: { type: 'fused' } }) },
      {
        name: 'with learned positions under self-attention',
        c: () => encoderCase([20, 20], 3, { positions: 'learned', predictor: { depth: 1, type: 'self' } }),
      },
    ])('$name', async ({ name, c }) => {
      expectSame(await run(await engine.open(), c(), 1), (await reference(name, c())).slice(0, 1));
    });
  },
  others,
);
