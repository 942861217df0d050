// What must be said beside a number: worked out once for each arm and column, and shown by every format.
import type { Difference } from '../statistics/differences.js';
import type { SeedScore } from './scores.js';

export type CaveatKind = 'seeds' | 'not run' | 'failed' | 'collapsed' | 'protocol' | 'interval';

export interface Caveat {
  readonly kind: CaveatKind;
  /** In full, for tables that a program reads: `2 of 3 seeds`, `1 of 3 seeds not run`. */
  readonly text: string;
  /** As it stands in a cell of a table behind the score: `(2)`, `1 not run`; empty where another part of the row shows it. */
  readonly word: string;
}

/** The footnote mark of each kind, where cells are too narrow for words; '' for those that stand in the cell in every format. */
export const MARKS: Readonly<Record<CaveatKind, string>> = {
  seeds: '',
  'not run': '\\ddagger',
  failed: '\\ddagger',
  collapsed: '\\dagger',
  protocol: '\\S',
  interval: '',
};

/** What each mark stands for. */
export const MARK_WORDS: Readonly<Record<string, string>> = {
  '\\dagger': 'collapsed, diverged or stopped in a seed at least',
  '\\ddagger': 'not run, or failed, in a seed at least',
  '\\S': 'evaluated under different protocols: not to be compared with the other rows',
};

/** What there is to say of an arm's score in a column. */
export function caveatsOf(o: {
  seeds: readonly SeedScore[];
  /** Whether the arm was evaluated otherwise than the baseline. */
  otherProtocol: boolean;
  /** To the baseline; undefined for the baseline and arms without a score. */
  difference: Difference | undefined;
}): Caveat[] {
  const { seeds, difference } = o;
  const planned = seeds.length;
  const n = seeds.filter(({ value }) => value !== undefined).length;
  const caveats: Caveat[] = [];
  const say = (kind: CaveatKind, text: string, word: string): void => void caveats.push({ kind, text, word });
  const count = (state: string): number => seeds.filter((s) => s.state === state).length;
  if (n > 0 && (n < planned || n === 1)) {
    const one = n === 1 ? ': how far another seed would be off is not known' : '';
    say('seeds', `${n} of ${planned} ${planned === 1 ? 'seed' : 'seeds'}${one}`, `(${n})`);
  }
  if (count('missing') > 0)
    say('not run', `${count('missing')} of ${planned} seeds not run`, `${count('missing')} not run`);
  const partial = seeds.filter((s) => s.value !== undefined && s.lacking > 0).length;
  if (partial > 0)
    say('not run', `probe seeds not run in ${partial} of ${planned} seeds`, 'probe seeds not run');
  if (count('failed') > 0)
    say('failed', `${count('failed')} of ${planned} seeds failed`, `${count('failed')} failed`);
  const ended = new Set(seeds.map(({ state }) => state));
  for (const state of ended) {
    if (['done', 'missing', 'failed', 'n/a'].includes(state)) continue;
    say('collapsed', `${state} in ${count(state)} of ${planned} seeds`, state);
  }
  if (o.otherProtocol)
    say('protocol', "different protocols: not evaluated as the baseline's row was", 'other protocol');
  if (difference && !Number.isFinite(difference.low)) say('interval', noInterval(difference), '');
  return caveats;
}

function noInterval({ spread, images }: Difference): string {
  if (!images) return 'no interval: the variance over test images is not known or 0';
  return spread === 'images only'
    ? 'interval over test images only: it says nothing about another seed'
    : 'no interval';
}

/** A score's caveats as they follow it in a cell: ` (2), collapsed, 1 not run`. */
export function cellWords(caveats: readonly Caveat[]): string {
  const words = caveats.map(({ word }) => word).filter((word) => word !== '');
  const first = words[0]?.startsWith('(') ? ` ${words.shift()}` : '';
  return first + words.map((word) => `, ${word}`).join('');
}

/** The marks of a cell's caveats, each once. */
export const marksOf = (caveats: readonly Caveat[]): string[] => [
  ...new Set(caveats.map(({ kind }) => MARKS[kind]).filter((mark) => mark !== '')),
];
