// Intervals where a bootstrap has nothing to vary: against Wilson's interval of SciPy, exact coverage, and what stands in old records.
import { describe, expect, it } from 'vitest';
import { alikeInterval, alikeScore, recordedInterval, wilson } from '../../src/results/bounds.js';

describe("Wilson's interval", () => {
  // SciPy 1.17.1: scipy.stats.binomtest(k, n).proportion_ci(method='wilson'), 95 %
  it.each([
    [0, 8, 0, 0.3244075649],
    [8, 8, 0.6755924351, 1],
    [1, 1, 0.2065493144, 1],
    [99, 100, 0.9455138038, 0.9982325679],
    [100, 100, 0.9630065018, 1],
    [300, 1000, 0.2724068425, 0.3291238609],
    [10_000, 10_000, 0.9996160016, 1],
  ])('of %i in %i', (hits, n, low, high) => {
    const found = wilson(hits, n);
    expect(found.low).toBeCloseTo(low, 9);
    expect(found.high).toBeCloseTo(high, 9);
  });

  it('of images that are all right holds the true share as often as it says, and is never without width', () => {
    for (const n of [1, 2, 5, 20, 100, 1000, 50_000]) {
      const { low, high } = alikeInterval(1, n);
      expect(high).toBe(1);
      expect(low).toBeLessThan(1);
      // With a true share below `low`, all n images are right with at most this chance.
      if (n >= 5) expect(low ** n).toBeLessThan(0.06);
      expect(alikeInterval(0, n).high).toBeCloseTo(1 - low, 12);
    }
  });

  it('narrows with more images, and with fewer errors its lower end rises', () => {
    for (let n = 2; n < 200; n++) {
      expect(wilson(n, n).low).toBeGreaterThan(wilson(n - 1, n - 1).low);
      expect(wilson(n, n).low).toBeGreaterThan(wilson(n - 1, n).low);
    }
  });
});

describe('images that are all alike', () => {
  it('leave a share unseen in which everything is possible', () => {
    const { low, value, high } = alikeInterval(0.25, 4);
    const unseen = wilson(0, 4).high;
    expect([low, value, high]).toEqual([0.25 * (1 - unseen), 0.25, 0.25 + 0.75 * unseen]);
    const difference = alikeInterval(0, 4, -1, 1);
    expect([difference.low, difference.high]).toEqual([-unseen, unseen]);
  });

  it('count twice in a pooled union: an image that is wrong throughout', () => {
    // 96 images of class 0 right, 4 of them taken for class 1 and 4 of class 1 for 0, of 100 each: IoU 96 / 104
    const { low } = alikeScore('miou', 1, 100);
    const unseen = wilson(0, 100).high;
    expect(low).toBeCloseTo((100 - 100 * unseen) / (100 + 100 * unseen), 12);
    expect(low).toBeLessThan(alikeScore('accuracy', 1, 100).low);
  });
});

describe('a recorded interval', () => {
  const of = (value: number | null, low: number | null, high: number | null) =>
    recordedInterval({ metric: 'top1', value, interval: { low, high }, n: 8 });
  it('without width is replaced, others stand, and none is made of nothing', () => {
    expect(of(1, 1, 1)).toEqual(alikeInterval(1, 8));
    expect(of(0.5, 0.4, 0.6)).toEqual({ value: 0.5, low: 0.4, high: 0.6 });
    expect([of(null, null, null), of(1, null, 1), of(0.5, 0.6, 0.4)]).toEqual([null, null, null]);
    expect(recordedInterval({ metric: 'top1', value: 1, interval: null, n: 8 })).toBeNull();
  });
});
