// From what classification heads said to a record's entries: top-1 where any label counts, and accuracy by class.
import { addGrid, addScores, type Entries, finite, noEntries } from '../entries.js';
import { predictionKey } from '../predictions.js';
import type { TestData } from '../task.js';
import type { HeadOutcome } from './classify.js';

/** Entries of all heads; `classes` are those of the training images. */
export function classificationEntries(
  outcomes: readonly HeadOutcome[],
  tests: readonly TestData[],
  classes: string[],
): Entries {
  const entries = noEntries(classes);
  for (const outcome of outcomes) {
    const { source, head, grid, note, weights, tests: scored } = outcome;
    if (note && !entries.notes.includes(note)) entries.notes.push(note);
    addGrid(entries, outcome, grid);
    for (const [name, { shape, data }] of Object.entries(weights ?? {})) {
      entries.predictions.set(['weights', source, head, name].join('/'), { dtype: 'F32', shape, data });
    }
    for (const [place, { samples, hits, predicted, perClass }] of scored.entries()) {
      const test = tests[place]!.data.source.uri;
      const counted = { samples, values: { top1: hits } };
      const top1 = { metric: 'top1', convention: 'any label' };
      addScores(entries, 'cls', outcome, { place, test }, counted, [top1]);
      if (predicted) {
        const tensor = { dtype: 'I32', shape: [predicted.length], data: predicted } as const;
        entries.predictions.set(predictionKey(place, source, head, 'predicted'), tensor);
      }
      for (const [c, accuracy] of perClass?.entries() ?? []) {
        const of = { test, source, head, class: classes[c]! };
        entries.perClass.push({ ...of, accuracy: finite(accuracy) });
      }
    }
  }
  return entries;
}
