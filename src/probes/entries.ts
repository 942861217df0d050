// From what heads said to a record's entries: scores with intervals, grids, scores by class, and the predictions that stand behind them.

import type { StoredTensor } from '../base/safetensors.js';
import type { Result } from '../results/record.js';
import { meanInterval } from '../scores/paired_accuracy.js';
import type { HeadOutcome, TestData } from './cls/classify.js';
import { predictionKey } from './predictions.js';

/** The parts of a record that heads fill. */
export interface Entries {
  readonly results: Omit<Result, 'task'>[];
  readonly grid: Record<string, unknown>[];
  readonly classes: string[];
  readonly perClass: Record<string, unknown>[];
  readonly predictions: Map<string, StoredTensor>;
  readonly notes: string[];
  /** Segmentation: for each test set, the share of its pixels that no score counts. */
  readonly notCounted?: number[];
}

/** Seed of every bootstrap; the resamples of a set of n images are then the same for all encoders. */
export const BOOTSTRAP_SEED = 0;

/** JSON has no NaN. */
export const finite = (x: number): number | null => (Number.isFinite(x) ? x : null);

/** Numbers of an object without NaN. */
export const jsonPoint = (point: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(point).map(([k, v]) => [k, typeof v === 'number' ? finite(v) : v]));

/** Entries of classification heads: top-1 where any label counts. */
export function classificationEntries(
  outcomes: readonly HeadOutcome[],
  tests: readonly TestData[],
  classes: string[],
): Entries {
  const entries: Entries = {
    results: [],
    grid: [],
    classes,
    perClass: [],
    predictions: new Map(),
    notes: [],
  };
  for (const { source, head, selected, grid, note, weights, tests: scored } of outcomes) {
    if (note && !entries.notes.includes(note)) entries.notes.push(note);
    for (const point of grid) entries.grid.push({ source, head, ...jsonPoint(point) });
    for (const [name, { shape, data }] of Object.entries(weights ?? {})) {
      entries.predictions.set(['weights', source, head, name].join('/'), { dtype: 'F32', shape, data });
    }
    for (const [t, { samples, hits, predicted, perClass }] of scored.entries()) {
      const test = tests[t]!.data.source.uri;
      const { value, low, high } = meanInterval(hits, { seed: BOOTSTRAP_SEED });
      entries.results.push({
        test,
        source,
        head,
        metric: 'top1',
        convention: 'any label',
        value: finite(value),
        interval: { low: finite(low), high: finite(high) },
        n: samples.length,
        selected,
      });
      const put = (what: string, tensor: StoredTensor) =>
        entries.predictions.set(predictionKey(t, source, head, what), tensor);
      put('samples', { dtype: 'I32', shape: [samples.length], data: samples });
      put('hits', { dtype: 'F32', shape: [hits.length], data: Float32Array.from(hits) });
      if (predicted) put('predicted', { dtype: 'I32', shape: [predicted.length], data: predicted });
      for (const [c, accuracy] of perClass?.entries() ?? []) {
        entries.perClass.push({ test, source, head, class: classes[c]!, accuracy: finite(accuracy) });
      }
    }
  }
  return entries;
}
