// What is said of an evaluation's data beside its scores: what was passed over, and what the labels do not cover.
import { sourceNotes } from '../images/index.js';
import type { EvaluationData } from './dataset.js';
import { type FoundOverlap, overlapNotes } from './overlap_notes.js';
import { allSets } from './sets.js';
import type { ProbeTask, Sets, TaskSettings } from './task.js';

/** What is said of the data beside every score, and what each test set shares with the training set. */
export interface Remarks {
  readonly notes: string[];
  readonly overlaps: readonly FoundOverlap[];
}

/** Looks at the data once for all encoders, and says what it finds. @throws DataError for an overlap that is not allowed */
export async function remark(
  allowOverlap: boolean,
  onMessage: (text: string) => void,
  task: Pick<ProbeTask<TaskSettings>, 'notes' | 'overlap'>,
  sets: Sets,
): Promise<Remarks> {
  const { notes: warnings, found } = await overlapNotes(sets, allowOverlap, task.overlap);
  const others = dataNotes(task, sets);
  for (const note of warnings) onMessage(`warning: ${note}`);
  for (const note of others) onMessage(`note: ${note}`);
  return { notes: [...warnings, ...others], overlaps: found };
}

/** A line for everything that folders hold and nobody reads, and for every odd thing about the labels. */
export function dataNotes(task: Pick<ProbeTask<TaskSettings>, 'notes'>, sets: Sets): string[] {
  const { train, tests } = sets;
  const notes: string[] = [];
  const add = (note: string): void => {
    if (!notes.includes(note)) notes.push(note);
  };
  for (const { source } of allSets(sets)) {
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
  for (const line of task.notes?.(sets) ?? []) add(line);
  return notes;
}
