// The logistic-regression head: the official steps redone by hand, no look at the test images, the smallest of equally good C.
import { describe, expect, it } from 'vitest';
import { stream } from '../../../src/base/random.js';
import { referenceEngine } from '../../../src/engine/reference.js';
import { rowsInMemory } from '../../../src/features/rows.js';
import { patchPixels } from '../../../src/probes/patch_pixels.js';
import { segment } from '../../../src/probes/seg/index.js';
import { modalLabels } from '../../../src/probes/seg/patch_labels.js';
import type { PatchRows } from '../../../src/probes/seg/patch_set.js';
import { classCounts, confusionMatrix, meanIou } from '../../../src/scores/confusion.js';
import { fitLogistic, type LogisticModel } from '../../../src/solvers/logistic.js';

const size = { height: 8, width: 12, patch: 4 };
const channels = 7;
const counting = { classes: 5, ignore: [0, 255] };

interface Scenes {
  features: Float32Array;
  /** Pixels patch by patch, and the modal label of each patch. */
  pixels: Uint8Array;
  modal: Uint8Array;
}

/** Images of 2 x 3 patches; features say the modal label with noise around it. Label 0 is ignored, 255 marks borders. */
function scenes(images: number, noise: number, seed: number): Scenes {
  const random = stream(seed, 'scenes');
  const labelMaps = new Uint8Array(images * 96);
  for (let i = 0; i < labelMaps.length; i += 4) labelMaps.fill(random.int(5), i, i + 4);
  for (let i = 0; i < labelMaps.length; i += 17) labelMaps[i] = 255;
  const pixels = patchPixels(labelMaps, size);
  const modal = modalLabels(pixels, 16);
  const directions = stream(1, 'directions').fillNormal(new Float32Array(256 * channels));
  const features = random.fillNormal(new Float32Array(modal.length * channels), noise);
  modal.forEach((label, i) => {
    for (let j = 0; j < channels; j++) features[i * channels + j]! += 3 + directions[label * channels + j]!;
  });
  return { features, pixels, modal };
}

const asRows = ({ features, pixels, modal }: Scenes): PatchRows => ({
  images: modal.length / 6,
  features: rowsInMemory(features, channels),
  labels: rowsInMemory(pixels, 16),
});

/** Every tenth image is held out. */
const split = (images: number) => {
  const all = Array.from({ length: images }, (_, i) => i);
  const held = (i: number): boolean => i % 10 === 3;
  return {
    train: Int32Array.from(all.filter((i) => !held(i))),
    validation: Int32Array.from(all.filter(held)),
  };
};

async function probe(train: Scenes, test: Scenes, C: number[]) {
  const [found] = await segment(
    {
      ...{
        ...counting,
        engine: referenceEngine(),
        train: asRows(train),
        split: split(train.modal.length / 6),
      },
      ...{ grid: { rows: 2, columns: 3 }, patch: 4, seed: 0 },
      tests: [{ name: 'test', open: async () => asRows(test) }],
    },
    {
      ...{ standardise: true, metric: 'official', knn: null, linear: null },
      logreg: { C, max_iterations: 1000, tolerance: 1e-11 },
    },
  );
  return found!;
}

/** Features [rows, channels] less the mean and over the deviation of `fitted`, in float64. */
function scaledBy(fitted: Float32Array, features: Float32Array): Float64Array {
  const rows = fitted.length / channels;
  const moment = (j: number, of: (x: number) => number) =>
    Array.from({ length: rows }, (_, i) => of(fitted[i * channels + j]!)).reduce((a, b) => a + b, 0) / rows;
  const mean = Array.from({ length: channels }, (_, j) => moment(j, (x) => x));
  const deviation = mean.map((m, j) => Math.sqrt(moment(j, (x) => (x - m) ** 2)));
  return Float64Array.from(features, (x, i) => (x - mean[i % channels]!) / deviation[i % channels]!);
}

const labelsOf = ({ classes, parameters }: LogisticModel, features: Float64Array): Int32Array =>
  Int32Array.from({ length: features.length / channels }, (_, row) => {
    const logits = [...classes].map((_, k) => {
      const own = parameters.subarray(k * (channels + 1), (k + 1) * (channels + 1));
      return (
        own[channels]! +
        own.subarray(0, channels).reduce((s, w, j) => s + w * features[row * channels + j]!, 0)
      );
    });
    return classes[logits.indexOf(Math.max(...logits))]!;
  });

describe('the logistic-regression head', () => {
  it('does the official steps', async () => {
    const [train, test] = [scenes(60, 1.5, 2), scenes(40, 1.5, 3)];
    const grid = [10, 1e-5, 0.01];
    const found = await probe(train, test, grid);
    const patchesOf = (images: Int32Array) =>
      [...images].flatMap((i) => [0, 1, 2, 3, 4, 5].map((p) => 6 * i + p));
    const { train: fitting, validation } = split(60);
    const rows = (chosen: number[]) =>
      Float32Array.from(
        chosen.flatMap((i) => [...train.features.subarray(i * channels, (i + 1) * channels)]),
      );
    const moments = rows(patchesOf(fitting));
    const fitOn = (chosen: number[], C: number) => {
      const kept = chosen.filter((i) => train.modal[i] !== 0 && train.modal[i] !== 255);
      const features = Float32Array.from(scaledBy(moments, rows(kept)));
      return fitLogistic({ features, width: channels, labels: kept.map((i) => train.modal[i]!) }, C, {
        tolerance: 1e-11,
      });
    };
    const held = patchesOf(validation);
    const heldPixels = held.flatMap((i) => [...train.pixels.subarray(16 * i, 16 * i + 16)]);
    const ascending = grid.sort((a, b) => a - b);
    const scores: number[] = [];
    for (const C of ascending) {
      const predicted = labelsOf(await fitOn(patchesOf(fitting), C), scaledBy(moments, rows(held)));
      scores.push(meanIou(classCounts(confusionMatrix(heldPixels, predicted, counting))));
    }
    // The warm-started fits end within 1e-6 of the same minimum; no patch here lies that near to a boundary.
    expect(found.grid.map(({ C }) => C)).toEqual(ascending);
    expect(found.grid.map(({ miou }) => miou)).toEqual(scores);
    expect(new Set(scores).size).toBe(3);
    const best = ascending[scores.indexOf(Math.max(...scores))]!;
    expect(found.selected).toEqual({ C: best });

    const model = await fitOn([...train.modal.keys()], best);
    const predicted = labelsOf(model, scaledBy(moments, test.features));
    const confusion = confusionMatrix(test.pixels, predicted, { ...counting, classes: 256 }); // 255 may be predicted
    expect(found.tests.test!.confusion).toEqual(confusion);
  });

  it('does not look at the test images before the end, and is the same every time', async () => {
    const train = scenes(60, 1, 2);
    const first = await probe(train, scenes(40, 1, 3), [0.01, 10]);
    expect(await probe(train, scenes(40, 1, 3), [0.01, 10])).toEqual(first);
    const other = await probe(train, scenes(40, 2, 77), [0.01, 10]);
    expect([other.selected, other.grid]).toEqual([first.selected, first.grid]);
    expect(other.tests).not.toEqual(first.tests);
  });

  it('prefers the smallest of equally good C, in whatever order they come', async () => {
    const found = await probe(scenes(60, 1e-3, 2), scenes(40, 1e-3, 3), [100, 1, 10]);
    expect(found.grid.map(({ C }) => C)).toEqual([1, 10, 100]);
    expect(new Set(found.grid.map(({ miou }) => miou)).size).toBe(1);
    expect(found.selected).toEqual({ C: 1 });
  });
});
