// Numbers of a report as words: the same in every format.
import type { Metric } from '../../probes/about.js';
import type { Difference } from '../statistics/differences.js';

/** Most digits after the point that it takes to tell the ends of an interval apart. */
const MOST_DIGITS = 6;

const MINUS = '\u2212';

/** Scores of one unit as words. */
export interface ScoreWords {
  /** With a true minus; 0 has no sign, and what is no number is a dash. */
  score(x: number | null | undefined, digits?: number): string;
  /** The same with a plus where it is above 0. */
  signed(x: number | null | undefined, digits?: number): string;
  /** `[0.3, 2.1]`, with as many digits as the ends need to differ; empty where an end is no number. */
  range(low: number, high: number, word?: ScoreWords['score']): string;
}

function wordsOf(times: number, least: number): ScoreWords {
  const score: ScoreWords['score'] = (x, digits = least) => {
    if (x === null || x === undefined || !Number.isFinite(x)) return '-';
    const text = (times * x).toFixed(digits);
    return Number(text) === 0 ? (0).toFixed(digits) : text.replace('-', MINUS);
  };
  return {
    score,
    signed(x, digits = least) {
      const text = score(x, digits);
      return text.startsWith('-') || text.startsWith(MINUS) || Number(text) === 0 ? text : `+${text}`;
    },
    range(low, high, word = score) {
      if (!(Number.isFinite(low) && Number.isFinite(high))) return '';
      let digits = least;
      while (low !== high && digits < MOST_DIGITS && score(low, digits) === score(high, digits)) digits++;
      return `[${word(low, digits)}, ${word(high, digits)}]`;
    },
  };
}

/** Shares in per cent with one digit after the point, other numbers as they are with three. */
export const WORDS: Readonly<Record<Metric['unit'], ScoreWords>> = {
  share: wordsOf(100, 1),
  number: wordsOf(1, 3),
};

export const { score: percent, signed, range: rangeText } = WORDS.share;

/** `+1.2 [0.3, 2.1]`, or what can be said where there is no interval: `+1.2 (test images alone: [0.9, 1.5])`. */
export function differenceText(d: Difference | undefined, { signed, range: rangeOf }: ScoreWords): string {
  if (!d) return '';
  const range = rangeOf(d.low, d.high);
  const images = d.images && range === '' ? rangeOf(d.images.low, d.images.high) : '';
  if (range !== '') return `${signed(d.value)} ${range}`;
  return images === '' ? signed(d.value) : `${signed(d.value)} (test images alone: ${images})`;
}

/** `p < 0.001`, `p = 0.031`: adjusted over the table. */
export function pText(d: Difference | undefined): string {
  if (!d || !Number.isFinite(d.adjusted)) return '';
  return d.adjusted < 0.001 ? 'p < 0.001' : `p = ${d.adjusted.toFixed(3)}`;
}

/** What a score without a number says for itself. */
export function stateText(states: readonly string[]): string {
  const kinds = [...new Set(states)];
  return kinds.length === 1 ? kinds[0]! : kinds.join(', ');
}

/** The paper's number, which is in per cent where the score is a share. */
export const paperText = (paper: number | undefined, unit: Metric['unit']): string =>
  paper === undefined ? '' : WORDS[unit].score(unit === 'share' ? paper / 100 : paper);
