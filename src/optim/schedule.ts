// Warm-up and truncated cosine: the learning rates and the teacher's momentum of every step.
import { UsageError } from '../errors.js';

/** How a run's schedules run: its length and the settings of the config section `optim`. Steps are counted from 0. Paper: Table 6. */
export interface ScheduleOptions {
  /** Steps of the whole run. */
  readonly steps: number;
  /** Share of the run that is warm-up, in [0, 1]; `warmupSteps` says how it is rounded. */
  readonly warmup: number;
  /** Share of its half period that the cosine is cut by: 0.2 stops it at 80 %; 0 lets it reach its end. */
  readonly truncation: number;
  /** Peak learning rate of the student. */
  readonly lr: number;
  /** Peak learning rate of the teacher's clustering layer. */
  readonly clusteringLr: number;
  /** Momentum of the teacher at the end of the warm-up. */
  readonly momentum: number;
}

/** What a step uses. */
export interface Rates {
  readonly lr: number;
  readonly clusteringLr: number;
  readonly momentum: number;
}

/** Warm-up steps of a run: the share of its steps, rounded to the nearest. */
export function warmupSteps(options: Pick<ScheduleOptions, 'steps' | 'warmup'>): number {
  return Math.round(options.warmup * options.steps);
}

/**
 * The shape that all three schedules share, in [0, 1]: linear from 0 at step 0 to 1 at the last warm-up step, then 1 again and down a cosine
 * that would take 1 / (1 - truncation) times the remaining steps to reach 0.
 */
export function scheduleShape(step: number, steps: number, warmup: number, truncation: number): number {
  if (step < warmup) return warmup === 1 ? 0 : step / (warmup - 1);
  const progress = ((step - warmup) / (steps - warmup)) * (1 - truncation);
  return (1 + Math.cos(Math.PI * progress)) / 2;
}

/**
 * The rates of a step in [0, steps): both learning rates follow the shape; the momentum goes from 1 to its value in the warm-up and back
 * towards 1 after it. Throws UsageError for a share outside of its range.
 */
export function ratesAt(step: number, options: ScheduleOptions): Rates {
  const { steps, warmup, truncation, lr, clusteringLr, momentum } = options;
  if (!(warmup >= 0 && warmup <= 1)) {
    throw new UsageError(`optim.warmup is a share of the run from 0 to 1, not ${warmup}`);
  }
  if (!(truncation >= 0 && truncation < 1)) {
    throw new UsageError(
      `optim.truncation is a share of the cosine's half period from 0 to below 1, not ${truncation}`,
    );
  }
  if (!(step >= 0 && step < steps))
    throw new RangeError(`step ${step} lies outside of a run of ${steps} steps`);
  const shape = scheduleShape(step, steps, warmupSteps(options), truncation);
  return { lr: lr * shape, clusteringLr: clusteringLr * shape, momentum: 1 - (1 - momentum) * shape };
}
