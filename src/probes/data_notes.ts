// What is said of an evaluation's data beside its scores: what was passed over, and what the labels do not cover.
import { labelsOf, sourceNotes } from '../images/index.js';
import { classNames } from './cls/labels.js';
import type { EvaluationData } from './dataset.js';
import type { EvaluateOptions, Sets } from './evaluate.js';
import { type FoundOverlap, overlapNotes } from './overlap_notes.js';

/** What is said of the data beside every score, and what each test set shares with the training set. */
export interface Remarks {
  readonly notes: string[];
  readonly overlaps: readonly FoundOverlap[];
}

/** Looks at the data once for all encoders, and says what it finds. @throws DataError for an overlap that is not allowed */
export async function remark(o: EvaluateOptions, sets: Sets): Promise<Remarks> {
  const { notes: warnings, found } = await overlapNotes(sets, o.allowOverlap ?? false);
  const others = dataNotes(o.task, sets);
  for (const note of warnings) o.watch?.onMessage?.(`warning: ${note}`);
  for (const note of others) o.watch?.onMessage?.(`note: ${note}`);
  return { notes: [...warnings, ...others], overlaps: found };
}

interface NotedSets {
  readonly train: EvaluationData;
  readonly tests: readonly { name: string; data: EvaluationData }[];
}

/** A line for everything that folders hold and nobody reads, and for every odd thing about the labels. */
export function dataNotes(task: 'cls' | 'seg', { train, tests }: NotedSets): string[] {
  const notes: string[] = [];
  const add = (note: string): void => {
    if (!notes.includes(note)) notes.push(note);
  };
  for (const { source } of [train, ...tests.map(({ data }) => data)]) {
    for (const line of sourceNotes(source)) add(line);
  }
  const rangeOf = ({ source }: EvaluationData): string =>
    source.settings?.range === undefined ? 'all of their kind' : `${source.settings.range}`;
  for (const { name, data } of tests) {
    if (rangeOf(data) === rangeOf(train)) continue;
    add(
      `values from black to white are ${rangeOf(data)} in ${name}, but ${rangeOf(train)} in the training images (range=): brightness differs between them`,
    );
  }
  if (task === 'cls') for (const line of labelNotes({ train, tests })) add(line);
  return notes;
}

/** `2 of 10 (a, b)`, with the first names. */
const some = (names: readonly string[], of: number): string =>
  `${names.length} of ${of} classes (${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''})`;

/** Images with a label, of each of these classes by name, and without one. */
function count({ source, indices }: EvaluationData): { byClass: Map<string, number>; without: number } {
  const names = classNames(source);
  const byClass = new Map(names.map((name) => [name, 0]));
  let without = 0;
  for (const i of indices) {
    const labels = labelsOf(source, i);
    if (labels.length === 0) without++;
    for (const label of labels) byClass.set(names[label]!, byClass.get(names[label]!)! + 1);
  }
  return { byClass, without };
}

function labelNotes({ train, tests }: NotedSets): string[] {
  const classes = classNames(train.source);
  const notes: string[] = [];
  const learnt = count(train);
  const unlearnt = classes.filter((name) => !learnt.byClass.get(name));
  if (learnt.without > 0) {
    notes.push(`${learnt.without} of ${train.indices.length} training images have no label and are left out`);
  }
  if (unlearnt.length > 0) notes.push(`no training images of ${some(unlearnt, classes.length)}`);
  for (const { name, data } of tests) {
    const { byClass, without } = count(data);
    const lacking = classes.filter((one) => !byClass.get(one));
    if (data.source.amongOwn) {
      const own = classNames(data.source).length;
      notes.push(
        `predictions of ${name} go among its own ${own} of ${classes.length} classes alone (classes=own)`,
      );
    }
    if (without > 0) {
      notes.push(`${without} of ${data.indices.length} images of ${name} have no label and are not counted`);
    }
    if (classes.length - lacking.length === 1) {
      notes.push(
        `all counted images of ${name} are of one class (${classes.find((one) => byClass.get(one))}): a head that always says so scores 100 %`,
      );
    } else if (lacking.length > 0) {
      notes.push(`${name} has no images of ${some(lacking, classes.length)} that were learnt`);
    }
  }
  return notes;
}
