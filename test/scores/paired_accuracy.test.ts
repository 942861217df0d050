// Bootstrap of accuracies: against the normal approximation, and that pairing takes out what the images share.
import { describe, expect, it } from 'vitest';
import { meanInterval, pairedMeans } from '../../src/scores/paired_accuracy.js';
import { stream } from '../../src/tensor/random.js';

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
