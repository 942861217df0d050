// The parts of a record that heads fill: scores with intervals, grid points, and the tensors that stand behind every score.
import type { StoredTensor } from '../base/safetensors.js';
import type { Result } from '../results/record.js';
import { type Counted, countOf, intervalsOf, scoreOf } from '../scores/counted.js';
import { predictionKey, storedValues } from './predictions.js';
import type { TaskName } from './tasks.js';

export interface Entries {
  readonly results: Result[];
  readonly grid: Record<string, unknown>[];
  readonly classes: string[];
  readonly perClass: Record<string, unknown>[];
  readonly predictions: Map<string, StoredTensor>;
  readonly notes: string[];
  /** For each test set, the share of its pixels that no score counts, where pixels are scored. */
  readonly notCounted?: number[];
}

/** Entries to be filled. */
export const noEntries = (classes: string[]): Entries => ({
  results: [],
  grid: [],
  classes,
  perClass: [],
  predictions: new Map(),
  notes: [],
});

/** One head on one feature source, and how it was chosen. */
export interface Head {
  readonly source: string;
  readonly head: string;
  readonly selected: Result['selected'];
}

/** Adds the grid points of a head with their validation scores. */
export function addGrid(entries: Entries, { source, head }: Head, grid: readonly object[]): void {
  for (const point of grid) {
    const values = Object.entries(point).map(([k, v]) => [k, typeof v === 'number' ? finite(v) : v]);
    entries.grid.push({ source, head, ...Object.fromEntries(values) });
  }
}

/** Adds the scores of a head on the `place`-th test set, `test`, in the order of `scores`, and what they are counted from. */
export function addScores(
  entries: Entries,
  task: TaskName,
  { source, head, selected }: Head,
  { place, test }: { readonly place: number; readonly test: string },
  counted: Counted,
  scores: readonly Pick<Result, 'metric' | 'convention'>[],
): void {
  const classes = entries.classes.length;
  const interval = intervalsOf(counted, classes);
  for (const { metric, convention } of scores) {
    const kind = { task, metric, convention };
    const { low, high } = interval(kind)!;
    entries.results.push({
      task,
      test,
      source,
      head,
      metric,
      convention,
      value: finite(scoreOf(kind, counted, classes)!),
      interval: { low: finite(low), high: finite(high) },
      n: countOf({ metric, convention }, counted),
      selected,
    });
  }
  for (const [what, tensor] of Object.entries(storedValues(counted)))
    entries.predictions.set(predictionKey(place, source, head, what), tensor);
  if ('pixels' in counted)
    entries.predictions.set(`${place}/ignore`, {
      dtype: 'I32',
      shape: [counted.ignore.length],
      data: Int32Array.from(counted.ignore),
    });
}

/** JSON has no NaN. */
export const finite = (x: number): number | null => (Number.isFinite(x) ? x : null);
