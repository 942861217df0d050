// k-NN classification of images: cosine neighbours vote for their class, each with one vote or with exp(similarity / temperature).
import type { Engine } from '../../engine/program.js';
import { UsageError } from '../../errors.js';
import { type ClassificationScore, type SampleLabels, topOne } from '../../scores/classification.js';
import { type Neighbours, nearestNeighbours, type VectorSource } from '../../solvers/neighbours.js';

export type Vote = 'weighted' | 'plain';

/** Vectors with one class id each. */
export interface LabelledVectors {
  readonly features: Float32Array | VectorSource;
  readonly labels: ArrayLike<number>;
}

/** A test set of vectors; see EvaluationSet for its labels and subset. */
export interface VectorTestSet {
  readonly name: string;
  readonly features: Float32Array | VectorSource;
  readonly labels: ArrayLike<SampleLabels>;
  readonly classSubset?: readonly number[];
}

export interface KnnRequest {
  readonly engine: Engine;
  readonly width: number;
  /** Settings in this order: for every k, every vote. Settings with more neighbours than keys are left out. */
  readonly k: readonly number[];
  readonly votes: readonly Vote[];
  readonly temperature: number;
  /** Keys while a setting is chosen, and the held-out images it is chosen on. */
  readonly train: LabelledVectors;
  readonly validation: { features: Float32Array | VectorSource; labels: ArrayLike<SampleLabels> };
  /** Keys for the tests: all training images. */
  readonly all: LabelledVectors;
  readonly tests: readonly VectorTestSet[];
}

export interface KnnPoint {
  readonly k: number;
  readonly vote: Vote;
  /** Top-1 on the held-out images. */
  readonly accuracy: number;
}

export interface KnnResult {
  readonly grid: readonly KnnPoint[];
  /** Index into the grid: the best accuracy; of equal ones the first. */
  readonly selected: number;
  /** By name of the test set, under the selected setting. */
  readonly tests: Record<string, ClassificationScore & { readonly predicted: Int32Array }>;
}

/**
 * The classes that the first k neighbours of every query vote for; of equal votes the smallest id, and -1 where no
 * neighbour's class is in `subset`. Weighted votes are exp(cosine similarity / temperature), DINO's convention (Caron et al. 2021, with 0.07).
 */
export function neighbourVotes(
  neighbours: Neighbours,
  labels: ArrayLike<number>,
  setting: { k: number; vote: Vote; temperature: number; subset?: readonly number[] | undefined },
): Int32Array {
  const { k, vote, temperature } = setting;
  const allowed = setting.subset && new Set(setting.subset);
  const out = new Int32Array(neighbours.indices.length / neighbours.k);
  const votes = new Map<number, number>();
  for (let query = 0; query < out.length; query++) {
    votes.clear();
    const from = query * neighbours.k;
    for (let i = from; i < from + k; i++) {
      const label = labels[neighbours.indices[i]!]!;
      if (allowed && !allowed.has(label)) continue;
      // The nearest one has weight 1, so that no weight overflows.
      const nearer = neighbours.distances[from]! - neighbours.distances[i]!;
      votes.set(label, (votes.get(label) ?? 0) + (vote === 'plain' ? 1 : Math.exp(nearer / temperature)));
    }
    let [best, most] = [-1, 0];
    for (const [label, weight] of votes) {
      if (weight > most || (weight === most && label < best)) [best, most] = [label, weight];
    }
    out[query] = best;
  }
  return out;
}

/**
 * Chooses k and vote on the held-out images and classifies every test set once with all training images as keys.
 * @throws UsageError when every k is larger than the number of keys
 */
export async function knnClassification(request: KnnRequest): Promise<KnnResult> {
  const { engine, width, train, validation, all, temperature } = request;
  const settings = request.k
    .filter((k) => k <= train.labels.length)
    .flatMap((k) => request.votes.map((vote) => ({ k, vote, temperature })));
  if (settings.length === 0) {
    throw new UsageError(
      `k is ${request.k.join(', ')}; accepted: at most the ${train.labels.length} training images`,
    );
  }
  const search = (keys: LabelledVectors, test: Float32Array | VectorSource, k: number) =>
    nearestNeighbours({ engine, width, k, metric: 'cosine', train: keys.features, test });

  const most = Math.max(...settings.map((s) => s.k));
  const held = await search(train, validation.features, most);
  const grid = settings.map((setting): KnnPoint => {
    const predicted = neighbourVotes(held, train.labels, setting);
    const { accuracy } = topOne(predicted, validation.labels);
    return { k: setting.k, vote: setting.vote, accuracy };
  });
  const best = Math.max(...grid.map((p) => p.accuracy));
  const selected = grid.findIndex((p) => p.accuracy === best);
  const tests: KnnResult['tests'] = {};
  for (const { name, features, labels, classSubset } of request.tests) {
    const setting = settings[selected]!;
    const found = await search(all, features, setting.k);
    const predicted = neighbourVotes(found, all.labels, { ...setting, subset: classSubset });
    tests[name] = { ...topOne(predicted, labels), predicted };
  }
  return { grid, selected, tests };
}
