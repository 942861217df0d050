// The segmentation probe: the official steps redone by hand, no look at the test images, and the better encoder found.
import { describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import { modalLabels, patchPixels } from '../../src/probes/seg/patch_labels.js';
import {
  OFFICIAL_C_GRID,
  type PatchSet,
  type SegmentationTask,
  scorePatchFeatures,
} from '../../src/probes/segmentation.js';
import { classCounts, classIou, confusionMatrix, meanIou, sumImages } from '../../src/scores/confusion.js';
import { compareMeanIou } from '../../src/scores/intervals.js';
import { fitLogistic, predictLogistic } from '../../src/solvers/logistic.js';
import { fitStandardiser, standardise } from '../../src/solvers/standardise.js';

const size = { height: 8, width: 12, patch: 4 };
const channels = 7;

/** Images of 2 x 3 patches; features say the modal label with noise around it. Label 0 is ignored, 255 marks borders. */
function scenes(images: number, noise: number, seed: number): PatchSet {
  const random = stream(seed, 'scenes');
  const labelMaps = new Uint8Array(images * 96);
  for (let i = 0; i < labelMaps.length; i += 4) labelMaps.fill(random.int(5), i, i + 4);
  for (let i = 0; i < labelMaps.length; i += 17) labelMaps[i] = 255;
  const labels = modalLabels(patchPixels(labelMaps, size), 16);
  const directions = stream(1, 'directions').fillNormal(new Float32Array(256 * channels));
  const features = random.fillNormal(new Float32Array(labels.length * channels), noise);
  labels.forEach((label, i) => {
    for (let j = 0; j < channels; j++) features[i * channels + j]! += 3 + directions[label * channels + j]!;
  });
  return { features, labelMaps };
}

function task(noise: number, changes: Partial<SegmentationTask> = {}): SegmentationTask {
  return {
    train: scenes(60, noise, 2),
    test: scenes(40, noise, 3),
    size,
    classes: 5,
    ignore: [0, 255],
    cGrid: [1e-5, 0.01, 10],
    validationShare: 0.1,
    seed: 0,
    refit: true,
    ...changes,
  };
}

describe('scorePatchFeatures', () => {
  it.each([true, false])('does the official steps (refit %s)', async (refit) => {
    const given = task(1.5, { refit });
    const found = await scorePatchFeatures(given);
    const held = new Set(found.validationImages);
    expect(held.size).toBe(6);

    const { train, test } = given;
    const labels = modalLabels(patchPixels(train.labelMaps, size), 16);
    const patches = [...labels.keys()];
    const rows = (chosen: number[], from: Float32Array) =>
      Float32Array.from(chosen.flatMap((i) => [...from.subarray(i * channels, (i + 1) * channels)]));
    const fitting = patches.filter((i) => !held.has(Math.floor(i / 6)));
    const standardiser = fitStandardiser(rows(fitting, train.features), channels);
    const scaled = standardise(standardiser, train.features);
    const fitOn = (chosen: number[], C: number) => {
      const kept = chosen.filter((i) => labels[i] !== 0 && labels[i] !== 255);
      const data = { features: rows(kept, scaled), width: channels, labels: kept.map((i) => labels[i]!) };
      return fitLogistic(data, C, { tolerance: 1e-11 });
    };
    const validation = patches.filter((i) => held.has(Math.floor(i / 6)));
    const validationPixels = validation.flatMap((i) => [
      ...patchPixels(train.labelMaps, size).subarray(16 * i, 16 * i + 16),
    ]);
    const scores: number[] = [];
    for (const C of given.cGrid) {
      const predicted = predictLogistic(await fitOn(fitting, C), rows(validation, scaled));
      scores.push(meanIou(classCounts(confusionMatrix(validationPixels, predicted, given))));
    }
    // The warm-started fits end within 1e-6 of the same minimum; no patch here lies that near to a boundary.
    expect(found.grid.map((point) => point.miou)).toEqual(scores);
    expect(found.bestC).toBe(given.cGrid[scores.indexOf(Math.max(...scores))]);

    const model = await fitOn(refit ? patches : fitting, found.bestC);
    const predicted = predictLogistic(model, standardise(standardiser, test.features));
    const confusion = confusionMatrix(patchPixels(test.labelMaps, size), predicted, given);
    expect(found.confusion).toEqual(confusion);
    expect(found.miou).toBe(meanIou(classCounts(confusion)));
    expect(found.classIou).toEqual(classIou(classCounts(confusion)));
    expect(sumImages(found.perImageConfusion)).toEqual(classCounts(confusion));
  });

  it('does not look at the test images before the end, and is the same every time', async () => {
    const given = task(1);
    const first = await scorePatchFeatures(given);
    expect(await scorePatchFeatures(given)).toEqual(first);
    const other = await scorePatchFeatures({ ...given, test: scenes(40, 2, 77) });
    expect([other.bestC, other.grid]).toEqual([first.bestC, first.grid]);
    expect((await scorePatchFeatures({ ...given, seed: 1 })).validationImages).not.toEqual(
      first.validationImages,
    );
  });

  it('prefers the smallest of equally good C, in whatever order they come', async () => {
    const found = await scorePatchFeatures(task(1e-3, { cGrid: [100, 1, 10] }));
    expect(found.grid.map((point) => point.C)).toEqual([1, 10, 100]);
    expect(new Set(found.grid.map((point) => point.miou)).size).toBe(1);
    expect(found.bestC).toBe(1);
  });

  it('finds the better of two encoders, with an interval', async () => {
    const clear = task(1);
    const test = { ...clear.test, features: clear.test.features };
    const blurred = (set: PatchSet, seed: number): PatchSet => ({
      ...set,
      features: set.features.map((value, i) => value + stream(seed, i).normal()),
    });
    const a = await scorePatchFeatures({ ...clear, test });
    const b = await scorePatchFeatures({
      ...clear,
      train: blurred(clear.train, 8),
      test: blurred(clear.test, 9),
    });
    const { difference } = compareMeanIou(a.perImageConfusion, b.perImageConfusion, {
      seed: 0,
      samples: 500,
    });
    expect(difference.low).toBeGreaterThan(0);
    expect(difference.value).toBeCloseTo(a.miou - b.miou, 12);
  });

  it('has the official grid, and refuses what does not fit', async () => {
    const published = [1e-6, 3.73e-5, 1.39e-3, 5.18e-2, 1.93, 72.0, 2.68e3, 1e5];
    published.forEach((C, i) => {
      expect(Math.abs(OFFICIAL_C_GRID[i]! / C - 1)).toBeLessThan(3e-3); // printed with three digits
    });
    await expect(scorePatchFeatures(task(1, { validationShare: 0.001 }))).rejects.toThrow(
      /leaves nothing to choose C on/,
    );
    await expect(scorePatchFeatures(task(1, { cGrid: [] }))).rejects.toThrow(/grid of C is empty/);
    await expect(scorePatchFeatures(task(1, { classes: 3 }))).rejects.toThrow(
      /label \d of a label map is not one of 3 classes/,
    );
    const cut = { ...task(1).test, features: new Float32Array(13) };
    await expect(scorePatchFeatures(task(1, { test: cut }))).rejects.toThrow(
      /13 features do not fit 240 patches/,
    );
  });
});
