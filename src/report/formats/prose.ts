// The sentences of a report: what was run, how to read the numbers, and what the orderings say.
import type { Report } from '../ablation/tables.js';

/** Title of a report. */
export const titleOf = ({ study }: Report): string => study.plan.title ?? `Ablation ${study.plan.name}`;

/** At what scale the numbers were made. */
export function scaleSentence({ study }: Report): string {
  const { scale, seeds, probe_seeds, arms, base, threads } = study.plan;
  const images = (scale.steps * scale.batch).toLocaleString('en-US');
  return (
    `${arms.length} arms around the preset ${base}: width ${scale.width}, ${scale.depth} encoder blocks, ${scale.steps.toLocaleString('en-US')} steps of ` +
    `${scale.batch} images (${images} images) of ${scale.data}, ${count(seeds.length, 'pretraining seed')}, ${count(probe_seeds.length, 'probe seed')}, ${count(threads, 'thread')} a run.`
  );
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

/** How to read the tables. */
export function readingSentences({ study, headline }: Report): string[] {
  const arms = study.plan.arms.length - 1;
  const numbers = headline.flatMap(({ column }) => (column.unit === 'number' ? [column.label] : []));
  const one = headline.some(({ entries }) =>
    entries.some(({ difference }) => difference?.spread === 'images only' && difference.images),
  );
  const single = headline.some(({ entries }) =>
    entries.some(({ difference, n }) => n === 1 && difference?.spread === 'pooled'),
  );
  return [
    `Scores in per cent${numbers.length > 0 ? ` (${numbers.join(', ')} as they are)` : ''}: mean ± standard deviation over pretraining seeds (number of seeds in brackets where it is not that of the study). The baseline is marked; the best of a column as printed is bold, and so is every tie with it.`,
    `Differences are to the baseline, with 95 % intervals that count both seeds and test images (difference ± t SE; seeds' variance pooled over the arms, an arm's own where an F test sets it apart; test images by a paired bootstrap), and two-sided p values after Holm over the ${arms === 1 ? 'one arm' : `${arms} arms`} beside the baseline.`,
    ...(single ? ['An arm with one seed is taken to vary with the seed as the others do.'] : []),
    ...(one
      ? [
          'Where the spread over seeds is not known there is no interval and no p value; what stands in brackets is an interval over test images only: it says nothing about another seed.',
        ]
      : []),
  ];
}

/** How our ordering and the paper's agree, pair by pair with the baseline. */
export function paperSentences({ study, headline }: Report): string[] {
  const { plan } = study;
  const sentences: string[] = [];
  for (const { column, entries, agreement } of headline) {
    if (!agreement) continue;
    const base = entries[plan.baseline]!;
    const lists = { holds: [] as string[], not: [] as string[], open: [] as string[] };
    for (const [arm, e] of entries.entries()) {
      if (arm === plan.baseline || !e.difference || e.paper === undefined || base.paper === undefined)
        continue;
      const same = Math.sign(e.difference.value) === Math.sign(e.paper - base.paper);
      lists[e.difference.adjusted < 0.05 ? (same ? 'holds' : 'not') : 'open'].push(plan.arms[arm]!.name);
    }
    const list = (names: string[]): string => (names.length > 0 ? names.join(', ') : 'none');
    const rank = (r: number): string => (Number.isFinite(r) ? r.toFixed(2) : 'not defined');
    sentences.push(
      `${column.label}: over ${agreement.arms} arms the rank correlation of our means with the paper's is ${rank(agreement.spearman)} (Spearman), ${rank(agreement.kendall)} (Kendall). ` +
        `The paper's order of arm and baseline holds, with p < 0.05 after Holm, for ${list(lists.holds)}; is reversed for ${list(lists.not)}; is undecided for ${list(lists.open)}.`,
    );
  }
  return sentences;
}
