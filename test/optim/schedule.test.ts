// Schedules against the published implementation's 50 steps and the figures of the paper's Table 6.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { ratesAt, type ScheduleOptions, scheduleShape, warmupSteps } from '../../src/optim/schedule.js';

const golden = process.env.CAPI_REFERENCE_DIR ?? 'test/golden/capi-reference';
const reference = JSON.parse(readFileSync(join(golden, 'reference.json'), 'utf8'));

describe('schedules', () => {
  const { total_iters: steps, warmup, lr, clustering_lr, momentum } = reference.config.optim;
  const options: ScheduleOptions = {
    steps,
    warmup: warmup / steps,
    truncation: 0.2,
    lr,
    clusteringLr: clustering_lr,
    momentum,
  };

  it('equal the reference at every step', () => {
    for (let step = 0; step < steps; step++) {
      const rates = ratesAt(step, options);
      // The same formula in float64: only the last bits may differ.
      expect(Math.abs(rates.lr - reference.curve.lr[step])).toBeLessThan(1e-15);
      expect(Math.abs(rates.clusteringLr - reference.curve.clustering_lr[step])).toBeLessThan(1e-15);
      expect(Math.abs(rates.momentum - reference.curve.momentum[step])).toBeLessThan(1e-12);
    }
  });

  it('end where the paper says: at 9.5 % of the peak, momentum near 0.9999', () => {
    const paper = {
      steps: 500_000,
      warmup: 0.1,
      truncation: 0.2,
      lr: 1e-3,
      clusteringLr: 5e-4,
      momentum: 0.999,
    };
    expect(warmupSteps(paper)).toBe(50_000);
    const last = ratesAt(499_999, paper);
    expect(last.lr / 1e-3).toBeCloseTo(0.0955, 4); // (1 + cos(0.8 pi)) / 2
    expect(last.momentum).toBeCloseTo(0.9999, 5);
    expect(ratesAt(0, paper)).toEqual({ lr: 0, clusteringLr: 0, momentum: 1 });
    expect(ratesAt(49_999, paper)).toEqual({ lr: 1e-3, clusteringLr: 5e-4, momentum: 0.999 });
  });

  it('are defined by shares: runs of other lengths follow the same curve', () => {
    // After the warm-up, step 50 + k of 500 lies at the same share of the cosine as step 500 + 10 k of 5000.
    for (let k = 0; k < 450; k += 45) {
      expect(ratesAt(50 + k, { ...options, steps: 500 }).lr).toBeCloseTo(
        ratesAt(500 + 10 * k, { ...options, steps: 5000 }).lr,
        15,
      );
    }
  });

  it('rise, then fall, within [0, 1], also without warm-up or with a short one', () => {
    for (const [steps, warmup, truncation] of [
      [50, 5, 0.2],
      [10, 0, 0],
      [10, 1, 0.5],
      [3, 2, 0],
      [4, 4, 0],
      [1, 0, 0.2],
    ] as const) {
      const shape = Array.from({ length: steps }, (_, step) =>
        scheduleShape(step, steps, warmup, truncation),
      );
      expect(shape.every((value) => value >= 0 && value <= 1)).toBe(true);
      expect(shape[Math.min(warmup, steps - 1)]).toBe(1);
      for (let step = 1; step < steps; step++) {
        const rise = shape[step]! - shape[step - 1]!;
        expect(step <= warmup ? rise >= 0 : rise < 0).toBe(true);
      }
    }
  });

  it('refuse shares that make no sense', () => {
    expect(() => ratesAt(0, { ...options, warmup: 1.1 })).toThrow(UsageError);
    expect(() => ratesAt(0, { ...options, truncation: -0.1 })).toThrow(/not -0.1/);
    expect(() => ratesAt(steps, options)).toThrow(RangeError);
  });
});
