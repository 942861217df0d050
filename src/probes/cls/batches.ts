// Batches that classification heads train on, and sets that they predict; of features that lie in memory, too.

import type { SampleLabels } from '../../scores/classification.js';
import type { FeatureSource, SourceFeatures } from '../sources.js';
import { sampler } from '../split.js';

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
