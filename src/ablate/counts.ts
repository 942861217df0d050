// Per-image counts of an evaluation, from its predictions to the compact form that a cell keeps.

import type { StoredTensor } from '../base/safetensors.js';
import { predictionKey } from '../probes/predictions.js';
import type { HeadCounts } from '../results/counts.js';
import type { EvaluationRecord } from '../results/record.js';

/** Heads that tables are made of come first: the rest is left out where the file would grow too large. */
const ORDER = ['attentive', 'knn', 'logreg', 'linear'];

/** Counts of every head but the oracle, the most wanted first. */
export function headCounts(
  record: EvaluationRecord,
  predictions: ReadonlyMap<string, StoredTensor>,
): HeadCounts[] {
  const found = new Map<string, HeadCounts & { place: number }>();
  for (const { test, source, head } of record.results) {
    const t = record.tests.findIndex((set) => set.source === test);
    const part = (what: string) => predictions.get(predictionKey(t, source, head, what));
    const key = `${t}/${source}/${head}`;
    if (head === 'oracle' || found.has(key)) continue;
    const place = ORDER.includes(head) ? ORDER.indexOf(head) : ORDER.length;
    const [samples, hits, truth] = [part('samples'), part('hits'), part('truth')];
    if (truth) {
      const ignore = [...(predictions.get(`${t}/ignore`)!.data as Int32Array)];
      const pixels = {
        classes: truth.shape[1]!,
        ignore,
        images: sparse(part('hits')!, truth, part('predicted')!),
      };
      found.set(key, { test: t, source, head, pixels, place });
    } else if (samples && hits) {
      const values = [...(hits.data as Float32Array)].map((x) => Number(x.toPrecision(6)));
      found.set(key, {
        test: t,
        source,
        head,
        hits: { samples: [...(samples.data as Int32Array)], hits: values },
        place,
      });
    }
  }
  return [...found.values()].sort((a, b) => a.place - b.place).map(({ place, ...head }) => head);
}

/** [class, hits, truth, predicted] of the classes that an image has in truth or prediction. */
function sparse(hits: StoredTensor, truth: StoredTensor, predicted: StoredTensor): number[][] {
  const [images, classes] = truth.shape as [number, number];
  const [h, t, p] = [hits, truth, predicted].map(({ data }) => data as Uint32Array) as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ];
  return Array.from({ length: images }, (_, image) => {
    const row: number[] = [];
    for (let c = 0; c < classes; c++) {
      const i = image * classes + c;
      if (t[i]! + p[i]! > 0) row.push(c, h[i]!, t[i]!, p[i]!);
    }
    return row;
  });
}
