// Streams: Philox against its published vectors, addresses that never collide, and distributions against their closed forms.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { philox4x32, stream } from '../../src/base/random.js';

const hex = (words: Int32Array) => [...words].map((word) => (word >>> 0).toString(16).padStart(8, '0'));

describe('philox4x32', () => {
  // Known-answer vectors published with Random123 (kat_vectors, philox4x32 10).
  it.each([
    [[0, 0, 0, 0, 0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[-1, -1, -1, -1, -1, -1], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0],
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    ],
  ])('%j', (input, expected) => {
    const out = new Int32Array(4);
    const [c0, c1, c2, c3, k0, k1] = input as [number, number, number, number, number, number];
    philox4x32(out, c0, c1, c2, c3, k0, k1);
    expect(hex(out)).toEqual(expected.split(' '));
  });
});

const draw = (count: number, ...address: [number, ...(number | string)[]]) => {
  const random = stream(...address);
  return Array.from({ length: count }, () => random.bits());
};

describe('stream', () => {
  const key = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer(), fc.string());
  const address = fc.tuple(fc.integer(), fc.array(key, { maxLength: 4 }));

  it('gives the same numbers for the same address and others for another', () => {
    fc.assert(
      fc.property(address, address, ([seedA, keysA], [seedB, keysB]) => {
        const a = draw(9, seedA, ...keysA);
        expect(draw(9, seedA, ...keysA)).toEqual(a);
        const text = (seed: number, keys: (number | string)[]) =>
          JSON.stringify([seed, ...keys].map((k) => (typeof k === 'number' ? k + 0 : k)));
        const normal = (keys: (number | string)[]) => keys.map((k) => (k === 0 ? 0 : k));
        if (text(seedA, normal(keysA)) !== text(seedB, normal(keysB))) {
          expect(draw(9, seedB, ...keysB)).not.toEqual(a);
        }
      }),
    );
  });

  it('tells types, order and boundaries of keys apart', () => {
    const addresses: [number, ...(number | string)[]][] = [
      [0],
      [1],
      [-1],
      [0, 0],
      [0, 1],
      [1, 0],
      [0, '1'],
      [0, ''],
      [0, 'a', 'b'],
      [0, 'ab'],
      [0, 'a\0', 'b'],
      [0, 'a'],
      [0, 'a\0'],
      [0, 0.5],
      [0, 2 ** 32],
      [0, 2 ** 40],
    ];
    const firsts = new Set(addresses.map((address) => draw(2, ...address).join()));
    expect(firsts.size).toBe(addresses.length);
    expect(draw(4, -0, -0)).toEqual(draw(4, 0, 0));
  });

  it('never changes: runs of an older version stay reproducible', () => {
    expect(hex(Int32Array.from(draw(5, 42, 'masks', 7)))).toMatchInlineSnapshot(`
      [
        "7d90199f",
        "564fe803",
        "c94f307f",
        "37215963",
        "092b7e21",
      ]
    `);
  });

  it('refuses an address that is not a number', () => {
    expect(() => stream(Number.NaN)).toThrow(RangeError);
    expect(() => stream(0, Number.POSITIVE_INFINITY)).toThrow(/addressed by Infinity/);
  });

  it('has neighbouring addresses that are uncorrelated', () => {
    const n = 20_000;
    let [sum, sumA, sumB] = [0, 0, 0];
    for (let step = 0; step < n; step++) {
      const a = stream(1, 'masks', step).next();
      const b = stream(1, 'masks', step + 1).next();
      sum += (a - 0.5) * (b - 0.5);
      sumA += a;
      sumB += b;
    }
    // Standard errors: 1/12 / sqrt(n) for the product, sqrt(1/12 / n) for the mean; five of each.
    expect(Math.abs(sum / n)).toBeLessThan((5 / 12) * n ** -0.5);
    expect(Math.abs(sumA / n - 0.5)).toBeLessThan(5 * (12 * n) ** -0.5);
    expect(Math.abs(sumB / n - 0.5)).toBeLessThan(5 * (12 * n) ** -0.5);
  });
});

describe('distributions', () => {
  it('int(n) stays in range and is uniform', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 2 ** 32 }), (seed, n) => {
        const value = stream(seed).int(n);
        expect(Number.isInteger(value) && value >= 0 && value < n).toBe(true);
      }),
    );
    const random = stream(3);
    const counts = new Float64Array(7);
    const draws = 70_000;
    for (let i = 0; i < draws; i++) counts[random.int(7)]!++;
    const chi2 = counts.reduce((sum, count) => sum + (count - draws / 7) ** 2 / (draws / 7), 0);
    expect(chi2).toBeLessThan(32.5); // 6 degrees of freedom, p = 1e-5; the seed is fixed
    // n = 3 * 2^30 would favour the first third of its range if draws were not rejected.
    let low = 0;
    for (let i = 0; i < draws; i++) low += Number(random.int(3 * 2 ** 30) < 2 ** 30);
    expect(Math.abs(low / draws - 1 / 3)).toBeLessThan(5 * Math.sqrt(2 / 9 / draws));
  });

  it('int refuses an empty or fractional range', () => {
    for (const n of [0, -1, 1.5, 2 ** 32 + 1, Number.NaN]) expect(() => stream(0).int(n)).toThrow(RangeError);
  });

  it('next() fills [0, 1) evenly', () => {
    const random = stream(5);
    const n = 200_000;
    const bins = new Float64Array(64);
    for (let i = 0; i < n; i++) bins[Math.floor(random.next() * 64)]!++;
    const chi2 = bins.reduce((sum, count) => sum + (count - n / 64) ** 2 / (n / 64), 0);
    expect(chi2).toBeLessThan(123); // 63 degrees of freedom, p = 1e-5
  });

  it('normal() has the moments and the tails of a standard normal', () => {
    const random = stream(6);
    const n = 200_000;
    const moments = [0, 0, 0, 0];
    let beyond2 = 0;
    for (let i = 0; i < n; i++) {
      const x = random.normal();
      for (let power = 0; power < 4; power++) moments[power]! += x ** (power + 1) / n;
      beyond2 += Number(Math.abs(x) > 2) / n;
    }
    const error = 5 / Math.sqrt(n); // five standard errors; the k-th moment's variance is E[x^2k] - E[x^k]^2
    expect(Math.abs(moments[0]!)).toBeLessThan(error);
    expect(Math.abs(moments[1]! - 1)).toBeLessThan(error * Math.sqrt(2));
    expect(Math.abs(moments[2]!)).toBeLessThan(error * Math.sqrt(15));
    expect(Math.abs(moments[3]! - 3)).toBeLessThan(error * Math.sqrt(96));
    expect(Math.abs(beyond2 - 0.0455)).toBeLessThan(error * 0.21);
  });

  it('fills arrays with the same values as single draws', () => {
    const [a, b] = [stream(8), stream(8)];
    const filled = a.fillNormal(new Float32Array(101), 0.02);
    expect([...filled]).toEqual(Array.from({ length: 101 }, () => Math.fround(b.normal() * 0.02)));
    const uniform = a.fillUniform(new Float32Array(100), -3, 5);
    expect([...uniform]).toEqual(Array.from({ length: 100 }, () => Math.fround(-3 + 8 * b.next())));
  });
});

describe('orders', () => {
  it('shuffle keeps the items, sample takes distinct ones in range', () => {
    fc.assert(
      fc.property(fc.integer(), fc.array(fc.integer()), (seed, items) => {
        const sorted = (values: number[]) => [...values].sort((a, b) => a - b);
        expect(sorted(stream(seed).shuffle([...items]))).toEqual(sorted(items));
      }),
    );
    fc.assert(
      fc.property(fc.integer(), fc.nat(60), fc.nat(60), (seed, a, b) => {
        const [k, n] = [Math.min(a, b), Math.max(a, b)];
        const chosen = stream(seed).sample(n, k);
        expect(new Set(chosen).size).toBe(k);
        expect(chosen.every((value) => value >= 0 && value < n)).toBe(true);
      }),
    );
    expect(() => stream(0).sample(3, 4)).toThrow(/4 distinct values out of 3/);
  });

  it('every order is equally likely', () => {
    const n = 24_000;
    const shuffles = new Map<string, number>();
    const samples = new Map<string, number>();
    const random = stream(9);
    for (let i = 0; i < n; i++) {
      const order = random.shuffle([0, 1, 2, 3]).join();
      shuffles.set(order, (shuffles.get(order) ?? 0) + 1);
      const pair = random.sample(4, 2).join();
      samples.set(pair, (samples.get(pair) ?? 0) + 1);
    }
    for (const [counts, cells, limit] of [
      [shuffles, 24, 66], // chi-square with 23 degrees of freedom, p = 1e-5
      [samples, 12, 45], // 11 degrees of freedom
    ] as const) {
      expect(counts.size).toBe(cells);
      let chi2 = 0;
      for (const count of counts.values()) chi2 += (count - n / cells) ** 2 / (n / cells);
      expect(chi2).toBeLessThan(limit);
    }
  });
});
