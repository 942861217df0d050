// Segmentation scores against the reference values and brute force; intervals against resampling pixel by pixel.
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import type { StoredTensor } from '../../src/base/safetensors.js';
import { DataError } from '../../src/errors.js';
import {
  classCounts,
  classIou,
  confusionMatrix,
  type ImageCounts,
  imageCounts,
  meanIou,
  pixelAccuracy,
  sumImages,
} from '../../src/scores/confusion.js';
import { type BootstrapOptions, compareSegmentations, quantile } from '../../src/scores/intervals.js';
import { segmentation as reference, segmentationTensors } from '../support/segmentation.js';

const compareMeanIou = (a: ImageCounts, b: ImageCounts, options: BootstrapOptions) =>
  compareSegmentations(a, b, { classes: a.classes, ignore: [] }, options).official;

let tensors: Map<string, StoredTensor>;
beforeAll(async () => {
  tensors = await segmentationTensors();
});

describe('the reference scores', () => {
  const points = reference.knn;
  it.each(points.map((point) => [point.distance, point.k, point] as const))(
    'k-NN %s %d',
    (distance, k, point) => {
      const truth = tensors.get('test.labels')!.data as Uint8Array;
      const predicted = tensors.get(`knn.${distance}.${k}.prediction`)!.data as Uint8Array;
      const counts = classCounts(
        confusionMatrix(truth, predicted, { classes: 256, ignore: reference.ignore_labels }),
      );
      expect(meanIou(counts)).toBeCloseTo(point.mIoU, 12);
      expect(pixelAccuracy(counts)).toBeCloseTo(point.acc, 12);
    },
  );
});

const pixels = fc
  .array(fc.tuple(fc.constantFrom(0, 1, 2, 3, 4, 5, 255), fc.nat(5)), { minLength: 1, maxLength: 48 })
  .map((pairs) => (pairs.length % 2 ? [...pairs, [1, 1] as [number, number]] : pairs));
const counting = { classes: 6, ignore: [0, 255] };

describe('counts', () => {
  it('agree with sets of pixels', () => {
    fc.assert(
      fc.property(pixels, (pairs) => {
        const [truth, predicted] = [pairs.map(([t]) => t), pairs.map(([, p]) => p)];
        const counts = classCounts(confusionMatrix(truth, predicted, counting));
        const valid = pairs.filter(([t]) => t !== 0 && t !== 255);
        const labels = [...new Set(valid.flat())];
        const ious = labels.map((label) => {
          const intersection = valid.filter(([t, p]) => t === label && p === label).length;
          return intersection / valid.filter(([t, p]) => t === label || p === label).length;
        });
        if (valid.length === 0) {
          expect(meanIou(counts)).toBeNaN();
          return;
        }
        expect(meanIou(counts)).toBeCloseTo(ious.reduce((a, b) => a + b, 0) / labels.length, 12);
        expect(pixelAccuracy(counts)).toBeCloseTo(
          valid.filter(([t, p]) => t === p).length / valid.length,
          12,
        );
        const perClass = classIou(counts);
        labels.forEach((label, i) => {
          expect(perClass[label]).toBeCloseTo(ious[i]!, 12);
        });
        const perImage = imageCounts(truth, predicted, 2, counting);
        expect(sumImages(perImage)).toEqual(counts);
        const half = pairs.length / 2;
        const first = classCounts(confusionMatrix(truth.slice(0, half), predicted.slice(0, half), counting));
        expect([...perImage.hits.subarray(0, 6)]).toEqual([...first.hits]);
        expect([...perImage.predicted.subarray(0, 6)]).toEqual([...first.predicted]);
      }),
    );
  });

  it('follow the official convention at its corners', () => {
    const score = (truth: number[], predicted: number[]) =>
      meanIou(classCounts(confusionMatrix(truth, predicted, counting)));
    expect(score([1, 1], [1, 1])).toBe(1); // classes that are nowhere are left out
    expect(score([1, 1], [1, 2])).toBe((1 / 2 + 0) / 2); // a class that is only predicted counts as 0
    expect(score([1, 1], [1, 0])).toBe((1 / 2 + 0) / 2); // so does an ignored label, predicted on a pixel that counts
    expect(score([1, 255, 0], [1, 2, 2])).toBe(1); // but not where the truth is ignored
    expect(score([255], [1])).toBeNaN();
  });

  it('take one prediction for a run of pixels', () => {
    const truth = [1, 1, 2, 1, 2, 2];
    const patches = confusionMatrix(truth, [1, 2], counting);
    expect(patches).toEqual(confusionMatrix(truth, [1, 1, 1, 2, 2, 2], counting));
  });

  it('refuse labels that are no class, and sizes that do not fit', () => {
    expect(() => confusionMatrix([7], [1], counting)).toThrow(DataError);
    expect(() => confusionMatrix([7], [1], counting)).toThrow(
      /label 7 of a label map is not one of 6 classes/,
    );
    expect(() => confusionMatrix([1], [9], counting)).toThrow(/predicted label 9/);
    expect(() => confusionMatrix([1, 1, 1], [1, 1], counting)).toThrow(/2 predictions do not fit 3 pixels/);
    expect(() => imageCounts([1, 1, 1], [1, 1, 1], 2, counting)).toThrow(/3 pixels are not 2 images/);
  });
});

describe('paired intervals', () => {
  /** Images of 30 pixels whose label is guessed with the given chance, more easily on some images than on others. */
  function predictions(
    images: number,
    chance: number,
    seed: number,
  ): { truth: number[]; predicted: number[] } {
    const scene = stream(1, 'scene');
    const guess = stream(seed, 'guess');
    const truth = Array.from({ length: images * 30 }, () => 1 + scene.int(4));
    const ease = Array.from({ length: images }, () => scene.uniform(-0.45, 0.45));
    const predicted = truth.map((label, i) =>
      guess.next() < chance + ease[Math.floor(i / 30)]! ? label : 1 + guess.int(4),
    );
    return { truth, predicted };
  }

  it('equal a resampling done pixel by pixel', () => {
    const images = 12;
    const [a, b] = [predictions(images, 0.6, 2), predictions(images, 0.4, 3)];
    const compare = compareMeanIou(
      imageCounts(a.truth, a.predicted, images, counting),
      imageCounts(b.truth, b.predicted, images, counting),
      { seed: 5, samples: 40, level: 0.9 },
    );
    const random = stream(5, 'bootstrap', images);
    const score = ({ truth, predicted }: typeof a, chosen: number[]) => {
      const pick = (values: number[]) => chosen.flatMap((image) => values.slice(30 * image, 30 * image + 30));
      return meanIou(classCounts(confusionMatrix(pick(truth), pick(predicted), counting)));
    };
    const everyImage = [...Array(images).keys()];
    const draws = Array.from({ length: 40 }, () => everyImage.map(() => random.int(images)));
    for (const [interval, of] of [
      [compare.a, (chosen: number[]) => score(a, chosen)],
      [compare.difference, (chosen: number[]) => score(a, chosen) - score(b, chosen)],
      [compare.ratio, (chosen: number[]) => score(a, chosen) / score(b, chosen)],
    ] as const) {
      const sorted = draws.map(of).sort((x, y) => x - y);
      expect(interval.value).toBeCloseTo(of(everyImage), 12);
      expect(interval.low).toBeCloseTo(quantile(sorted, 0.05), 12);
      expect(interval.high).toBeCloseTo(quantile(sorted, 0.95), 12);
    }
  });

  it('are narrower for the difference than for either score, and the same for the same seed', () => {
    const images = 200;
    const [a, b] = [predictions(images, 0.5, 2), predictions(images, 0.45, 3)].map((p) =>
      imageCounts(p.truth, p.predicted, images, counting),
    ) as [ReturnType<typeof imageCounts>, ReturnType<typeof imageCounts>];
    const found = compareMeanIou(a, b, { seed: 1, samples: 500 });
    const width = ({ low, high }: { low: number; high: number }) => high - low;
    expect(width(found.difference)).toBeLessThan(0.8 * Math.min(width(found.a), width(found.b)));
    expect(found.difference.low).toBeGreaterThan(0); // 0.05 more pixels right, on 6000 of them
    expect(compareMeanIou(a, b, { seed: 1, samples: 500 })).toEqual(found);
    expect(compareMeanIou(a, b, { seed: 2, samples: 500 })).not.toEqual(found);
    const self = compareMeanIou(a, a, { seed: 1, samples: 50 });
    expect(self.difference).toEqual({ value: 0, low: 0, high: 0 });
    expect(self.ratio).toEqual({ value: 1, low: 1, high: 1 });
  });

  it('cover the true score about as often as they say', () => {
    const everything = predictions(3000, 0.5, 99);
    const truth = meanIouOf(everything);
    let covered = 0;
    for (let trial = 0; trial < 100; trial++) {
      const chosen = stream(trial, 'trial').sample(3000, 60);
      const pick = (values: number[]) =>
        [...chosen].flatMap((image) => values.slice(30 * image, 30 * image + 30));
      const counts = imageCounts(pick(everything.truth), pick(everything.predicted), 60, counting);
      const { a } = compareMeanIou(counts, counts, { seed: trial, samples: 200 });
      covered += Number(a.low <= truth && truth <= a.high);
    }
    expect(covered).toBeGreaterThanOrEqual(86); // 95 expected; below 86 has a chance of 1e-4
  });

  it('refuse predictions of other images', () => {
    const counts = (truth: number[]) => imageCounts(truth, [1, 1], 2, counting);
    expect(() => compareMeanIou(counts([1, 2]), counts([1, 1]), { seed: 0 })).toThrow(/same test images/);
  });
});

function meanIouOf({ truth, predicted }: { truth: number[]; predicted: number[] }): number {
  return meanIou(classCounts(confusionMatrix(truth, predicted, counting)));
}

describe('quantile', () => {
  it('interpolates between neighbours', () => {
    expect([0, 0.25, 0.5, 0.9, 1].map((share) => quantile([1, 2, 4, 8, 16], share))).toEqual([
      1, 2, 4, 12.8, 16,
    ]);
    expect(quantile([3], 0.4)).toBe(3);
  });
});
