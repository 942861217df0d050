// How far the arms of a table lie from its baseline: intervals and p values that count both the seeds and the test images.
import { holm } from './holm.js';
import { incompleteBeta, tQuantile, twoSidedP } from './student.js';

/** One arm of a table. */
export interface ArmScores {
  /** One score a pretraining seed. */
  readonly scores: readonly number[];
  /** Collapsed or diverged: its spread says nothing about the others', so it stays out of what they share. */
  readonly collapsed?: boolean;
  /** Squared standard error, over test images, of the seed-averaged difference to the baseline (paired bootstrap); 0 where not known. */
  readonly imageVariance: number;
}

export interface Difference {
  /** Arm minus baseline, in the units of the scores. */
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly standardError: number;
  readonly degreesOfFreedom: number;
  /** Two-sided, and adjusted by Holm over the table. */
  readonly p: number;
  readonly adjusted: number;
  /** Whether the seeds' spread is that of all arms together, the arm's and the baseline's own, or not known (one seed). */
  readonly spread: 'pooled' | 'own' | 'images only';
}

export interface DifferenceOptions {
  /** Test images: degrees of freedom of the image variance are one fewer. */
  readonly images: number;
  /** Coverage; default 0.95. */
  readonly level?: number;
}

/** Chance, over a table of equal spreads, that any arm is taken out of the pool. */
const POOLING_LEVEL = 0.01;

export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Sample variance; NaN for fewer than two values. */
export function variance(values: readonly number[]): number {
  const m = mean(values);
  return values.length < 2 ? Number.NaN : values.reduce((a, x) => a + (x - m) ** 2, 0) / (values.length - 1);
}

/**
 * The difference of every arm to the baseline ± t SE, SE² = s² (1/nₐ + 1/n_b) + SE²_img, with Satterthwaite's degrees of freedom. s² is pooled over
 * the arms that did not collapse; an arm whose variance a two-sided F test against the rest (Holm over the arms, 1 %) sets apart stands with
 * its own, as in Welch's test. The F test assumes normal scores as the interval does; Levene's has no power at three seeds.
 * The baseline's own entry has value 0 and NaN elsewhere. Throws RangeError when it has no score.
 */
export function differences(
  arms: readonly ArmScores[],
  baseline: number,
  { images, level = 0.95 }: DifferenceOptions,
): Difference[] {
  const base = arms[baseline];
  if (!base || base.scores.length === 0) throw new RangeError('the baseline of the table has no score');
  const spread = new Spread(arms);
  const found = arms.map((arm, i): Omit<Difference, 'adjusted'> => {
    const nothing = Number.NaN;
    if (i === baseline || arm.scores.length === 0) {
      const value = i === baseline ? 0 : nothing;
      const none = {
        low: nothing,
        high: nothing,
        standardError: nothing,
        degreesOfFreedom: nothing,
        p: nothing,
      };
      return { value, ...none, spread: 'images only' };
    }
    const value = mean(arm.scores) - mean(base.scores);
    const parts = [{ variance: arm.imageVariance, df: images - 1 }, ...spread.parts(i, baseline)];
    const total = parts.reduce((sum, part) => sum + part.variance, 0);
    const df = total ** 2 / parts.reduce((sum, part) => sum + part.variance ** 2 / part.df, 0);
    const standardError = Math.sqrt(total);
    const half = total > 0 ? tQuantile(level, df) * standardError : nothing;
    return {
      value,
      low: value - half,
      high: value + half,
      standardError,
      degreesOfFreedom: df,
      p: total > 0 ? twoSidedP(value / standardError, df) : nothing,
      spread: parts.length === 1 ? 'images only' : parts.length === 2 ? 'pooled' : 'own',
    };
  });
  const adjusted = holm(found.map(({ p }) => p));
  return found.map((difference, i) => ({ ...difference, adjusted: adjusted[i]! }));
}

/** The seeds' variance: pooled, or an arm's own. */
class Spread {
  private readonly apart: boolean[];
  private readonly pooled: { variance: number; df: number };

  constructor(private readonly arms: readonly ArmScores[]) {
    const alike = arms.map(({ collapsed, scores }) => !collapsed && scores.length > 1);
    const p = arms.map((arm, i) => {
      if (!alike[i]) return Number.NaN;
      const rest = pool(arms.filter((_, j) => j !== i && alike[j]));
      const df = arm.scores.length - 1;
      if (!(rest.df > 0 && rest.variance > 0)) return Number.NaN;
      const below = fBelow(variance(arm.scores) / rest.variance, df, rest.df);
      return 2 * Math.min(below, 1 - below);
    });
    const adjusted = holm(p);
    this.apart = arms.map((_, i) => !alike[i] || adjusted[i]! < POOLING_LEVEL);
    this.pooled = pool(arms.filter((_, i) => !this.apart[i]));
  }

  /** Variances of the seed means' difference, with their degrees of freedom. */
  parts(a: number, b: number): { variance: number; df: number }[] {
    const counts = [a, b].map((i) => this.arms[i]!.scores.length);
    if (!this.apart[a] && !this.apart[b] && this.pooled.df > 0) {
      const { variance, df } = this.pooled;
      return [{ variance: variance * counts.reduce((sum, n) => sum + 1 / n, 0), df }];
    }
    const own = [a, b].map((i, k) => {
      const usePool = !this.apart[i] && this.pooled.df > 0;
      const { variance: v, df } = usePool ? this.pooled : pool([this.arms[i]!]);
      return { variance: v / counts[k]!, df };
    });
    return own.every(({ df }) => df > 0) ? own : [];
  }
}

function pool(arms: readonly ArmScores[]): { variance: number; df: number } {
  const several = arms.filter(({ scores }) => scores.length > 1);
  const df = several.reduce((sum, { scores }) => sum + scores.length - 1, 0);
  const squares = several.reduce((sum, { scores }) => sum + variance(scores) * (scores.length - 1), 0);
  return { variance: df > 0 ? squares / df : Number.NaN, df };
}

/** Probability that F with (a, b) degrees of freedom is below f. */
const fBelow = (f: number, a: number, b: number): number =>
  incompleteBeta((a * f) / (a * f + b), a / 2, b / 2);
