// Bootstrap of accuracies: against the normal approximation, and that pairing takes out what the images share.
import { describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import { meanInterval, pairedMeans } from '../../src/scores/paired_accuracy.js';

const random = stream(3, 'test accuracies');
const draw = (n: number, share: number): number[] =>
  Array.from({ length: n }, () => (random.next() < share ? 1 : 0));

describe('meanInterval', () => {
  it('agrees with the normal approximation of a binomial share', () => {
    const values = draw(1000, 0.3);
    const p = values.reduce((a, b) => a + b, 0) / 1000;
    const half = 1.96 * Math.sqrt((p * (1 - p)) / 1000);
    const { value, low, high } = meanInterval(values, { seed: 0, samples: 4000 });
    expect(value).toBeCloseTo(p, 12);
    // 4,000 resamples place a 2.5 % quantile within some 4 % of the half width
    expect(Math.abs(low - (p - half))).toBeLessThan(0.08 * half);
    expect(Math.abs(high - (p + half))).toBeLessThan(0.08 * half);
  });
});

describe('pairedMeans', () => {
  it('has the interval of the differences, far narrower than of independent images', () => {
    const a = draw(500, 0.5);
    const b = a.map((x, i) => (i % 25 === 0 ? 0 : x)); // b is wrong wherever a is, and on some more
    const { difference } = pairedMeans(a, b, { seed: 0 });
    const lost = a.filter((x, i) => i % 25 === 0 && x === 1).length / 500;
    expect(difference.value).toBeCloseTo(lost, 12);
    const half = 1.96 * Math.sqrt((lost * (1 - lost)) / 500);
    expect((difference.high - difference.low) / 2).toBeLessThan(1.15 * half);
    expect(difference.low).toBeGreaterThanOrEqual(0);
  });

  it('refuses lists of different images', () => {
    expect(() => pairedMeans([1, 0], [1], { seed: 0 })).toThrow('2 and 1');
  });
});

describe('scores that no resample moves', () => {
  const options = { seed: 0 };
  it('have the width of the images that were not seen', () => {
    for (const n of [1, 8, 600]) {
      const ones = Array<number>(n).fill(1);
      const zeros = Array<number>(n).fill(0);
      const wilson = n / (n + 1.959963984540054 ** 2);
      expect(meanInterval(ones, options)).toEqual({ value: 1, low: expect.closeTo(wilson, 12), high: 1 });
      expect(meanInterval(zeros, options)).toEqual({
        value: 0,
        low: 0,
        high: expect.closeTo(1 - wilson, 12),
      });
      const { low, high } = meanInterval(Array<number>(n).fill(0.5), options);
      expect([low < 0.5, high > 0.5]).toEqual([true, true]);
      const { difference } = pairedMeans(ones, ones, options);
      expect([difference.low < 0, difference.value, difference.high > 0]).toEqual([true, 0, true]);
    }
    expect(meanInterval([], options)).toEqual({ value: Number.NaN, low: Number.NaN, high: Number.NaN });
  });

  it('near 0 and 1 an interval of fewer errors is not wider than of more', () => {
    const lows = [0, 1, 2, 3].map(
      (errors) =>
        meanInterval(
          Array.from({ length: 100 }, (_, i) => Number(i >= errors)),
          options,
        ).low,
    );
    expect(lows).toEqual([...lows].sort((a, b) => b - a));
  });

  it('cover the true share near 1 about as often as they say', () => {
    // 400 samples of 40 images with a chance of 0.97: a percentile bootstrap alone covers 70 %.
    let covered = 0;
    for (let trial = 0; trial < 400; trial++) {
      const { low, high } = meanInterval(draw(40, 0.97), { seed: trial, samples: 400 });
      covered += Number(low <= 0.97 && 0.97 <= high);
    }
    expect(covered / 400).toBeGreaterThan(0.9);
  });
});
