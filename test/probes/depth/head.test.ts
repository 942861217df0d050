// Linear depth heads against PyTorch in float64: losses, gradients, three steps, predictions; alone, inside a stack and in pieces.
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { stream } from '../../../src/base/random.js';
import { readSafetensors } from '../../../src/base/safetensors.js';
import type { Engine } from '../../../src/engine/program.js';
import { adamwCorrections } from '../../../src/optim/adamw.js';
import {
  type DepthForm,
  type DepthSizes,
  depthPredictionProgram,
  depthStepProgram,
} from '../../../src/probes/depth/head.js';
import { depthTargets } from '../../../src/probes/depth/select.js';
import { initialStack, pointOf } from '../../../src/probes/linear/stack.js';
import { onEveryEngine } from '../../support/engines.js';
import { relativeError } from '../../support/golden.js';

const golden = await readSafetensors(join(import.meta.dirname, '../../golden/linear_depth.safetensors'));
const setting = (name: string): number => Number(golden.metadata[name]);
const values = (name: string): number[] => Array.from(golden.tensors.get(name)!.data as Float64Array);
const [low, high] = [setting('low'), setting('high')];
const optimiser = { beta1: setting('beta1'), beta2: setting('beta2'), eps: setting('eps') };
const batch = setting('images');
const sizesOf = (outputs: number, points: number): DepthSizes => ({
  rows: setting('rows'),
  columns: setting('columns'),
  patch: setting('patch'),
  width: setting('channels'),
  outputs,
  points,
});
const third = (name: string, at: number): Float32Array => {
  const all = values(name);
  return Float32Array.from(all.slice((at * all.length) / 3, ((at + 1) * all.length) / 3));
};
/** [out, in] as [in, out]. */
const transposed = (x: number[], out: number): number[] =>
  x.map((_, i) => x[(i % out) * (x.length / out) + Math.floor(i / out)]!);

const FORMS: { form: DepthForm; outputs: number }[] = [
  { form: { head: 'bins', low, high, upsample: setting('upsample') }, outputs: setting('bins') },
  { form: { head: 'regression', low, high, huber: setting('huber') }, outputs: 1 },
];
const ours = { lr: setting('lr'), decay: setting('decay') };
const other = { lr: 1e-3, decay: 0.4 };

/** Three steps of a stack whose point `at` starts as the golden head; the first is the warm-up's. */
async function train(
  engine: Engine,
  { form, outputs }: (typeof FORMS)[number],
  points: readonly (typeof ours)[],
  at: number,
  piece: number,
) {
  const sizes = sizesOf(outputs, points.length);
  const random = stream(5, 'others');
  const place = (x: number[]) =>
    Float32Array.from({ length: x.length * points.length }, (_, i) => {
      const row = Math.floor(i / (points.length * outputs));
      const own = Math.floor(i / outputs) % points.length === at;
      return own ? x[row * outputs + (i % outputs)]! : random.normal();
    });
  const executable = await engine.load(
    depthStepProgram(sizes, form, { batch, optimiser, piece, reference: true }),
  );
  executable.setState({
    ...initialStack(sizes, { name: 'start', seed: 0, std: 1 }),
    weight: place(transposed(values(`${form.head}.weight`), outputs)),
    bias: place(values(`${form.head}.bias`)),
  });
  const all: Record<string, ArrayLike<number>>[] = [];
  for (let step = 0; step < 3; step++) {
    const { correction1, rootCorrection2 } = adamwCorrections(step + 1, optimiser);
    const { spread, ...targets } = depthTargets(third('depths', step), sizes, high);
    all.push(
      await executable.run({
        features: third('features', step),
        ...targets,
        ...(form.head === 'bins' ? { spread: Float32Array.of(step === 0 ? 0 : spread) } : {}),
        lr: Float32Array.from(points, (p) => p.lr),
        decay: Float32Array.from(points, (p) => p.decay),
        correction1: Float32Array.of(correction1),
        root_correction2: Float32Array.of(rootCorrection2),
      }),
    );
  }
  const after = await executable.getState();
  await executable.dispose();
  return { steps: all, after: pointOf(after, at, sizes), sizes };
}

// Float32 against float64 reaches 2.1e-6 in the worst of these, on every engine.
const MOST = 1e-5;

onEveryEngine('linear depth heads', (opened) => {
  for (const made of FORMS) {
    const { head } = made.form;
    it.each([
      { points: [ours], at: 0, piece: 3 },
      { points: [other, ours, other], at: 1, piece: 2 },
    ])(
      `${head}: losses, gradients and steps are those of PyTorch ($points.length in the stack, $piece images a piece)`,
      async (o) => {
        const { steps, after, sizes } = await train(await opened.open(), made, o.points, o.at, o.piece);
        const losses = steps.map(({ losses }) => losses![o.at]!);
        expect(relativeError(losses, values(`${head}.losses`))).toBeLessThan(MOST);
        const own = (x: ArrayLike<number>) => pointOf({ weight: x as Float32Array }, o.at, sizes).weight!;
        const { outputs } = made;
        const gradient = own(steps[1]!['gradient.weight']!);
        expect(relativeError(gradient, transposed(values(`${head}.gradient.weight`), outputs))).toBeLessThan(
          MOST,
        );
        const ofBias = own(steps[1]!['gradient.bias']!);
        expect(relativeError(ofBias, values(`${head}.gradient.bias`))).toBeLessThan(MOST);
        const weight = transposed(values(`${head}.after3.weight`), outputs);
        expect(relativeError(after.weight!, weight)).toBeLessThan(MOST);
        for (const name of ['bias', 'running_mean', 'running_var'])
          expect(relativeError(after[name]!, values(`${head}.after3.${name}`)), name).toBeLessThan(MOST);
      },
    );

    it(`${head}: the depth of every pixel is that of PyTorch`, async () => {
      const state = Object.fromEntries(
        ['weight', 'bias', 'running_mean', 'running_var'].map((name) => {
          const x = values(`${head}.after3.${name}`);
          return [name, Float32Array.from(name === 'weight' ? transposed(x, made.outputs) : x)];
        }),
      );
      const program = depthPredictionProgram(sizesOf(made.outputs, 1), made.form, batch);
      const executable = await (await opened.open()).load(program);
      executable.setState(state);
      const { said } = await executable.run({ features: third('features', 0) });
      await executable.dispose();
      expect(relativeError(said!, values(`${head}.evaluated`))).toBeLessThan(MOST);
    });
  }

  it('learn nothing from a batch without depth', async () => {
    const sizes = sizesOf(3, 1);
    const form = { head: 'bins', low, high, upsample: 1 } as const;
    const executable = await (await opened.open()).load(
      depthStepProgram(sizes, form, { batch, optimiser, reference: true }),
    );
    executable.setState(initialStack(sizes, { name: 'start', seed: 0, std: 1 }));
    const { spread, ...targets } = depthTargets(third('depths', 0).fill(0), sizes, high);
    const found = await executable.run({
      features: third('features', 0),
      ...targets,
      spread: Float32Array.of(spread),
      lr: Float32Array.of(0.1),
      decay: Float32Array.of(0),
      correction1: Float32Array.of(0.1),
      root_correction2: Float32Array.of(0.1),
    });
    await executable.dispose();
    expect(
      [...found['gradient.weight']!, ...found['gradient.bias']!, ...found.losses!].every((x) => x === 0),
    ).toBe(true);
  });
});
