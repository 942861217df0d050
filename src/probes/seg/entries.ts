// From what segmentation heads said to a record's entries, and the paired differences of two records.

import type { StoredTensor } from '../../base/safetensors.js';
import { DataError } from '../../errors.js';
import type { ImageSource } from '../../images/index.js';
import type { Result } from '../../results/record.js';
import { classCounts, classIou, type ImageCounts } from '../../scores/confusion.js';
import {
  compareSegmentations,
  type PairedComparison,
  SEGMENTATION_METRICS,
  type SegmentationMetric,
  segmentationIntervals,
} from '../../scores/intervals.js';
import type { TestData } from '../cls/classify.js';
import { BOOTSTRAP_SEED, type Entries, finite, jsonPoint } from '../entries.js';
import { predictionKey } from '../predictions.js';
import type { TestCounts } from './patch_set.js';
import { mapClasses, type SegmentOutcomes } from './segment.js';

/** Name of what labels a patch at a time can reach at most, among the heads. */
export const ORACLE = 'oracle';

/** The name and convention of a score. */
const metricName = (metric: SegmentationMetric): Pick<Result, 'metric' | 'convention'> =>
  metric === 'accuracy' ? { metric: 'accuracy', convention: '-' } : { metric: 'miou', convention: metric };

/**
 * Entries of segmentation heads, under every convention, and of the oracle; `pixels` is how many an image has.
 * @throws DataError for a test set of which no pixel counts
 */
export function segmentationEntries(
  { heads, oracle, learnt }: SegmentOutcomes,
  tests: readonly TestData[],
  source: ImageSource,
  pixels: number,
): Entries {
  const classes = mapClasses(source);
  const ignore = [...(source.ignoreLabels ?? [])];
  const names = source.labelMapClasses ?? Array.from({ length: classes }, (_, id) => `${id}`);
  const entries: Entries = {
    results: [],
    grid: [],
    classes: names,
    perClass: [],
    predictions: new Map(),
    notes: [],
    notCounted: [],
  };
  for (const { name } of tests) {
    const { notes, share } = countedNotes(oracle[name]!.counts, {
      name,
      pixels,
      classes: names,
      ignore,
      learnt,
    });
    entries.notes.push(...notes);
    entries.notCounted!.push(share);
  }
  const all = [...heads, { head: ORACLE, selected: null, grid: [], notes: [], refit: false, tests: oracle }];
  for (const { head, selected, grid, notes, tests: scored } of all) {
    const patches = head === ORACLE ? 'labels' : 'patches';
    entries.notes.push(...notes);
    for (const point of grid) entries.grid.push({ source: patches, head, ...jsonPoint(point) });
    for (const [t, { name, data }] of tests.entries()) {
      const { counts, confusion } = scored[name]!;
      const scores = segmentationIntervals(counts, { classes, ignore }, { seed: BOOTSTRAP_SEED });
      const test = data.source.uri;
      for (const metric of SEGMENTATION_METRICS) {
        const { value, low, high } = scores[metric];
        entries.results.push({
          test,
          source: patches,
          head,
          ...metricName(metric),
          value: finite(value),
          interval: { low: finite(low), high: finite(high) },
          n: counts.images,
          selected: selected as Result['selected'],
        });
      }
      for (const [c, iou] of classIou(classCounts(confusion)).entries()) {
        if (c < classes && !ignore.includes(c)) {
          entries.perClass.push({ test, source: patches, head, class: names[c]!, iou: finite(iou) });
        }
      }
      store(entries.predictions, t, patches, head, scored[name]!);
      entries.predictions.set(`${t}/ignore`, {
        dtype: 'I32',
        shape: [ignore.length],
        data: Int32Array.from(ignore),
      });
    }
  }
  return entries;
}

/** Which share of a test set's pixels no score counts, and what is said of the classes that the others are of. */
function countedNotes(
  counts: ImageCounts,
  set: {
    name: string;
    pixels: number;
    classes: readonly string[];
    ignore: readonly number[];
    learnt: Float64Array;
  },
): { notes: string[]; share: number } {
  const { name, pixels, classes, ignore, learnt } = set;
  const byClass = new Float64Array(counts.classes);
  counts.truth.forEach((n, at) => {
    byClass[at % counts.classes]! += n;
  });
  const counted = byClass.reduce((sum, n) => sum + n, 0);
  const share = 1 - counted / (counts.images * pixels);
  if (counted === 0) {
    throw new DataError(
      `no pixel of ${name} counts: all labels of its ${counts.images} maps are ignored (${ignore.join(', ')})`,
    );
  }
  const notes: string[] = [];
  if (share > 0) {
    notes.push(
      `${(100 * share).toFixed(1)} % of the pixels of ${name} count for no score: ignored are ${ignore.join(', ')}`,
    );
  }
  const scored = classes.map((_, c) => c).filter((c) => !ignore.includes(c));
  const there = scored.filter((c) => byClass[c]! > 0);
  const strange = there.filter((c) => learnt[c] === 0).map((c) => classes[c]!);
  if (strange.length > 0) {
    notes.push(
      `no training image has pixels of ${strange.length} of the ${there.length} classes of ${name} (${strange.slice(0, 3).join(', ')}${strange.length > 3 ? ', …' : ''}): no head can say them`,
    );
  }
  const lacking = scored.filter((c) => byClass[c] === 0).map((c) => classes[c]!);
  if (there.length === 1) {
    notes.push(
      `all counted pixels of ${name} are of one class (${classes[there[0]!]}): a head that always says so scores 100 %`,
    );
  } else if (lacking.length > 0) {
    notes.push(
      `${name} has no pixels of ${lacking.length} of ${scored.length} classes (${lacking.slice(0, 3).join(', ')}${lacking.length > 3 ? ', …' : ''})`,
    );
  }
  return { notes, share };
}

function store(
  into: Map<string, StoredTensor>,
  test: number,
  source: string,
  head: string,
  { counts, confusion }: TestCounts,
): void {
  const put = (what: string, tensor: StoredTensor) =>
    into.set(predictionKey(test, source, head, what), tensor);
  for (const what of ['hits', 'truth', 'predicted'] as const) {
    put(what, { dtype: 'U32', shape: [counts.images, counts.classes], data: counts[what] });
  }
  const side = confusion.classes;
  put('confusion', { dtype: 'F64', shape: [side, side], data: confusion.counts });
}

type Predictions = ReadonlyMap<string, StoredTensor>;

/**
 * Every score of one head of two records, paired over the images of a test set: at place `i` of record a's tests and `j` of b's.
 * Throws RangeError when the images are not the same.
 */
export function pairedSegmentation(
  a: Predictions,
  b: Predictions,
  at: { source: string; head: string; i: number; j: number; classes: number },
): Record<SegmentationMetric, PairedComparison> {
  const { source, head, classes } = at;
  const counts = (from: Predictions, test: number): ImageCounts => {
    const part = (what: string) => from.get(predictionKey(test, source, head, what))!;
    const [images, columns] = part('truth').shape as [number, number];
    const values = (what: string) => part(what).data as Uint32Array;
    return {
      images,
      classes: columns,
      hits: values('hits'),
      truth: values('truth'),
      predicted: values('predicted'),
    };
  };
  const ignore = [...(a.get(`${at.i}/ignore`)!.data as Int32Array)];
  return compareSegmentations(
    counts(a, at.i),
    counts(b, at.j),
    { classes, ignore },
    { seed: BOOTSTRAP_SEED },
  );
}

/** The metric that a result is of. */
export const metricOf = ({
  metric,
  convention,
}: Pick<Result, 'metric' | 'convention'>): SegmentationMetric =>
  metric === 'accuracy' ? 'accuracy' : (convention as SegmentationMetric);
