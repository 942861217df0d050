// Numbers of a report as words: the same in every format.
import type { Difference } from '../statistics/differences.js';

/** A share in per cent with one digit. */
export const percent = (x: number, digits = 1): string => (100 * x).toFixed(digits);

/** With its sign, a true minus. */
export const signed = (x: number, digits = 1): string => {
  const text = (100 * x).toFixed(digits);
  return Number(text) === 0 ? (0).toFixed(digits) : x > 0 ? `+${text}` : text.replace('-', '\u2212');
};

const bound = (x: number): string =>
  (100 * x)
    .toFixed(1)
    .replace('-', '\u2212')
    .replace(/^\u22120\.0$/, '0.0');

/** `+1.2 [0.3, 2.1]`, or what can be said where there is no interval. */
export function differenceText(d: Difference | undefined): string {
  if (!d) return '';
  const range = Number.isNaN(d.low) ? '' : ` [${bound(d.low)}, ${bound(d.high)}]`;
  return `${signed(d.value)}${range}`;
}

/** `p < 0.001`, `p = 0.031`: adjusted over the table. */
export function pText(d: Difference | undefined): string {
  if (!d || Number.isNaN(d.adjusted)) return '';
  return d.adjusted < 0.001 ? 'p < 0.001' : `p = ${d.adjusted.toFixed(3)}`;
}

/** What a score without a number says for itself. */
export function stateText(states: readonly string[]): string {
  const kinds = [...new Set(states)];
  return kinds.length === 1 ? kinds[0]! : kinds.join(', ');
}
