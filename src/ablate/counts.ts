// Per-image counts of an evaluation, from its predictions to the compact form that a cell keeps.
import { testPlace } from '../probes/check.js';
import { countedIn, type Predictions } from '../probes/predictions.js';
import { isBound } from '../probes/tasks.js';
import type { HeadCounts } from '../results/counts.js';
import type { EvaluationRecord } from '../results/record.js';
import { compactCounts } from '../scores/counted.js';

/** Heads that tables are made of come first: the rest is left out where the file would grow too large. */
const ORDER = ['attentive', 'knn', 'logreg', 'linear'];

/** Counts of every head that is no bound, the most wanted first. */
export function headCounts(record: EvaluationRecord, predictions: Predictions): HeadCounts[] {
  const found = new Map<string, HeadCounts>();
  for (const { test: uri, source, head } of record.results) {
    const test = testPlace(record, uri);
    const key = `${test}/${source}/${head}`;
    if (isBound(record.task, head) || found.has(key)) continue;
    const counted = countedIn(predictions, record.task, test, source, head);
    if (counted) found.set(key, { test, source, head, ...compactCounts(counted) });
  }
  const place = ({ head }: HeadCounts): number => (ORDER.includes(head) ? ORDER.indexOf(head) : ORDER.length);
  return [...found.values()].sort((a, b) => place(a) - place(b));
}
