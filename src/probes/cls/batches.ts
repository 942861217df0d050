// Which images a probe trains and selects on, in what order, and batches of features that lie in memory.

import { stream } from '../../base/random.js';
import { UsageError } from '../../errors.js';
import type { SampleLabels } from '../../scores/classification.js';
import type { FeatureSource, SourceFeatures } from './sources.js';

/** A batch to train on: features of every source and one class id for each sample. */
export interface TrainingBatch {
  readonly features: SourceFeatures;
  readonly labels: Int32Array;
}

/** Gives the batch of a step; the same step always gives the same batch, so that a resumed training sees what an uninterrupted one does. */
export type TrainingBatches = (step: number) => Promise<TrainingBatch> | TrainingBatch;

/** Samples to predict, read once and in order. */
export interface EvaluationSet {
  readonly name: string;
  /** One entry a sample. */
  readonly labels: ArrayLike<SampleLabels>;
  /** Class ids among which predictions are made; default: all. */
  readonly classSubset?: readonly number[];
  /** Features of samples first to first + count - 1. */
  read(first: number, count: number): Promise<SourceFeatures> | SourceFeatures;
}

/**
 * The images that selection looks at and those that heads train on, both ascending: a permutation of all, of which the first
 * round((1 - share) n) train (official rule; the generator is ours, so that the images are others than NumPy's).
 * @throws UsageError when one of the parts is empty
 */
export function splitImages(
  images: number,
  share: number,
  seed: number,
): { train: Int32Array; validation: Int32Array } {
  const order = stream(seed, 'probe validation images', images).shuffle(
    Int32Array.from({ length: images }, (_, i) => i),
  );
  const kept = Math.round((1 - share) * images);
  if (kept === 0 || kept === images) {
    throw new UsageError(
      `${images} training images leave ${images - kept} of them for selection at a share of ${share}: give more images`,
    );
  }
  return { train: order.slice(0, kept).sort(), validation: order.slice(kept).sort() };
}

/**
 * The samples of any step: endless permutations of [0, count), one after another, cut into batches. The order depends on the seed alone.
 */
export function sampler(count: number, batch: number, seed: number): (step: number) => Int32Array {
  let known = { epoch: -1, order: new Int32Array(0) };
  const orderOf = (epoch: number): Int32Array => {
    if (known.epoch !== epoch) {
      const order = Int32Array.from({ length: count }, (_, i) => i);
      known = { epoch, order: stream(seed, 'probe batches', count, epoch).shuffle(order) };
    }
    return known.order;
  };
  return (step) => {
    const chosen = new Int32Array(batch);
    for (let i = 0; i < batch; i++) {
      const at = step * batch + i;
      chosen[i] = orderOf(Math.floor(at / count))[at % count]!;
    }
    return chosen;
  };
}

/** Rows `chosen` of every source; features hold one sample after another. */
export function gatherSamples(
  features: SourceFeatures,
  sources: readonly FeatureSource[],
  chosen: ArrayLike<number>,
): SourceFeatures {
  return Object.fromEntries(
    sources.map(({ name, width, tokens }) => {
      const size = width * (tokens ?? 1);
      const from = features[name]!;
      const out = new Float32Array(chosen.length * size);
      for (let i = 0; i < chosen.length; i++) {
        out.set(from.subarray(chosen[i]! * size, (chosen[i]! + 1) * size), i * size);
      }
      return [name, out];
    }),
  );
}

/** Batches of features in memory, drawn by `sampler`. */
export function batchesInMemory(
  features: SourceFeatures,
  sources: readonly FeatureSource[],
  labels: ArrayLike<number>,
  options: { batch: number; seed: number },
): TrainingBatches {
  const draw = sampler(labels.length, options.batch, options.seed);
  return (step) => {
    const chosen = draw(step);
    return {
      features: gatherSamples(features, sources, chosen),
      labels: Int32Array.from(chosen, (i) => labels[i]!),
    };
  };
}

/** Features in memory as a set to evaluate on. */
export function setInMemory(
  name: string,
  features: SourceFeatures,
  sources: readonly FeatureSource[],
  labels: ArrayLike<SampleLabels>,
): EvaluationSet {
  return {
    name,
    labels,
    read: (first, count) =>
      Object.fromEntries(
        sources.map(({ name, width, tokens }) => {
          const size = width * (tokens ?? 1);
          return [name, features[name]!.subarray(first * size, (first + count) * size)];
        }),
      ),
  };
}
