// Differences to a baseline: formulas against Student's and Welch's tests of SciPy, and the coverage of the interval where seeds and images both vary.
import { describe, expect, it } from 'vitest';
import { stream } from '../../../src/base/random.js';
import { type ArmScores, differences } from '../../../src/report/statistics/differences.js';

const arm = (scores: number[], imageVariance = 0): ArmScores => ({ scores, imageVariance });

/** scipy.stats.ttest_ind of the lists below, pooled and with equal_var=False, and confidence_interval(0.95). */
const STUDENT = { p: 0.071161060144, low: -0.426558923528, high: 6.626558923528 };
const WELCH = { p: 0.693938021736, low: -12.562227366341, high: 17.427894033007 };

describe('two arms', () => {
  it("is Student's test where image variance is 0", () => {
    const [, found] = differences([arm([28.4, 27.2, 29.9]), arm([31.2, 33.5, 30.1])], 0, { images: 1000 });
    expect(found!.degreesOfFreedom).toBeCloseTo(4, 9);
    for (const key of ['p', 'low', 'high'] as const) expect(found![key], key).toBeCloseTo(STUDENT[key], 6);
    expect(found!.spread).toBe('pooled');
  });

  it("is Welch's where the spreads are too unlike to pool", () => {
    const wide = [10, 30, 50, 20, 40, 35];
    const narrow = [28.401, 28.402, 28.4, 28.399, 28.4, 28.401];
    const [, found] = differences([arm(narrow), arm(wide)], 0, { images: 1000 });
    for (const key of ['p', 'low', 'high'] as const) expect(found![key], key).toBeCloseTo(WELCH[key], 6);
    expect(found!.spread).toBe('own');
  });

  it('one seed leaves the interval over test images', () => {
    const [base, found] = differences([arm([28]), arm([31], 0.25)], 0, { images: 1000 });
    expect(base).toMatchObject({ value: 0, spread: 'images only' });
    expect(found).toMatchObject({ value: 3, standardError: 0.5, spread: 'images only' });
    expect(found!.degreesOfFreedom).toBeCloseTo(999, 9);
    expect(() => differences([arm([])], 0, { images: 10 })).toThrow(/no score/);
  });

  it('a collapsed arm does not widen the others', () => {
    const arms = [arm([28.4, 27.2, 29.9]), arm([31.2, 33.5, 30.1])];
    const collapsed = { ...arm([2, 30, 60]), collapsed: true };
    const [, alone] = differences(arms, 0, { images: 1000 });
    const [, beside] = differences([...arms, collapsed], 0, { images: 1000 });
    expect([beside!.low, beside!.high]).toEqual([alone!.low, alone!.high]);
  });
});

describe('coverage', () => {
  // 600 tables of 13 comparisons; those of one table share the baseline, so the share varies by about 0.8 %.
  it.each([3, 5, 10])('of 95 % intervals at %i seeds and 14 arms is 93-97 %', (seeds) => {
    const random = stream(0, 'coverage', seeds);
    const [ARMS, IMAGES, TABLES] = [14, 500, 600];
    const [ofSeeds, ofImages] = [1, 0.6]; // standard deviations: of a seed, and of an arm's mean over the images
    let covered = 0;
    for (let table = 0; table < TABLES; table++) {
      const truth = Array.from({ length: ARMS }, () => 3 * random.normal());
      const onImages = truth.map((mu) => mu + ofImages * random.normal());
      const arms = onImages.map((mu) => {
        // The bootstrap's estimate of the difference's variance, of two arms, with the error that so many images leave.
        const estimate = 2 * ofImages ** 2 * (1 + Math.sqrt(2 / IMAGES) * random.normal());
        return arm(
          Array.from({ length: seeds }, () => mu + ofSeeds * random.normal()),
          estimate,
        );
      });
      for (const [i, { low, high }] of differences(arms, 0, { images: IMAGES }).entries()) {
        const difference = truth[i]! - truth[0]!;
        if (i > 0 && low <= difference && difference <= high) covered++;
      }
    }
    const share = covered / (TABLES * (ARMS - 1));
    expect(share).toBeGreaterThan(0.93);
    expect(share).toBeLessThan(0.97);
  });
});
