// k-NN and few-shot classification against float64 done by hand.
import { describe, expect, it } from 'vitest';
import { stream } from '../../../src/base/random.js';
import { OnnxEngine } from '../../../src/engine/onnx/session.js';
import { fewShotClassification } from '../../../src/probes/cls/few_shot.js';
import { type KnnRequest, knnClassification, neighbourVotes } from '../../../src/probes/cls/knn.js';

const engine = new OnnxEngine({ threads: 1 });
const width = 8;

/** Vectors around a direction a class, with so much noise that neighbours disagree. */
function vectors(count: number, key: string, noise = 1.2) {
  const random = stream(8, key);
  const directions = stream(8, 'directions').fillNormal(new Float32Array(4 * width));
  const labels = Int32Array.from({ length: count }, () => random.int(4));
  const features = random.fillNormal(new Float32Array(count * width), noise);
  labels.forEach((label, i) => {
    for (let j = 0; j < width; j++) features[i * width + j]! += directions[label * width + j]!;
  });
  return { features, labels };
}

const train = vectors(150, 'train');
const held = vectors(60, 'held');
const test = vectors(90, 'test');
const all = {
  features: Float32Array.of(...train.features, ...held.features),
  labels: Int32Array.of(...train.labels, ...held.labels),
};
const row = (x: Float32Array, i: number) => Array.from(x.subarray(i * width, (i + 1) * width));
const dot = (a: number[], b: number[]) => a.reduce((sum, value, j) => sum + value * b[j]!, 0);

/** The class that DINO's k-NN gives one query, in float64. */
function byHand(query: number[], keys: typeof train, k: number, temperature: number | null): number {
  const similarity = [...keys.labels.keys()].map((i) => {
    const key = row(keys.features, i);
    return dot(query, key) / Math.sqrt(dot(query, query) * dot(key, key));
  });
  const order = [...similarity.keys()].sort((a, b) => similarity[b]! - similarity[a]! || a - b);
  const votes = new Float64Array(4);
  for (const i of order.slice(0, k)) {
    votes[keys.labels[i]!]! += temperature === null ? 1 : Math.exp(similarity[i]! / temperature);
  }
  return votes.indexOf(Math.max(...votes));
}

const request: KnnRequest = {
  engine,
  width,
  k: [1, 10, 20, 500],
  votes: ['weighted', 'plain'],
  temperature: 0.07,
  train,
  validation: held,
  all,
  tests: [{ name: 'test', ...test }],
};

describe('knnClassification', () => {
  it('votes as a float64 search does, chooses on the held-out images, and tests with all as keys', async () => {
    const found = await knnClassification(request);
    const settings = [1, 10, 20].flatMap((k) => ([0.07, null] as const).map((t) => ({ k, t })));
    const accuracies = settings.map(({ k, t }) => {
      const hits = [...held.labels].filter(
        (label, i) => byHand(row(held.features, i), train, k, t) === label,
      );
      return hits.length / 60;
    });
    expect(found.grid.map((p) => [p.k, p.vote])).toEqual(
      settings.map(({ k, t }) => [k, t === null ? 'plain' : 'weighted']),
    );
    expect(found.grid.map((p) => p.accuracy)).toEqual(accuracies);
    expect(new Set(accuracies).size).toBeGreaterThan(2); // the settings differ
    expect(found.selected).toBe(accuracies.indexOf(Math.max(...accuracies)));
    const { k, t } = settings[found.selected]!;
    const expected = [...test.labels.keys()].map((i) => byHand(row(test.features, i), all, k, t));
    expect([...found.tests.test!.predicted]).toEqual(expected);
    expect(found.tests.test!.accuracy).toBe(expected.filter((c, i) => c === test.labels[i]).length / 90);
  });

  it('keeps to the classes of a subset, and refuses more neighbours than keys', async () => {
    const tests = [{ name: 'some', ...test, classSubset: [3, 1] }];
    const found = await knnClassification({ ...request, k: [20], tests });
    const predicted = [...found.tests.some!.predicted];
    expect(predicted.filter((c) => c === 0 || c === 2)).toEqual([]);
    expect(predicted.filter((c) => c === 1 || c === 3).length).toBeGreaterThan(45); // a few have no such neighbour
    await expect(knnClassification({ ...request, k: [200, 500] })).rejects.toThrow(
      'k is 200, 500; accepted: at most the 150 training images',
    );
  });
});

describe('neighbourVotes', () => {
  const neighbours = {
    k: 4,
    indices: Int32Array.of(0, 1, 2, 3),
    distances: Float32Array.of(0.1, 0.2, 0.2, 0.9),
  };
  const setting = { k: 4, temperature: 0.07, vote: 'plain' as const };

  it('gives equal votes to the smallest class', () => {
    expect([...neighbourVotes(neighbours, [5, 2, 5, 2], setting)]).toEqual([2]);
    expect([...neighbourVotes(neighbours, [9, 2, 5, 7], { ...setting, k: 3 })]).toEqual([2]);
  });

  it('weighs near neighbours more, with any distance', () => {
    const labels = [1, 0, 0, 0];
    expect([...neighbourVotes(neighbours, labels, setting)]).toEqual([0]);
    // exp(-0.1 / 0.07) = 0.24: two of them and a far one do not reach the 1 of the nearest.
    expect([...neighbourVotes(neighbours, labels, { ...setting, vote: 'weighted' })]).toEqual([1]);
    const cold = { ...setting, vote: 'weighted' as const, temperature: 1e-4 };
    expect([...neighbourVotes(neighbours, labels, cold)]).toEqual([1]);
  });

  it('says -1 where no neighbour is of the subset', () => {
    expect([...neighbourVotes(neighbours, [1, 0, 0, 0], { ...setting, subset: [3] })]).toEqual([-1]);
  });
});

describe('fewShotClassification', () => {
  const few = {
    engine,
    width,
    train: all,
    tests: [{ name: 'test', ...test }],
    shots: [2, 5],
    draws: 3,
    heads: ['centroid', 'logistic'] as const,
    C: 10,
    seed: 1,
  };

  it('takes the same number of every class, and the nearest centred mean of length-1 rows', async () => {
    const reads: number[] = [];
    const source = {
      count: 210,
      read: (first: number) => {
        reads.push(first);
        return Float32Array.from(row(all.features, first));
      },
    };
    const given = { ...few, shots: [5], draws: 1, heads: ['centroid'] as const };
    const [found] = await fewShotClassification({
      ...given,
      train: { features: source, labels: all.labels },
    });
    expect(reads.map((i) => all.labels[i]!)).toEqual([0, 1, 2, 3].flatMap((c) => Array(5).fill(c)));
    expect(new Set(reads).size).toBe(20);

    const rows = reads.map((i) => row(all.features, i));
    const centre = rows[0]!.map((_, j) => rows.reduce((sum, r) => sum + r[j]!, 0) / 20);
    const prepared = (r: number[]) => {
      const moved = r.map((value, j) => value - centre[j]!);
      return moved.map((value) => value / Math.sqrt(dot(moved, moved)));
    };
    const means = [0, 1, 2, 3].map((c) => {
      const own = rows.slice(5 * c, 5 * c + 5).map(prepared);
      return own[0]!.map((_, j) => own.reduce((sum, r) => sum + r[j]!, 0) / 5);
    });
    const hits = [...test.labels].filter((label, i) => {
      const query = prepared(row(test.features, i));
      const squares = means.map((m) => m.reduce((sum, value, j) => sum + (value - query[j]!) ** 2, 0));
      return squares.indexOf(Math.min(...squares)) === label;
    });
    expect(found!.accuracy).toBe(hits.length / 90);
    expect(found!.draws).toEqual([found!.accuracy]);
  });

  it('gains from more shots and less noise, differs between draws, and repeats itself', async () => {
    const found = await fewShotClassification(few);
    expect(found.map((r) => [r.shots, r.head, r.draws.length])).toEqual([
      [2, 'centroid', 3],
      [2, 'logistic', 3],
      [5, 'centroid', 3],
      [5, 'logistic', 3],
    ]);
    for (const { draws, accuracy } of found) {
      expect(accuracy).toBeCloseTo(draws.reduce((a, b) => a + b) / 3, 12);
      expect(new Set(draws).size).toBeGreaterThan(1);
      expect(accuracy).toBeGreaterThan(0.25);
    }
    expect(await fewShotClassification(few)).toEqual(found);
    expect(await fewShotClassification({ ...few, seed: 2 })).not.toEqual(found);
    const clear = {
      ...few,
      train: vectors(200, 'a', 0.05),
      tests: [{ name: 'test', ...vectors(50, 'b', 0.05) }],
    };
    for (const { accuracy } of await fewShotClassification(clear)) expect(accuracy).toBe(1);
  });

  it('keeps to the classes of a subset', async () => {
    const own = [...test.labels.keys()].filter((i) => test.labels[i] === 1 || test.labels[i] === 3);
    const part = {
      name: 'part',
      features: Float32Array.from(own.flatMap((i) => row(test.features, i))),
      labels: own.map((i) => test.labels[i]!),
    };
    const [free, kept] = await Promise.all(
      [undefined, [1, 3]].map((classSubset) =>
        fewShotClassification({ ...few, tests: [{ ...part, ...(classSubset && { classSubset }) }] }),
      ),
    );
    // Fewer wrong classes to choose from.
    for (const [i, { accuracy }] of kept!.entries())
      expect(accuracy).toBeGreaterThanOrEqual(free![i]!.accuracy);
    expect(kept).not.toEqual(free);
  });

  it('refuses more shots than there are', async () => {
    const fewest = Math.min(...[0, 1, 2, 3].map((c) => all.labels.filter((l) => l === c).length));
    await expect(fewShotClassification({ ...few, shots: [1, fewest + 1] })).rejects.toThrow(
      new RegExp(`class \\d has ${fewest} training images, fewer than the ${fewest + 1} shots`),
    );
  });
});
