// Selection of the linear segmentation head on a small set that can be learned: what it reaches, resuming, ignored pixels, failures.
import { beforeAll, describe, expect, it } from 'vitest';
import { stream } from '../../../src/base/random.js';
import { OnnxEngine } from '../../../src/engine/onnx/session.js';
import type { Engine } from '../../../src/engine/program.js';
import { rowsInMemory } from '../../../src/features/rows.js';
import type { LinearProtocol } from '../../../src/probes/linear/protocol.js';
import { patchPixels } from '../../../src/probes/patch_pixels.js';
import { type LinearRequest, selectLinear } from '../../../src/probes/seg/linear.js';
import type { Piece } from '../../../src/probes/state.js';

const [rows, columns, patch, width, classes] = [3, 5, 4, 8, 4];
const IGNORED = 255;
let engine: Engine;
beforeAll(() => {
  engine = new OnnxEngine({ threads: 1 });
});

/**
 * Images of one vertical and one horizontal border between four classes; a patch's features are a fixed random mixture of its share of
 * each class, with noise and large offsets that only a normalisation takes away. A tenth of the pixels is ignored.
 */
function images(count: number, seed: number) {
  const random = stream(seed, 'toy images');
  const mixture = stream(0, 'toy mixture').fillNormal(new Float32Array(classes * width));
  const [height, across] = [rows * patch, columns * patch];
  const maps = new Uint8Array(count * height * across);
  for (let i = 0; i < count; i++) {
    const [y0, x0] = [random.int(height), random.int(across)];
    for (let at = 0; at < height * across; at++) {
      const label = 2 * Number(Math.floor(at / across) >= y0) + Number(at % across >= x0);
      maps[i * height * across + at] = label;
    }
  }
  const pixels = patchPixels(maps, { height, width: across, patch });
  const patches = count * rows * columns;
  const features = new Float32Array(patches * width);
  for (let t = 0; t < patches; t++) {
    for (let d = 0; d < width; d++) {
      let sum = 0;
      for (let p = 0; p < patch ** 2; p++) sum += mixture[pixels[t * patch ** 2 + p]! * width + d]!;
      features[t * width + d] = 100 + 10 ** (d % 3) * (sum / patch ** 2 + 0.1 * random.normal());
    }
  }
  const truth = pixels.slice();
  for (let i = 0; i < pixels.length; i++) if (random.next() < 0.1) pixels[i] = IGNORED;
  return {
    truth,
    rows: {
      images: count,
      features: rowsInMemory(features, width),
      labels: rowsInMemory(pixels, patch ** 2),
    },
    pixels,
  };
}

/** The largest share of pixels that one label for each patch can get right. */
function oneLabelEach(truth: Uint8Array): number {
  let hits = 0;
  for (let t = 0; t < truth.length; t += patch ** 2) {
    const own = truth.subarray(t, t + patch ** 2);
    hits += Math.max(...Array.from({ length: classes }, (_, c) => own.filter((l) => l === c).length));
  }
  return hits / truth.length;
}

const protocol: LinearProtocol = {
  learning_rates: [1e-5, 3e-2],
  weight_decays: [1e-3],
  batch: 8,
  steps: 60,
  warmup_steps: 5,
  betas: [0.9, 0.999],
  eps: 1e-8,
  init_std: 0.01,
};
const train = images(40, 1);
const request = (more: Partial<LinearRequest> = {}): LinearRequest => ({
  engine,
  train: train.rows,
  split: {
    train: Int32Array.from({ length: 32 }, (_, i) => i),
    validation: Int32Array.from({ length: 8 }, (_, i) => 32 + i),
  },
  grid: { rows, columns },
  patch,
  classes,
  ignore: [IGNORED],
  seed: 7,
  ...more,
});

/** A state in memory. */
function memory() {
  const kept = new Map<string, Piece>();
  return {
    kept,
    load: async (name: string) => kept.get(name),
    save: async (name: string, piece: Piece) => void kept.set(name, piece),
  };
}

describe('the linear segmentation head', () => {
  it('learns pixels from patches, and selects the rate that does', async () => {
    const { selected, grid, predict, refit } = await selectLinear(request(), protocol);
    expect(selected).toEqual({ learningRate: grid[1]!.learningRate, weightDecay: grid[1]!.weightDecay });
    expect(refit).toBe(false);
    expect(grid[0]!.miou).toBeLessThan(0.5);
    const test = images(20, 2);
    let hits = 0;
    let at = 0;
    for await (const labels of predict(test.rows)) {
      for (const label of labels) hits += Number(label === test.truth[at++]);
    }
    expect(at).toBe(test.truth.length); // every pixel of every image, those of a last part batch too
    // Chance is a quarter. The logits between two patches place the border better than one label a patch can, whichever it is: 0.92.
    expect(hits / at).toBeGreaterThan(oneLabelEach(test.truth) + 0.02);
    expect(Math.abs(grid[1]!.accuracy - hits / at)).toBeLessThan(0.05);
  });

  it('ends in the same bytes when it was interrupted and went on', async () => {
    const whole = await selectLinear(request(), protocol);
    const state = memory();
    const controller = new AbortController();
    const stopped = selectLinear(
      request({
        state,
        signal: controller.signal,
        onProgress: (_, share) => {
          if (share >= 0.4) controller.abort();
        },
      }),
      protocol,
    );
    await expect(stopped).rejects.toThrow(/stopped after 24 of 60 steps/);
    const { grid, model } = await selectLinear(request({ state }), protocol);
    expect(model).toEqual(whole.model);
    expect(grid).toEqual(whole.grid);
    // Finished training is kept too: nothing is trained again.
    const steps: string[] = [];
    const again = await selectLinear(request({ state, onProgress: (text) => steps.push(text) }), protocol);
    expect(again.model).toEqual(whole.model);
    expect(steps).not.toContain('linear: training');
  });

  it('pays no heed to ignored pixels', async () => {
    const short = { ...protocol, steps: 5 };
    const usual = await selectLinear(request(), short);
    const others = rowsInMemory(
      train.pixels.map((label, i) => (label === IGNORED ? 200 + (i % 2) : label)),
      patch ** 2,
    );
    const same = await selectLinear(
      request({ train: { ...train.rows, labels: others }, ignore: [200, 201] }),
      short,
    );
    expect(same.model).toEqual(usual.model);
    expect(same.grid).toEqual(usual.grid);
  });

  it('never selects a head that diverged', async () => {
    const short = { ...protocol, steps: 8, warmup_steps: 0 };
    const { grid, selected } = await selectLinear(request(), { ...short, learning_rates: [1e38, 1e-2] });
    expect(grid[0]!.miou).toBeNaN();
    expect(selected).toEqual({ learningRate: grid[1]!.learningRate, weightDecay: grid[1]!.weightDecay });
    await expect(selectLinear(request(), { ...short, learning_rates: [1e38] })).rejects.toThrow(
      'every linear segmentation head diverged: lower the learning rates',
    );
  });
});
