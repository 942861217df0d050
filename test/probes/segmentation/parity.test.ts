// The segmentation heads against the reference predictions, fits and scores, in memory and streamed in blocks that do not fit.
import { beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../../src/engine/program.js';
import { rowsInMemory } from '../../../src/features/rows.js';
import { segment } from '../../../src/probes/segmentation/index.js';
import { keysOf, neighbourLabels } from '../../../src/probes/segmentation/knn.js';
import type { PatchRows, SegmentationRequest } from '../../../src/probes/segmentation/patch_set.js';
import { prepareTraining } from '../../../src/probes/segmentation/samples.js';
import { StreamedSoftmax } from '../../../src/probes/softmax_stream.js';
import { ImageCounter, pixelAccuracy, sumImages } from '../../../src/scores/confusion.js';
import { meanIouIn } from '../../../src/scores/conventions.js';
import type { StoredTensor } from '../../../src/tensor/safetensors.js';
import { onEveryEngine } from '../../support/engines.js';
import { segmentation as reference, segmentationTensors } from '../../support/segmentation.js';

let tensors: Map<string, StoredTensor>;
beforeAll(async () => {
  tensors = await segmentationTensors();
});
const bytes = (name: string) => tensors.get(name)!.data as Uint8Array;
const floats = (name: string) => tensors.get(name)!.data as Float32Array;

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
      classes: 7,
      ignore: reference.ignore_labels,
      seed: 0,
      tests: [],
    },
  };
}

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
