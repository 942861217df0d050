// How far the arms of a table lie from its baseline: intervals and p values that count both the seeds and the test images.
import { holm } from './holm.js';
import { incompleteBeta, tQuantile, twoSidedP } from './student.js';

/** One arm of a table. */
export interface ArmScores {
  /** One score a pretraining seed. */
  readonly scores: readonly number[];
  /** Collapsed or diverged: its spread says nothing about the others', so it stays out of what they share. */
  readonly collapsed?: boolean;
  /** Squared standard error, over test images, of the seed-averaged difference to the baseline (paired bootstrap); NaN where not known. */
  readonly imageVariance: number;
}

export interface Difference {
  /** Arm minus baseline, in the units of the scores. */
  readonly value: number;
  /** 95 %, over seeds and test images; NaN where the variance of either is not known. */
  readonly low: number;
  readonly high: number;
  /** Of seeds and images; of images alone where `spread` is that. */
  readonly standardError: number;
  readonly degreesOfFreedom: number;
  /** Two-sided, and adjusted by Holm over the table; NaN where there is no interval. */
  readonly p: number;
  readonly adjusted: number;
  /** Whether the seeds' spread is that of all arms together, the arm's and the baseline's own, or not known (one seed). */
  readonly spread: 'pooled' | 'own' | 'images only';
  /** What the choice of test images alone does: it says nothing about another seed. Undefined where it is not known. */
  readonly images:
    | { readonly low: number; readonly high: number; readonly standardError: number }
    | undefined;
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
 * its own, as in Welch's test. The F test assumes normal scores as the interval does; Levene's has no power at three seeds. An arm with one
 * score has the pooled spread, and no interval where there is none: that of the test images alone would look more certain than two seeds.
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
    if (i === baseline || arm.scores.length === 0)
      return { ...UNKNOWN, value: i === baseline ? 0 : Number.NaN };
    const value = mean(arm.scores) - mean(base.scores);
    const ofImages = { variance: arm.imageVariance, df: images - 1 };
    const alone = student(value, [ofImages], level);
    const ofSeeds = spread.parts(i, baseline);
    if (ofSeeds.length === 0) {
      const { standardError, degreesOfFreedom } = alone;
      return { ...UNKNOWN, value, standardError, degreesOfFreedom, images: known(alone) };
    }
    const all = student(value, [ofImages, ...ofSeeds], level);
    return { value, ...all, spread: ofSeeds.length === 1 ? 'pooled' : 'own', images: known(alone) };
  });
  const adjusted = holm(found.map(({ p }) => p));
  return found.map((difference, i) => ({ ...difference, adjusted: adjusted[i]! }));
}

const UNKNOWN = {
  ...{
    low: Number.NaN,
    high: Number.NaN,
    standardError: Number.NaN,
    degreesOfFreedom: Number.NaN,
    p: Number.NaN,
  },
  spread: 'images only',
  images: undefined,
} as const;

type Test = Pick<Difference, 'low' | 'high' | 'standardError' | 'degreesOfFreedom' | 'p'>;

/** A value's interval and p from independent variances, by Satterthwaite; NaN where one is not known or all are 0. */
function student(value: number, parts: readonly { variance: number; df: number }[], level: number): Test {
  const counted = parts.filter(({ variance }) => variance !== 0);
  const total = counted.reduce((sum, part) => sum + part.variance, 0);
  const degreesOfFreedom = total ** 2 / counted.reduce((sum, part) => sum + part.variance ** 2 / part.df, 0);
  const standardError = Math.sqrt(total);
  const usable = total > 0 && degreesOfFreedom > 0;
  const half = usable ? tQuantile(level, degreesOfFreedom) * standardError : Number.NaN;
  const p = usable ? twoSidedP(value / standardError, degreesOfFreedom) : Number.NaN;
  return { low: value - half, high: value + half, standardError, degreesOfFreedom, p };
}

const known = ({ low, high, standardError }: Test): Difference['images'] =>
  Number.isNaN(low) ? undefined : { low, high, standardError };

/** The seeds' variance: pooled, or an arm's own. */
class Spread {
  private readonly apart: (boolean | undefined)[];
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
    this.apart = arms.map(
      ({ collapsed, scores }, i) => collapsed || scores.length === 0 || adjusted[i]! < POOLING_LEVEL,
    );
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
