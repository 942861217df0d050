// Linear segmentation heads against PyTorch in float64, alone and inside a stack, and the properties that their memory bound relies on.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { stream } from '../../../src/base/random.js';
import { readSafetensors } from '../../../src/base/safetensors.js';
import type { Engine } from '../../../src/engine/program.js';
import { adamwCorrections } from '../../../src/optim/adamw.js';
import { initialStack, pointOf } from '../../../src/probes/linear/stack.js';
import { interpolation } from '../../../src/probes/linear/upsample.js';
import { labelMass } from '../../../src/probes/seg/label_mass.js';
import {
  type LinearSizes,
  linearPredictionProgram,
  linearStepProgram,
} from '../../../src/probes/seg/linear_head.js';
import { onEveryEngine } from '../../support/engines.js';
import { relativeError } from '../../support/golden.js';

const golden = await readSafetensors(
  join(import.meta.dirname, '../../golden/linear_segmentation.safetensors'),
);
const setting = (name: string): number => Number(golden.metadata[name]);
const values = (name: string): number[] => Array.from(golden.tensors.get(name)!.data as Float64Array);
const [rows, columns, patch, classes] = ['rows', 'columns', 'patch', 'classes'].map(setting) as [
  number,
  number,
  number,
  number,
];
const sizes: LinearSizes = { rows, columns, patch, outputs: classes, width: setting('channels'), points: 1 };
const batch = setting('images');
const optimiser = { beta1: setting('beta1'), beta2: setting('beta2'), eps: setting('eps') };
const IGNORED = 255;
const NAMED = { name: 'linear segmentation head' };

/** [out, in] as [in, out]. */
const transposed = (x: number[], out: number): number[] =>
  x.map((_, i) => x[(i % out) * (x.length / out) + Math.floor(i / out)]!);

const step = (name: string, at: number): number[] => {
  const all = values(name);
  return all.slice((at * all.length) / 3, ((at + 1) * all.length) / 3);
};
const batches = [0, 1, 2].map((at) => ({
  features: Float32Array.from(step('features', at)),
  labels: Uint8Array.from(step('labels', at)),
}));

type State = Record<string, Float32Array>;
interface Point {
  lr: number;
  decay: number;
}

/** The state of a stack whose point `at` starts as the golden head and whose others start elsewhere. */
function goldenStart(points: number, at: number): State {
  const random = stream(5, 'others');
  const weight = transposed(values('weight'), classes);
  const bias = values('bias');
  const state = initialStack({ ...sizes, points }, { ...NAMED, seed: 0, std: 1 });
  const place = (x: number[]) =>
    Float32Array.from({ length: x.length * points }, (_, i) => {
      const [row, g, c] = [Math.floor(i / (points * classes)), Math.floor(i / classes) % points, i % classes];
      return g === at ? x[row * classes + c]! : random.normal();
    });
  return { ...state, weight: place(weight), bias: place(bias) };
}

/** The three golden batches as three steps; outputs of the first, losses of all and the state after the last. */
async function train(engine: Engine, points: readonly Point[], state: State, piece?: number) {
  const executable = await engine.load(
    linearStepProgram(
      { ...sizes, points: points.length },
      { batch, optimiser, reference: true, ...(piece ? { piece } : {}) },
    ),
  );
  executable.setState(state);
  const outputs: Record<string, ArrayLike<number>>[] = [];
  for (const [at, { features, labels }] of batches.entries()) {
    const { correction1, rootCorrection2 } = adamwCorrections(at + 1, optimiser);
    outputs.push(
      await executable.run({
        features,
        ...labelMass(labels, sizes, classes, [IGNORED]),
        lr: Float32Array.from(points, (p) => p.lr),
        decay: Float32Array.from(points, (p) => p.decay),
        correction1: Float32Array.of(correction1),
        root_correction2: Float32Array.of(rootCorrection2),
      }),
    );
  }
  const after = await executable.getState();
  await executable.dispose();
  return { first: outputs[0]!, losses: outputs.map((o) => o.losses!), after };
}

/** `interpolation` of patch logits [B * N, C] to pixels [B, H, W, C], in plain loops. */
function upsampled(logits: ArrayLike<number>): Float64Array {
  const [height, width] = [rows * patch, columns * patch];
  const [v, h] = [interpolation(rows, patch), interpolation(columns, patch)];
  const out = new Float64Array(batch * height * width * classes);
  for (let at = 0; at < out.length; at++) {
    const c = at % classes;
    const x = Math.floor(at / classes) % width;
    const y = Math.floor(at / classes / width) % height;
    const image = Math.floor(at / classes / width / height);
    for (let r = 0; r < rows; r++) {
      for (let s = 0; s < columns; s++) {
        const logit = logits[((image * rows + r) * columns + s) * classes + c]!;
        out[at]! += v[y * rows + r]! * h[x * columns + s]! * logit;
      }
    }
  }
  return out;
}

const ours = { lr: setting('lr'), decay: setting('decay') };
const other = { lr: 1e-3, decay: 0.4 };

onEveryEngine('linear segmentation heads', (opened) => {
  it.each([
    { points: [ours], at: 0 },
    { points: [other, ours, other], at: 1 },
  ])('are those of PyTorch: logits, loss, gradients, 3 steps ($points.length in the stack)', async (o) => {
    const { points, at } = o;
    const all = { ...sizes, points: points.length };
    const { first, losses, after } = await train(await opened.open(), points, goldenStart(points.length, at));
    const own = (x: ArrayLike<number>) => pointOf({ weight: x as Float32Array }, at, all).weight!;
    // The bound is 1e-4. Float32 against float64 reaches 1.6e-6 in the worst of these, on every engine.
    expect(relativeError(upsampled(own(first.logits!)), values('logits'))).toBeLessThan(5e-6);
    expect(
      relativeError(own(first['gradient.weight']!), transposed(values('gradient.weight'), classes)),
    ).toBeLessThan(5e-6);
    expect(relativeError(own(first['gradient.bias']!), values('gradient.bias'))).toBeLessThan(5e-6);
    expect(
      relativeError(
        losses.map((l) => l[at]!),
        values('losses'),
      ),
    ).toBeLessThan(5e-6);
    const state = pointOf(after, at, all);
    expect(relativeError(state.weight!, transposed(values('after3.weight'), classes))).toBeLessThan(5e-6);
    for (const name of ['bias', 'running_mean', 'running_var']) {
      expect(relativeError(state[name]!, values(`after3.${name}`)), name).toBeLessThan(5e-6);
    }
  });

  it('predict the most likely class of every pixel with running statistics', async () => {
    const after = Object.fromEntries(
      ['weight', 'bias', 'running_mean', 'running_var'].map((n) => {
        const x = values(`after3.${n}`);
        return [n, Float32Array.from(n === 'weight' ? transposed(x, classes) : x)];
      }),
    );
    const executable = await (await opened.open()).load(linearPredictionProgram(sizes, batch));
    executable.setState(after);
    const { said } = await executable.run({ features: batches[0]!.features });
    await executable.dispose();
    const logits = values('evaluated');
    const expected = Array.from({ length: logits.length / classes }, (_, i) => {
      const own = logits.slice(i * classes, (i + 1) * classes);
      return own.indexOf(Math.max(...own)); // no two of them lie within 1e-4
    });
    expect(Array.from(said!)).toEqual(expected);
  });

  it('train each grid point as if it were alone, in pieces of any size', async () => {
    const engine = await opened.open();
    const points = [other, ours, { lr: 3e-2, decay: 0 }];
    const all = { ...sizes, points: points.length };
    const start = initialStack(all, { ...NAMED, seed: 3, std: 0.5 });
    const together = await train(engine, points, start, 2);
    for (const [g, point] of points.entries()) {
      const alone = await train(engine, [point], initialStack(sizes, { ...NAMED, seed: 3, std: 0.5 }), 1);
      for (const [name, values] of Object.entries(pointOf(together.after, g, all))) {
        // Other shapes of products and another order of sums round otherwise, which AdamW's quotient enlarges.
        expect(relativeError(values, alone.after[name]!), `${name} of ${g}`).toBeLessThan(1e-5);
      }
    }
  });
});

describe('label mass', () => {
  it('leaves ignored pixels out, and weighs nothing where all are ignored', () => {
    const { labels } = batches[0]!;
    const usual = labelMass(labels, sizes, classes, [IGNORED]);
    const others = labels.map((label) => (label === IGNORED ? 77 : label));
    expect(labelMass(others, sizes, classes, [IGNORED, 77])).toEqual(usual);
    const total = (x: Float32Array) => x.reduce((a, b) => a + b, 0);
    expect(total(usual.weights)).toBeCloseTo(1, 5); // float32 sums of some hundred terms
    expect(total(usual.mass)).toBeCloseTo(1, 5);
    const none = labelMass(
      labels.map(() => IGNORED),
      sizes,
      classes,
      [IGNORED],
    );
    expect(total(none.weights) + total(none.mass)).toBe(0);
  });

  it('refuses a label that is no class', () => {
    expect(() => labelMass(Uint8Array.of(...batches[0]!.labels).fill(5), sizes, classes, [IGNORED])).toThrow(
      /^label 5 of a label map is not one of 5 classes \(0 to 4\) and not ignored$/,
    );
  });
});
