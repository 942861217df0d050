// Logistic regression against the reference fits for every C, and against properties of the minimum.
import { beforeAll, describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import type { StoredTensor } from '../../src/base/safetensors.js';
import { referenceEngine } from '../../src/engine/reference.js';
import { rowsInMemory } from '../../src/features/rows.js';
import { patchPixels } from '../../src/probes/patch_pixels.js';
import { modalLabels } from '../../src/probes/seg/patch_labels.js';
import { classCounts, confusionMatrix, meanIou, pixelAccuracy } from '../../src/scores/confusion.js';
import { fitLogistic, type LogisticModel } from '../../src/solvers/logistic.js';
import { type LabelledFeatures, SoftmaxLoss } from '../../src/solvers/softmax_loss.js';
import { predictStreamed } from '../../src/solvers/softmax_stream.js';
import { fitStandardiser, standardisedRows } from '../../src/solvers/standardise.js';
import { segmentation as reference, segmentationTensors } from '../support/segmentation.js';

let tensors: Map<string, StoredTensor>;
const bytes = (name: string) => tensors.get(name)!.data as Uint8Array;
const floats = (name: string) => tensors.get(name)!.data as Float32Array;
beforeAll(async () => {
  tensors = await segmentationTensors();
});

const predict = (model: LogisticModel, features: Float32Array) =>
  predictStreamed(referenceEngine(), model, { features: rowsInMemory(features, model.width) });

describe('preparation', () => {
  it('standardises as the reference does', async () => {
    const width = tensors.get('train.features')!.shape[1]!;
    const standardiser = await fitStandardiser(rowsInMemory(floats('train.features'), width));
    for (const split of ['train', 'test']) {
      const rows = rowsInMemory(floats(`${split}.features`), width);
      const ours = [...(await standardisedRows(rows, standardiser).read(0, rows.count))];
      const theirs = floats(`standardised.${split}`);
      // Values up to about 4, float32 on both sides: four roundings of the last bit.
      expect(Math.max(...ours.map((value, i) => Math.abs(value - theirs[i]!)))).toBeLessThan(1e-6);
    }
  });

  it('leaves constant channels at 0', async () => {
    const features = Float32Array.from({ length: 300 }, (_, i) => (i % 3 === 0 ? 0.1 : (i * 7) % 11));
    const rows = rowsInMemory(features, 3);
    const standardiser = await fitStandardiser(rows);
    expect(standardiser.scale[0]).toBe(1);
    const out = await standardisedRows(rows, standardiser).read(0, rows.count);
    for (let i = 0; i < 300; i += 3) expect(Math.abs(out[i]!)).toBeLessThan(1e-12);
  });

  it('takes the modal label of each patch, the smallest of equals', () => {
    const [patches, pixels] = tensors.get('train.labels')!.shape as [number, number];
    expect(modalLabels(bytes('train.labels'), pixels)).toEqual(bytes('train.modal_labels'));
    expect(patches).toBe(bytes('train.modal_labels').length);
    expect([...modalLabels(Uint8Array.of(5, 2, 5, 2, 9, 9, 1, 1, 255, 255, 255, 0), 4)]).toEqual([2, 1, 255]);
  });

  it('cuts maps into patches', () => {
    const maps = Uint8Array.from({ length: 2 * 4 * 6 }, (_, i) => i);
    const cut = patchPixels(maps, { height: 4, width: 6, patch: 2 });
    expect([...cut.subarray(0, 8)]).toEqual([0, 1, 6, 7, 2, 3, 8, 9]);
    expect([...cut.subarray(12, 16)]).toEqual([12, 13, 18, 19]);
    expect([...cut.subarray(44)]).toEqual([40, 41, 46, 47]);
    expect(() => patchPixels(maps, { height: 4, width: 6, patch: 4 })).toThrow(
      /maps of 4 x 6 and patches of 4/,
    );
  });
});

describe('the reference fits', () => {
  const grid = reference.logreg;
  /** The reference names its tensors by C in four digits. */
  const tensorsOf = (C: number, what: string) => {
    const name = [...tensors.keys()].find((key) => {
      const match = /^logreg\.C=(.*)\.(\w+)$/.exec(key);
      return match?.[2] === what && Math.abs(Number(match[1]) / C - 1) < 1e-3;
    });
    return tensors.get(name!)!.data;
  };
  let data: LabelledFeatures;
  beforeAll(() => {
    const width = tensors.get('train.features')!.shape[1]!;
    const kept = [...bytes('train.modal_labels').keys()].filter(
      (i) => !reference.ignore_labels.includes(bytes('train.modal_labels')[i]!),
    );
    const all = floats('standardised.train');
    const features = Float32Array.from(kept.flatMap((i) => [...all.subarray(i * width, (i + 1) * width)]));
    data = { features, width, labels: kept.map((i) => bytes('train.modal_labels')[i]!) };
  });

  it.each(grid.map((point) => [point.C, point] as const))('C = %d', async (C, point) => {
    const model = await fitLogistic(data, C);
    expect(model.converged).toBe(true);
    expect([...model.classes]).toEqual(point.classes);
    expect(Math.abs(model.objective / point.objective_C_times_nll_plus_half_l2 - 1)).toBeLessThan(1e-6);
    const predicted = await predict(model, floats('standardised.test'));
    expect([...predicted]).toEqual([...tensorsOf(C, 'prediction')]);
    const counting = { classes: 256, ignore: reference.ignore_labels };
    const counts = classCounts(confusionMatrix(bytes('test.labels'), predicted, counting));
    expect(meanIou(counts)).toBeCloseTo(point.mIoU, 12);
    expect(pixelAccuracy(counts)).toBeCloseTo(point.acc, 12);
    if (C > 10) return; // nearly unregularised: coefficients of far-off minima differ
    const columns = data.width + 1;
    const coefficients = tensorsOf(C, 'coef');
    const intercepts = tensorsOf(C, 'intercept');
    point.classes.forEach((_, k) => {
      for (let j = 0; j < columns; j++) {
        const ours = model.parameters[k * columns + j]!;
        const theirs = Number(j < data.width ? coefficients[k * data.width + j] : intercepts[k]);
        // A gap of 1e-8 in the objective is a gap of about its root in the coefficients.
        expect(Math.abs(ours - theirs)).toBeLessThan(3e-4 * Math.max(1, Math.abs(theirs)));
      }
    });
  });

  it('gains nothing from more iterations, and little time is lost without a warm start', async () => {
    const C = 2;
    const cold = await fitLogistic(data, C);
    const exact = await fitLogistic(data, C, { start: cold, tolerance: 1e-14 });
    expect(cold.objective / exact.objective - 1).toBeLessThan(1e-7);
    expect((await fitLogistic(data, C, { start: exact })).iterations).toBeLessThanOrEqual(2);
  });
});

describe('the loss', () => {
  const random = stream(4);
  const [rows, width, labels] = [37, 5, 3];
  const data: LabelledFeatures = {
    features: random.fillNormal(new Float32Array(rows * width)),
    width,
    labels: Array.from({ length: rows }, (_, i) => 10 * ((i * i) % labels)),
    weights: Array.from({ length: rows }, (_, i) => (i % 4) / 2),
  };
  const loss = new SoftmaxLoss(data, Int32Array.of(0, 10, 20));
  const theta = Float64Array.from({ length: labels * (width + 1) }, () => random.normal());

  function plainLoss(at: Float64Array): number {
    let sum = 0;
    for (let row = 0; row < rows; row++) {
      const logits = Array.from({ length: labels }, (_, k) => {
        let logit = at[k * (width + 1) + width]!;
        for (let j = 0; j < width; j++) logit += at[k * (width + 1) + j]! * data.features[row * width + j]!;
        return logit;
      });
      const total = logits.reduce((a, logit) => a + Math.exp(logit), 0);
      sum -= data.weights![row]! * Math.log(Math.exp(logits[data.labels[row]! / 10]!) / total);
    }
    return sum / (data.weights as number[]).reduce((a, b) => a + b, 0);
  }

  it('is the weighted mean cross-entropy, with its gradient', () => {
    const gradient = new Float64Array(theta.length);
    expect(loss.evaluate(theta, gradient)).toBeCloseTo(plainLoss(theta), 12);
    for (let i = 0; i < theta.length; i++) {
      const shifted = (by: number) => plainLoss(theta.map((value, j) => (i === j ? value + by : value)));
      expect((shifted(1e-5) - shifted(-1e-5)) / 2e-5).toBeCloseTo(gradient[i]!, 8); // central differences: error 1e-10
    }
  });

  it('has the curvature that its gradient shows', () => {
    const block = loss.curvature(theta, rows);
    const columns = width + 1;
    const gradientAt = (i: number, by: number) => {
      const gradient = new Float64Array(theta.length);
      loss.evaluate(
        theta.map((value, j) => (i === j ? value + by : value)),
        gradient,
      );
      return gradient;
    };
    for (let j = 0; j < columns; j++) {
      for (let m = 0; m <= j; m++) {
        let mean = 0;
        for (let k = 0; k < labels; k++) {
          const at = k * columns + m;
          const change = gradientAt(at, 1e-5)[k * columns + j]! - gradientAt(at, -1e-5)[k * columns + j]!;
          mean += change / 2e-5 / labels;
        }
        expect(block[j * columns + m]).toBeCloseTo(mean, 8);
      }
    }
  });

  it('survives logits that overflow an exponential', () => {
    const gradient = new Float64Array(theta.length);
    expect(
      Number.isFinite(
        loss.evaluate(
          theta.map((value) => value * 1e4),
          gradient,
        ),
      ),
    ).toBe(true);
    expect(gradient.every(Number.isFinite)).toBe(true);
  });
});

describe('fitting', () => {
  it('treats a weight of 2 as a sample that is there twice, and of 0 as one that is not', async () => {
    const random = stream(5);
    const features = random.fillNormal(new Float32Array(60 * 3));
    const labels = Array.from({ length: 60 }, () => random.int(3));
    const weights = labels.map((_, i) => i % 3);
    const rows = weights.flatMap((count, i) => Array.from({ length: count }, () => i));
    const weighted = await fitLogistic({ features, width: 3, labels, weights }, 0.5, { tolerance: 1e-13 });
    const repeated = await fitLogistic(
      {
        features: Float32Array.from(rows.flatMap((i) => [...features.subarray(3 * i, 3 * i + 3)])),
        width: 3,
        labels: rows.map((i) => labels[i]!),
      },
      0.5,
      { tolerance: 1e-13 },
    );
    expect(weighted.objective).toBeCloseTo(repeated.objective, 8);
    weighted.parameters.forEach((value, i) => {
      expect(value).toBeCloseTo(repeated.parameters[i]!, 5);
    });
  });

  it('predicts the prior when features say nothing, and the only class when there is one', async () => {
    const labels = [4, 4, 4, 9];
    const model = await fitLogistic({ features: new Float32Array(8), width: 2, labels }, 1);
    expect([...(await predict(model, new Float32Array(2)))]).toEqual([4]);
    expect(model.objective).toBeCloseTo(-3 * Math.log(3 / 4) - Math.log(1 / 4), 6);
    const single = await fitLogistic({ features: Float32Array.of(1, 2), width: 1, labels: [7, 7] }, 1);
    expect([...(await predict(single, Float32Array.of(5)))]).toEqual([7]);
  });

  it('refuses what does not fit', async () => {
    const data = { features: new Float32Array(4), width: 2, labels: [0, 1] };
    await expect(fitLogistic(data, 0)).rejects.toThrow(/C must be above 0/);
    await expect(fitLogistic({ ...data, labels: [] }, 1)).rejects.toThrow(/at least one sample/);
    await expect(fitLogistic({ ...data, labels: [0, 1, 2] }, 1)).rejects.toThrow(
      /3 labels do not fit 4 features of width 2/,
    );
    const start = await fitLogistic({ features: new Float32Array(2), width: 1, labels: [0, 1] }, 1);
    await expect(fitLogistic(data, 1, { start })).rejects.toThrow(/the start has width 1, the features 2/);
  });
});
