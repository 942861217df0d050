// The grid of classification heads as a whole: schedule and rates by hand, selection, one reading of the test sets, exact resume.
import { describe, expect, it } from 'vitest';
import { stream } from '../../../src/base/random.js';
import { OnnxEngine } from '../../../src/engine/onnx/session.js';
import { batchesInMemory, type EvaluationSet, setInMemory } from '../../../src/probes/cls/batches.js';
import { type GridRequest, type GridState, trainClassificationGrid } from '../../../src/probes/cls/grid.js';
import { initialHeads } from '../../../src/probes/cls/heads.js';
import type { FeatureSource } from '../../../src/probes/sources.js';
import { relativeError } from '../../support/golden.js';
import { plainPooling } from './golden.js';

const classes = 3;
const sources: FeatureSource[] = [
  { name: 'global', width: 6, tokens: null },
  { name: 'patches', width: 5, tokens: 4 },
];
const protocol = {
  learning_rates: [1e-6, 1e-2, 3e-2],
  weight_decays: [5e-4, 5e-2],
  batch: 16,
  reference_batch: 32,
  steps: 40,
  warmup_steps: 5,
  betas: [0.9, 0.95] as [number, number],
  eps: 1e-8,
  init_std: 0.02,
};

/** Samples around one direction a class in both sources; one token of each sample shows it. */
function samples(count: number, key: string) {
  const random = stream(4, key);
  const directions = stream(4, 'directions').fillNormal(new Float32Array(classes * 11), 2);
  const labels = Int32Array.from({ length: count }, () => random.int(classes));
  const global = random.fillNormal(new Float32Array(count * 6));
  const patches = random.fillNormal(new Float32Array(count * 20));
  labels.forEach((label, i) => {
    for (let j = 0; j < 6; j++) global[i * 6 + j]! += directions[label * 11 + j]!;
    const token = random.int(4);
    for (let j = 0; j < 5; j++) patches[(i * 4 + token) * 5 + j]! += 2 * directions[label * 11 + 6 + j]!;
  });
  return { features: { global, patches }, labels };
}

const train = samples(120, 'train');
const held = samples(50, 'held');
const test = samples(150, 'test'); // more than one piece of a reading

function request(changes: Partial<GridRequest> = {}): GridRequest {
  return {
    engine: new OnnxEngine({ threads: 1 }),
    sources,
    classes,
    protocol,
    seed: 5,
    train: batchesInMemory(train.features, sources, train.labels, { batch: protocol.batch, seed: 6 }),
    validation: setInMemory('held', held.features, sources, held.labels),
    tests: [setInMemory('test', test.features, sources, test.labels)],
    ...changes,
  };
}

describe('trainClassificationGrid', () => {
  it('does the official steps: warm-up, cosine, scaled rates, AdamW without decay of biases', async () => {
    const steps = 6;
    const short = { ...protocol, steps, warmup_steps: 3, learning_rates: [1e-2], weight_decays: [0.5] };
    const one = [sources[0]!];
    const draw = batchesInMemory(train.features, one, train.labels, { batch: 16, seed: 6 });
    const [found] = await trainClassificationGrid(request({ protocol: short, sources: one, train: draw }));

    const start = initialHeads({ ...one[0]!, classes, points: 1 }, { seed: 5, source: 'global', std: 0.02 });
    const w = Float64Array.from([...start['linear.weight']!, ...start['linear.bias']!]); // [6 + 1, 3]
    const [m, v] = [new Float64Array(w.length), new Float64Array(w.length)];
    const shape = [0, 0.5, 1, 1, 0.75, 0.25]; // up to 1 at the last warm-up step, then (1 + cos(pi t / 3)) / 2
    for (let step = 0; step < steps; step++) {
      const { features, labels } = await draw(step);
      const gradient = new Float64Array(w.length);
      for (let b = 0; b < 16; b++) {
        const x = [...features.global!.subarray(b * 6, b * 6 + 6), 1];
        const logits = [0, 1, 2].map((c) => x.reduce((sum, value, j) => sum + value * w[j * 3 + c]!, 0));
        const total = logits.reduce((sum, z) => sum + Math.exp(z), 0);
        for (let c = 0; c < 3; c++) {
          const d = Math.exp(logits[c]!) / total - (labels[b] === c ? 1 : 0);
          for (const [j, value] of x.entries()) gradient[j * 3 + c]! += (d * value) / 16;
        }
      }
      const lr = 1e-2 * (16 / 32) * shape[step]!;
      for (let i = 0; i < w.length; i++) {
        m[i] = 0.9 * m[i]! + 0.1 * gradient[i]!;
        v[i] = 0.95 * v[i]! + 0.05 * gradient[i]! ** 2;
        if (i < 18) w[i]! *= 1 - lr * 0.5;
        const mean = m[i]! / (1 - 0.9 ** (step + 1));
        w[i]! -= (lr * mean) / (Math.sqrt(v[i]! / (1 - 0.95 ** (step + 1))) + 1e-8);
      }
    }
    const weight = found!.weights['linear.weight']!; // [3, 6]
    const official = Array.from({ length: 18 }, (_, i) => weight.data[(i % 3) * 6 + Math.floor(i / 3)]!);
    // Six steps of float32 with AdamW's quotient, as the bound of the issue for three.
    expect(relativeError([...official, ...found!.weights['linear.bias']!.data], w)).toBeLessThan(1e-4);
    expect(found!.grid[0]!.effectiveRate).toBeCloseTo(5e-3, 12);
  });

  it('selects on the held-out images, the first of equals, and keeps that head as it is', async () => {
    const found = await trainClassificationGrid(request());
    expect(found.map((s) => [s.source, s.head, s.grid.length])).toEqual([
      ['global', 'linear', 6],
      ['patches', 'attentive', 6],
    ]);
    expect(found[1]!.note).toContain('from 5 to 64');
    for (const { grid, selected, source } of found) {
      const accuracies = grid.map((p) => p.accuracy);
      expect(selected).toBe(accuracies.indexOf(Math.max(...accuracies)));
      expect(grid.map((p) => p.learningRate)).toEqual([1e-6, 1e-6, 1e-2, 1e-2, 3e-2, 3e-2]);
      expect(grid.map((p) => p.weightDecay)).toEqual([5e-4, 5e-2, 5e-4, 5e-2, 5e-4, 5e-2]);
      // A rate of 1e-6 leaves the first head where it started; the others find classes this far apart.
      expect(accuracies[0]!, source).toBeLessThan(0.7);
      expect(Math.max(...accuracies), source).toBeGreaterThan(0.85);
    }
    for (const { weights, tests, source } of found) {
      const w = Object.fromEntries(Object.entries(weights).map(([n, t]) => [n, t.data]));
      const x = source === 'global' ? test.features.global : pooled(w);
      const width = x.length / 150;
      const expected = Array.from({ length: 450 }, (_, i) => {
        let sum = w['linear.bias']![i % 3]!;
        for (let j = 0; j < width; j++) {
          sum += x[Math.floor(i / 3) * width + j]! * w['linear.weight']![(i % 3) * width + j]!;
        }
        return sum;
      });
      const { logits, predicted, accuracy, hits, samples: counted } = tests.test!;
      expect(relativeError(logits, expected)).toBeLessThan(3e-6); // float32 sums of some tens of terms
      predicted.forEach((c, i) => {
        expect(logits[i * 3 + c]).toBe(Math.max(...logits.subarray(i * 3, i * 3 + 3)));
      });
      expect(counted).toHaveLength(150);
      expect([...hits]).toEqual([...predicted].map((c, i) => (c === test.labels[i] ? 1 : 0)));
      expect(accuracy).toBeGreaterThan(0.8);
    }
  });

  it('reads the test set once, in order, after everything else', async () => {
    const log: string[] = [];
    const logged = (set: EvaluationSet): EvaluationSet => ({
      ...set,
      read: (first, count) => {
        log.push(`${set.name} ${first}+${count}`);
        return set.read(first, count);
      },
    });
    const base = request();
    const given = { ...base, tests: base.tests.map(logged), validation: logged(base.validation) };
    await trainClassificationGrid({ ...given, onStep: (done) => log.push(`step ${done}`) });
    expect(log.slice(-4)).toEqual(['step 40', 'held 0+50', 'test 0+128', 'test 128+22']);
    expect(log).toHaveLength(43);
  });

  it('does not depend on the test labels, and is the same every time', async () => {
    const first = await trainClassificationGrid(request());
    const other = setInMemory(
      'test',
      test.features,
      sources,
      test.labels.map((l) => (l + 1) % 3),
    );
    const again = await trainClassificationGrid(request({ tests: [other] }));
    for (const [s, { grid, selected, weights, tests }] of first.entries()) {
      expect(again[s]).toMatchObject({ grid, selected, weights });
      expect(again[s]!.tests.test!.logits).toEqual(tests.test!.logits);
    }
  });

  it('goes on from a checkpoint as if it had never stopped', async () => {
    const whole = await trainClassificationGrid(request());
    const states: GridState[] = [];
    const controller = new AbortController();
    const stopped = trainClassificationGrid(
      request({
        checkpointEvery: 15,
        onCheckpoint: (state) => void states.push(state),
        onStep: (done) => done === 22 && controller.abort(),
        signal: controller.signal,
      }),
    );
    await expect(stopped).rejects.toThrow('stopped after 22 of 40 steps');
    expect(states.map((s) => s.step)).toEqual([15, 22]);
    for (const resume of states) expect(await trainClassificationGrid(request({ resume }))).toEqual(whole);
    // A state of other sizes is refused.
    const wrong = request({ resume: states[0]!, sources: [{ ...sources[0]!, width: 7 }] });
    await expect(trainClassificationGrid(wrong)).rejects.toThrow(
      /108 values of global\/linear.weight, expected 126: they are of another evaluation/,
    );
  });

  it('counts any of several labels, drops samples without, and keeps to a subset of classes', async () => {
    const labels: (number | number[])[] = [...test.labels];
    labels[0] = [];
    labels[1] = -1;
    labels[2] = [0, 1, 2];
    const several = setInMemory('several', test.features, sources, labels);
    const subset = { ...setInMemory('subset', test.features, sources, test.labels), classSubset: [0, 2] };
    const [found] = await trainClassificationGrid(request({ tests: [several, subset] }));
    const result = found!.tests.several!;
    expect([...result.samples]).toEqual([...Array(150).keys()].slice(2));
    expect(result.hits[0]).toBe(1);
    expect(result.predicted).toHaveLength(150);
    expect(new Set(found!.tests.subset!.predicted)).toEqual(new Set([0, 2]));
  });

  it('leaves out a head that diverged, and says so when all did', async () => {
    const steep = { ...protocol, learning_rates: [1e38, 1e-2], weight_decays: [0] };
    const [found] = await trainClassificationGrid(request({ protocol: steep }));
    expect(found!.grid.map((p) => Number.isFinite(p.lastLoss))).toEqual([false, true]);
    expect(found!.grid[0]!.accuracy).toBeNaN();
    expect(found!.selected).toBe(1);
    const hopeless = { ...steep, learning_rates: [1e38] };
    await expect(trainClassificationGrid(request({ protocol: hopeless }))).rejects.toThrow(
      'every head of global diverged',
    );
  });

  it('refuses batches and sets that do not fit', async () => {
    const bad = batchesInMemory(
      train.features,
      sources,
      train.labels.map(() => 3),
      { batch: 16, seed: 0 },
    );
    await expect(trainClassificationGrid(request({ train: bad }))).rejects.toThrow(
      'label 3 is not one of 3 classes (0 to 2)',
    );
    const small = batchesInMemory(train.features, sources, train.labels, { batch: 8, seed: 0 });
    await expect(trainClassificationGrid(request({ train: small }))).rejects.toThrow(
      'a batch holds 8 samples, expected 16',
    );
    const none = setInMemory(
      'held',
      held.features,
      sources,
      held.labels.map(() => -1),
    );
    await expect(trainClassificationGrid(request({ validation: none }))).rejects.toThrow(
      'no sample of held has a label',
    );
    const cut = { ...request().tests[0]!, read: () => ({ global: new Float32Array(7) }) };
    await expect(trainClassificationGrid(request({ tests: [cut] }))).rejects.toThrow(
      'test gives 7 values of global for 128 samples, expected 768',
    );
  });
});

/** The test tokens pooled by official weights, in the plain form on tokens padded with zeros. */
function pooled(w: Record<string, Float32Array>): Float64Array {
  const inner = w.query_token!.length;
  const padded = new Float32Array(150 * 4 * inner);
  for (let t = 0; t < 600; t++) padded.set(test.features.patches.subarray(t * 5, t * 5 + 5), t * inner);
  const kv = w['kv.weight']!;
  const plain = {
    query: w.query_token!,
    'key.weight': kv.subarray(0, inner * inner),
    'value.weight': kv.subarray(inner * inner),
    'value.bias': w['kv.bias']!.subarray(inner),
  };
  return plainPooling(padded, [150, 4, inner], plain, w['kv.bias']!.subarray(0, inner));
}
