// The scores of an ablation by column, arm and seed, and how each arm's seeds ended.
import type { Metric } from '../../probes/about.js';
import { HEADLINE_COUNT, headlinePlace, metricOf, sameScore, TASKS } from '../../probes/tasks.js';
import type { RunSummary } from '../../results/cell.js';
import type { Result } from '../../results/record.js';
import { mean } from '../statistics/differences.js';
import type { Study, StudyCell } from './study.js';

/** One kind of score: a column of a table. */
export interface Column {
  /** `seg.knn`, or with metric, source and convention where that is not the headline of its head. */
  readonly key: string;
  /** As a head of a table. */
  readonly label: string;
  readonly evaluation: string;
  readonly test: string;
  readonly source: string;
  readonly head: string;
  readonly metric: string;
  readonly convention: string;
  readonly unit: Metric['unit'];
  readonly better: Metric['better'];
  /** Made of a source that every arm has, and the paper's own kind of score. */
  readonly headline: boolean;
}

/** Whether a result stands in a column. */
export const samePlace = (c: Column, r: Result): boolean => c.test === r.test && sameScore(c, r);

/** All columns of the records, headlines first, otherwise as they come. */
export function columnsOf({ cells, plan }: Study): Column[] {
  const found = new Map<string, Column & { place: number }>();
  for (const { record, evaluation } of cells) {
    for (const r of record?.results ?? []) {
      const { test, source, head, metric, convention } = r;
      const { heads, usual, headlines } = TASKS[r.task];
      const place = headlinePlace(r.task, r);
      const headline = place >= 0;
      // The first headline of a head has its name for its own; others say their metric, and scores that are none say all.
      const first = headlines.find(
        (one) => one.head === head && record!.results.some((s) => sameScore(one, s)),
      );
      const short = headline && first?.source === source && first.convention === convention;
      const several = (record?.tests.length ?? 0) > 1 ? test : undefined;
      const words = [evaluation, head];
      if (!short) words.push(source, metric, ...(convention === '-' ? [] : [convention]));
      else if (first.metric !== metric) words.push(metric);
      if (several) words.push(several);
      const key = words.join('.');
      if (found.has(key)) continue;
      const { title, unit, better } = metricOf(r.task, metric);
      const counting = ['-', ...usual].includes(convention) ? '' : `, ${convention}`;
      const detail = short ? '' : `, ${source}${counting}`;
      const label = `${evaluation} ${heads[head] ?? head} ${title}${detail}${several ? ` (${several})` : ''}`;
      found.set(key, {
        ...{ key, label, evaluation, test, source, head, metric, convention, unit, better, headline },
        place: headline ? place : HEADLINE_COUNT,
      });
    }
  }
  const order = plan.evaluations.map(({ name }) => name);
  return [...found.values()]
    .sort((a, b) => a.place - b.place || order.indexOf(a.evaluation) - order.indexOf(b.evaluation))
    .map(({ place, ...column }) => column);
}

/** One pretraining seed of an arm in one column. */
export interface SeedScore {
  readonly seed: number;
  /** Mean over the probe seeds; undefined where there is none. */
  readonly value: number | undefined;
  readonly state: RunSummary['state'] | 'failed' | 'stopped' | 'missing' | 'n/a';
  readonly reason: string | null;
  /** Cells (probe seeds) without a record. */
  readonly lacking: number;
  readonly cells: readonly StudyCell[];
}

/** How the seeds of an arm stand in a column. */
export function seedScores(study: Study, arm: number, column: Column): SeedScore[] {
  return study.plan.seeds.map((seed): SeedScore => {
    const cells = study.cells.filter(
      (c) => c.arm === arm && c.seed === seed && c.evaluation === column.evaluation,
    );
    const values = cells.flatMap(({ record }) => {
      const value = record?.results.find((r) => samePlace(column, r))?.value;
      return typeof value === 'number' ? [value] : [];
    });
    const records = cells.flatMap(({ record }) => (record ? [record] : []));
    const ended = records[0]?.run;
    const failure = cells.find(({ failure }) => failure)?.failure;
    const lacking = cells.length - records.length;
    const base = { seed, cells, lacking, value: values.length > 0 ? mean(values) : undefined };
    if (ended && ended.state !== 'done') return { ...base, state: ended.state, reason: ended.reason };
    if (values.length > 0) return { ...base, state: 'done', reason: null };
    if (failure) return { ...base, state: 'failed', reason: failure };
    const stopped = records.length === 0 ? cells.find(({ stopped }) => stopped)?.stopped : undefined;
    if (stopped) return { ...base, state: 'stopped', reason: stopped };
    return { ...base, state: records.length > 0 ? 'n/a' : 'missing', reason: null };
  });
}
