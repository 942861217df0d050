// Nearest neighbours against an exhaustive search in float64, on every engine, whole and in pieces.
import { describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import type { Engine } from '../../src/engine/program.js';
import {
  type NeighbourMetric,
  type NeighbourRequest,
  nearestNeighbours,
  vectorsInMemory,
} from '../../src/solvers/neighbours.js';
import { engines, onEveryEngine } from '../support/engines.js';

/** Distances of one query to all keys in float64. */
function distancesOf(query: Float32Array, train: Float32Array, metric: NeighbourMetric): number[] {
  const width = query.length;
  return Array.from({ length: train.length / width }, (_, i) => {
    let [dot, square, length, difference] = [0, 0, 0, 0];
    for (let j = 0; j < width; j++) {
      const [a, b] = [query[j]!, train[i * width + j]!];
      dot += a * b;
      square += b * b;
      length += a * a;
      difference += (a - b) ** 2;
    }
    if (metric === 'l2') return Math.sqrt(difference);
    return square > 0 && length > 0 ? 1 - dot / Math.sqrt(square * length) : 1;
  });
}

/** The k nearest keys by distance, then index. */
function exhaustive(request: Omit<NeighbourRequest, 'engine'>): { indices: number[]; distances: number[] } {
  const { width, k, metric } = request;
  const [train, test] = [request.train as Float32Array, request.test as Float32Array];
  const out: { indices: number[]; distances: number[] } = { indices: [], distances: [] };
  for (let at = 0; at < test.length; at += width) {
    const all = distancesOf(test.subarray(at, at + width), train, metric);
    const order = [...all.keys()].sort((a, b) => all[a]! - all[b]! || a - b).slice(0, k);
    out.indices.push(...order);
    out.distances.push(...order.map((i) => all[i]!));
  }
  return out;
}

const normals = (rows: number, width: number, key: string): Float32Array =>
  stream(7, key).fillNormal(new Float32Array(rows * width));
const wholes = (rows: number, width: number, key: string): Float32Array => {
  const random = stream(7, key);
  return new Float32Array(rows * width).map(() => random.int(3) - 1);
};

onEveryEngine('nearest neighbours', (opened) => {
  it.each(['cosine', 'l2'] as const)('are those of an exhaustive search (%s)', async (metric) => {
    const request = {
      train: normals(300, 12, 'train'),
      test: normals(41, 12, 'test'),
      width: 12,
      k: 9,
      metric,
    };
    const expected = exhaustive(request);
    const found = await nearestNeighbours({
      ...request,
      engine: await opened.open(),
      keysAtOnce: 64,
      queriesAtOnce: 16,
    });
    // No two distances here are nearer to each other than rounding, a few 1e-7 of sums of a dozen terms near 1.
    expect([...found.indices]).toEqual(expected.indices);
    found.distances.forEach((d, i) => {
      expect(Math.abs(d - expected.distances[i]!)).toBeLessThan(2e-6);
    });
  });

  it('of equal distances the smaller index comes first, within and across blocks', async () => {
    // Small whole numbers: every squared distance is exact, and most are shared by many keys.
    const request = {
      train: wholes(200, 4, 'keys'),
      test: wholes(30, 4, 'queries'),
      width: 4,
      k: 30,
      metric: 'l2' as const,
    };
    const expected = exhaustive(request);
    const engine = await opened.open();
    for (const keysAtOnce of [37, 200]) {
      const found = await nearestNeighbours({ ...request, engine, keysAtOnce, queriesAtOnce: 7 });
      expect([...found.indices]).toEqual(expected.indices);
    }
  });
});

describe('nearest neighbours', () => {
  const open = (): Promise<Engine> => engines[0]!.open();
  const request = {
    width: 5,
    metric: 'cosine' as const,
    train: normals(50, 5, 'a'),
    test: normals(8, 5, 'b'),
  };

  it('are the same from a source that is read in pieces, once and in order', async () => {
    const engine = await open();
    const whole = await nearestNeighbours({ ...request, k: 7, engine });
    const reads: [number, number][] = [];
    const inner = vectorsInMemory(request.train, 5);
    const train = {
      count: inner.count,
      read: async (first: number, count: number) => {
        reads.push([first, count]);
        return inner.read(first, count);
      },
    };
    const shares: number[] = [];
    const pieces = await nearestNeighbours({
      ...{ ...request, train, k: 7, engine, keysAtOnce: 20, queriesAtOnce: 3 },
      onProgress: (share) => shares.push(share),
    });
    expect(pieces.indices).toEqual(whole.indices);
    expect(reads).toEqual([
      [0, 20],
      [20, 20],
      [40, 10],
    ]);
    expect(shares.at(-1)).toBe(1);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
  });

  it('give all keys when k is their number, blocks smaller than k notwithstanding', async () => {
    const found = await nearestNeighbours({ ...request, k: 50, engine: await open(), keysAtOnce: 6 });
    for (let q = 0; q < 8; q++) {
      expect([...found.indices.subarray(q * 50, q * 50 + 50)].sort((a, b) => a - b)).toEqual([
        ...Array(50).keys(),
      ]);
    }
  });

  it('a vector of length 0 is at cosine distance 1 from all', async () => {
    const engine = await open();
    const zeroQuery = { ...request, test: new Float32Array(5), k: 3, engine };
    const found = await nearestNeighbours(zeroQuery);
    expect([...found.indices]).toEqual([0, 1, 2]);
    expect([...found.distances]).toEqual([1, 1, 1]);
  });

  it('no queries, no neighbours', async () => {
    const found = await nearestNeighbours({
      ...request,
      test: new Float32Array(0),
      k: 3,
      engine: await open(),
    });
    expect(found.indices).toHaveLength(0);
  });

  it('refuse what cannot be', async () => {
    const engine = await open();
    await expect(nearestNeighbours({ ...request, k: 51, engine })).rejects.toThrow(
      'k is 51; accepted: a whole number from 1 to the 50 training vectors',
    );
    await expect(nearestNeighbours({ ...request, k: 0, engine })).rejects.toThrow('k is 0');
    await expect(nearestNeighbours({ ...request, k: 1, width: 7, engine })).rejects.toThrow(
      '250 values are not whole vectors of width 7',
    );
    const broken = Float32Array.from(request.train);
    broken[12] = Number.NaN;
    await expect(nearestNeighbours({ ...request, train: broken, k: 1, engine })).rejects.toThrow(
      'a training vector holds a value that is not finite',
    );
    await expect(nearestNeighbours({ ...request, test: broken, k: 1, engine })).rejects.toThrow(
      'a query vector holds a value that is not finite',
    );
    const short = { count: 50, read: () => new Float32Array(5) };
    await expect(nearestNeighbours({ ...request, train: short, k: 1, engine })).rejects.toThrow(
      '5 values where 50 vectors of width 5 were to be read, from number 0',
    );
  });
});
