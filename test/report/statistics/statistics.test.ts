// The statistics of reports against SciPy's values (test/golden/make/statistics.py), and properties that they must have.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { holm } from '../../../src/report/statistics/holm.js';
import { kendall, spearman } from '../../../src/report/statistics/rank.js';
import { incompleteBeta, tQuantile, twoSidedP } from '../../../src/report/statistics/student.js';

const golden = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../golden/statistics.json'), 'utf8'),
) as {
  beta: [number, number, number, number][];
  p: [number, number, number][];
  quantile: [number, number, number][];
  holm: [number[], number[]][];
  rank: [number[], number[], number, number][];
};

/** Both are float64 series of about 15 digits; the issue asks for 1e-6. */
const close = (actual: number, expected: number, what: string) =>
  expect(Math.abs(actual - expected), what).toBeLessThanOrEqual(1e-10 * Math.abs(expected) + 1e-15);

describe("Student's t", () => {
  it("has SciPy's incomplete beta function, p values and quantiles", () => {
    for (const [x, a, b, expected] of golden.beta)
      close(incompleteBeta(x, a, b), expected, `I ${x} ${a} ${b}`);
    for (const [t, df, expected] of golden.p) close(twoSidedP(t, df), expected, `p ${t} ${df}`);
    for (const [level, df, expected] of golden.quantile) {
      close(tQuantile(level, df), expected, `quantile ${level} ${df}`);
    }
  });

  it('p is 1 - level at its quantile, and refuses what it cannot mean', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 0.999, noNaN: true }),
        fc.double({ min: 0.5, max: 500, noNaN: true }),
        (level, df) => Math.abs(twoSidedP(tQuantile(level, df), df) - (1 - level)) < 1e-10,
      ),
    );
    expect(() => twoSidedP(1, 0)).toThrow(RangeError);
    expect(() => tQuantile(1, 3)).toThrow(RangeError);
    expect(twoSidedP(Number.NaN, 3)).toBeNaN();
  });
});

describe('Holm', () => {
  it('has the values of its definition, whatever was not compared', () => {
    for (const [p, expected] of golden.holm) {
      for (const [i, value] of holm(p).entries()) close(value, expected[i]!, `${p[i]}`);
      const [first, ...rest] = holm([Number.NaN, ...p]);
      expect(first).toBeNaN();
      expect(rest).toEqual(holm(p));
    }
  });

  it('keeps the order and never lowers a p value', () => {
    const p = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 20 });
    fc.assert(
      fc.property(p, (values) => {
        const adjusted = holm(values);
        return values.every(
          (a, i) =>
            adjusted[i]! >= a &&
            adjusted[i]! <= 1 &&
            values.every((b, j) => !(a < b) || adjusted[i]! <= adjusted[j]!),
        );
      }),
    );
  });
});

describe('rank correlation', () => {
  it("has SciPy's rho and tau-b, with and without ties", () => {
    for (const [a, b, rho, tau] of golden.rank) {
      close(spearman(a, b), rho, 'rho');
      close(kendall(a, b), tau, 'tau');
    }
  });

  it('is NaN for a constant, and refuses lists that do not pair', () => {
    expect([spearman([1, 1, 1], [1, 2, 3]), kendall([1, 2, 3], [4, 4, 4])]).toEqual([Number.NaN, Number.NaN]);
    expect(() => spearman([1], [1, 2])).toThrow(RangeError);
    expect(() => kendall([1], [1, 2])).toThrow(RangeError);
  });
});
