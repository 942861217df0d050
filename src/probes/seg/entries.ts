// From what segmentation heads said to a record's entries: every convention of mIoU, IoU by class, and what no score counts.
import { DataError } from '../../errors.js';
import type { ImageSource } from '../../images/index.js';
import type { Result } from '../../results/record.js';
import { classCounts, classIou, type ImageCounts } from '../../scores/confusion.js';
import { CONVENTIONS } from '../../scores/conventions.js';
import { addGrid, addScores, type Entries, finite, noEntries } from '../entries.js';
import { predictionKey } from '../predictions.js';
import type { TestData } from '../task.js';
import { mapClasses, type SegmentOutcomes } from './segment.js';

const SCORES = [
  ...CONVENTIONS.map((convention) => ({ metric: 'miou', convention })),
  { metric: 'accuracy', convention: '-' },
];

/**
 * Entries of segmentation heads, under every convention, and of the oracle: what labels a patch at a time can reach at most. Label maps are of `size`.
 * @throws DataError for a test set of which no pixel counts
 */
export function segmentationEntries(
  { heads, oracle, learnt }: SegmentOutcomes,
  tests: readonly TestData[],
  source: ImageSource,
  size: { readonly height: number; readonly width: number },
): Entries {
  const classes = mapClasses(source);
  const ignore = [...(source.ignoreLabels ?? [])];
  const names = source.labelMapClasses ?? Array.from({ length: classes }, (_, id) => `${id}`);
  const notCounted: number[] = [];
  const entries: Entries = { ...noEntries(names), notCounted };
  for (const { name } of tests) {
    const set = { name, pixels: size.height * size.width, classes: names, ignore, learnt };
    const { notes, share } = countedNotes(oracle[name]!.counts, set);
    entries.notes.push(...notes);
    notCounted.push(share);
  }
  const bound = { head: 'oracle', selected: null, grid: [], notes: [], tests: oracle };
  for (const { head, selected, grid, notes, tests: scored } of [...heads, bound]) {
    const of = {
      head,
      source: head === bound.head ? 'labels' : 'patches',
      selected: selected as Result['selected'],
    };
    entries.notes.push(...notes);
    addGrid(entries, of, grid);
    for (const [place, { name, data }] of tests.entries()) {
      const test = data.source.uri;
      const { counts: pixels, confusion } = scored[name]!;
      addScores(entries, 'seg', of, { place, test }, { pixels, ignore }, SCORES);
      for (const [c, iou] of classIou(classCounts(confusion)).entries()) {
        if (c >= classes || ignore.includes(c)) continue;
        entries.perClass.push({ test, source: of.source, head, class: names[c]!, iou: finite(iou) });
      }
      const { classes: side, counts: cells } = confusion;
      const tensor = { dtype: 'F64', shape: [side, side], data: cells } as const;
      entries.predictions.set(predictionKey(place, of.source, head, 'confusion'), tensor);
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
