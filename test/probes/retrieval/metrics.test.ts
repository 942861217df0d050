// Ranks against a stable sort, and what rankings of known worth are worth.
import { describe, expect, it } from 'vitest';
import { stream } from '../../../src/base/random.js';
import { OnnxEngine } from '../../../src/engine/onnx/session.js';
import {
  averagePrecision,
  precisionAt,
  ranksOf,
  recallAt,
  trapezoidPrecision,
} from '../../../src/probes/retrieval/metrics.js';
import { blocksFor, similarities } from '../../../src/probes/retrieval/similarities.js';
import { vectorsInMemory } from '../../../src/solvers/neighbours.js';

describe('ranksOf', () => {
  it('is a stable sort without junk', () => {
    for (let round = 0; round < 200; round++) {
      const random = stream(4, 'ranks', round);
      const size = 1 + random.int(40);
      const row = Float32Array.from({ length: size }, () => random.int(6) / 4); // many are equal
      const kinds = Array.from({ length: size }, () => random.int(3));
      const of = (kind: number): number[] => kinds.flatMap((k, i) => (k === kind ? [i] : []));
      const ranked = [...row.keys()].filter((i) => kinds[i] !== 2).sort((a, b) => row[b]! - row[a]! || a - b);
      const expected = [...ranked.keys()].filter((rank) => kinds[ranked[rank]!] === 1);
      expect([...ranksOf(row, of(1), of(2))]).toEqual(expected);
    }
  });
});

describe('metrics', () => {
  it('are 1 for a perfect ranking, whatever junk stands before it', () => {
    const ranks = ranksOf([0.9, 0.8, 0.95, 0.7, 0.1, 0.2], [0, 1, 3], [2]);
    expect([...ranks]).toEqual([0, 1, 2]);
    const all = [
      averagePrecision(ranks),
      trapezoidPrecision(ranks),
      recallAt(ranks, 1),
      precisionAt(ranks, 10),
    ];
    expect(all).toEqual([1, 1, 1, 1]);
  });

  it('of a reversed ranking are those of the last places', () => {
    const ranks = ranksOf([1, 2, 3, 4, 5], [0, 1], []);
    expect([...ranks]).toEqual([3, 4]);
    expect(averagePrecision(ranks)).toBeCloseTo((1 / 4 + 2 / 5) / 2, 15);
    expect(trapezoidPrecision(ranks)).toBeCloseTo(((0 + 1 / 4) / 2 + (1 / 4 + 2 / 5) / 2) / 2, 15);
    expect([recallAt(ranks, 3), recallAt(ranks, 4)]).toEqual([0, 1]);
    expect([precisionAt(ranks, 4), precisionAt(ranks, 10)]).toEqual([1 / 4, 2 / 5]);
  });
});

describe('similarities', () => {
  const width = 5;
  const draw = (name: string, count: number) => stream(2, name).fillNormal(new Float32Array(count * width));
  const [database, queries] = [draw('database', 37), draw('queries', 11)];
  database.fill(0, 3 * width, 4 * width);

  async function rowsWithin(memory: number): Promise<number[][]> {
    const rows: number[][] = [];
    await similarities({
      engine: new OnnxEngine({ threads: 1 }),
      width,
      database: vectorsInMemory(database, width),
      queries: vectorsInMemory(queries, width),
      memory,
      visit: (query, row) => {
        expect(query).toBe(rows.length);
        rows.push([...row]);
      },
    });
    return rows;
  }

  it('are cosines, in blocks of any size', async () => {
    const whole = await rowsWithin(1e9);
    expect(whole).toHaveLength(11);
    const dot = (a: Float32Array, i: number, b: Float32Array, j: number): number => {
      let sum = 0;
      for (let c = 0; c < width; c++) sum += a[i * width + c]! * b[j * width + c]!;
      return sum;
    };
    for (const [q, row] of whole.entries())
      for (const [i, value] of row.entries()) {
        const lengths = Math.sqrt(dot(queries, q, queries, q) * dot(database, i, database, i));
        expect(value).toBeCloseTo(lengths > 0 ? dot(queries, q, database, i) / lengths : 0, 6);
      }
    for (const memory of [1, 1500, 4000]) {
      const rows = await rowsWithin(memory);
      for (const [q, row] of rows.entries())
        for (const [i, value] of row.entries()) expect(value).toBeCloseTo(whole[q]![i]!, 6);
      expect(rows).toHaveLength(11);
    }
  });

  it('take the memory that they are given, from one vector and one row on', () => {
    for (const memory of [1e5, 1e7, 1e9]) {
      const { bytes, keys } = blocksFor(5000, 300, 64, memory);
      expect(bytes).toBeLessThanOrEqual(memory);
      expect(keys).toBeGreaterThan(1);
    }
    expect(blocksFor(5000, 300, 64, 1)).toMatchObject({ keys: 1, rows: 1, together: 1 });
  });
});
