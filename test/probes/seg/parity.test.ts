// The segmentation heads against the reference predictions, fits and scores, in memory and streamed in blocks that do not fit.
import { beforeAll, describe, expect, it } from 'vitest';
import type { StoredTensor } from '../../../src/base/safetensors.js';
import type { Engine } from '../../../src/engine/program.js';
import { chooseRows, rowsInMemory } from '../../../src/features/rows.js';
import { segment } from '../../../src/probes/seg/index.js';
import { keysOf, neighbourLabels } from '../../../src/probes/seg/knn.js';
import type { PatchRows, SegmentationRequest } from '../../../src/probes/seg/patch_set.js';
import { holdRows, prepareTraining } from '../../../src/probes/seg/samples.js';
import { fitLogistic, type LogisticModel, softmaxInMemory } from '../../../src/solvers/logistic.js';
import { StreamedSoftmax } from '../../../src/solvers/softmax_stream.js';
import { engines, onEveryEngine } from '../../support/engines.js';
import { segmentation as reference, segmentationTensors } from '../../support/segmentation.js';

let tensors: Map<string, StoredTensor>;
beforeAll(async () => {
  tensors = await segmentationTensors();
});
const bytes = (name: string) => tensors.get(name)!.data as Uint8Array;
const floats = (name: string) => tensors.get(name)!.data as Float32Array;

/** Classes of the reference set: the labels up to the largest that counts. */
const classCount = (): number =>
  1 +
  [...bytes('train.labels'), ...bytes('test.labels')].reduce(
    (most, label) => (reference.ignore_labels.includes(label) ? most : Math.max(most, label)),
    0,
  );

/** The reference patches as images of one patch each: the training patches, then the test patches as what is held out. */
function request(engine: Engine): { given: SegmentationRequest; test: PatchRows } {
  const [count, width] = tensors.get('train.features')!.shape as [number, number];
  const [tested, pixels] = tensors.get('test.labels')!.shape as [number, number];
  const set = (features: Float32Array, labels: Uint8Array): PatchRows => ({
    images: labels.length / pixels,
    features: rowsInMemory(features, width),
    labels: rowsInMemory(labels, pixels),
  });
  const both = <T extends Float32Array | Uint8Array>(a: T, b: T, out: T): T => {
    out.set(a);
    out.set(b, a.length);
    return out;
  };
  const all = floats('train.features').length + floats('test.features').length;
  const test = set(floats('test.features'), bytes('test.labels'));
  return {
    test,
    given: {
      engine,
      train: set(
        both(floats('train.features'), floats('test.features'), new Float32Array(all)),
        both(bytes('train.labels'), bytes('test.labels'), new Uint8Array((all / width) * pixels)),
      ),
      split: {
        train: Int32Array.from({ length: count }, (_, i) => i),
        validation: Int32Array.from({ length: tested }, (_, i) => count + i),
      },
      grid: { rows: 1, columns: 1 },
      patch: Math.sqrt(pixels),
      classes: classCount(),
      ignore: reference.ignore_labels,
      seed: 0,
      tests: [],
    },
  };
}

const openOnnx = (): Promise<Engine> => engines[0]!.open();

/** The distinct values of a list, as it has them. */
const distinct = <T>(values: readonly T[]): T[] => [...new Set(values)];

onEveryEngine('the reference k-NN', (opened) => {
  // With 4 KiB neither the queries nor the labels of the keys are held, and every image is looked up by itself.
  it.each([undefined, 4096])('predictions are equal in all settings (memory %s)', async (memory) => {
    const { given, test } = request(await opened.open());
    const limited = { ...given, ...(memory ? { memory } : {}) };
    const training = await prepareTraining(limited, true);
    const keys = keysOf(limited, training, training.learnable(given.split.train));
    const ks = distinct(reference.knn.map(({ k }) => k));
    for (const distance of distinct(reference.knn.map((point) => point.distance))) {
      const metric = distance === 'cosine' ? 'cosine' : 'l2';
      const found = ks.map(() => [] as number[]);
      for await (const labels of neighbourLabels(limited, training, keys, test, ks, metric)) {
        for (const [i, own] of labels.entries()) found[i]!.push(...own);
      }
      for (const [i, k] of ks.entries()) {
        expect(found[i], `${distance} ${k}`).toEqual([...bytes(`knn.${distance}.${k}.prediction`)]);
      }
    }
  });
});

describe('the reference scores of k-NN', () => {
  it('are the scores of the grid', async () => {
    const { given } = request(await openOnnx());
    const protocol = {
      standardise: true,
      metric: 'official',
      knn: {
        k: distinct(reference.knn.map(({ k }) => k)),
        metrics: ['cosine', 'l2'],
      },
      logreg: null,
      linear: null,
    } as const;
    const [found] = await segment(given, protocol as never);
    const expected = ['cosine', 'L2'].flatMap((d) => reference.knn.filter(({ distance }) => distance === d));
    for (const [i, { k, distance, mIoU, acc }] of expected.entries()) {
      const point = found!.grid[i]!;
      expect([point.k, point.metric]).toEqual([k, distance.toLowerCase()]);
      expect(point.miou).toBeCloseTo(mIoU, 9);
      expect(point.accuracy).toBeCloseTo(acc, 9);
    }
  });
});

onEveryEngine('the reference logistic regression', (opened) => {
  it.each(['held', 'streamed'])('has the objective of every C (%s)', async (how) => {
    const { given } = request(await opened.open());
    const training = await prepareTraining(given, true);
    const rows = training.learnable(given.split.train);
    const features = chooseRows(given.train.features, rows);
    const labels = Uint8Array.from(rows, (row) => training.modal[row]!);
    const { standardiser } = training;
    const samples =
      how === 'held'
        ? softmaxInMemory({
            features: (await holdRows(training.scaled(features), 2 ** 30)).read(
              0,
              rows.length,
            ) as Float32Array,
            width: features.width,
            labels,
          })
        : StreamedSoftmax.open(given.engine, { features, labels, standardiser });
    let start: LogisticModel | undefined;
    for (const { C, classes, objective_C_times_nll_plus_half_l2: objective } of reference.logreg) {
      start = await fitLogistic(samples, C, { start });
      expect([...start.classes]).toEqual(classes);
      expect(Math.abs(start.objective / objective - 1), `C = ${C}`).toBeLessThan(1e-6);
    }
  });
});
