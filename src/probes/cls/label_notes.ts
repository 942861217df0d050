// What the labels of an evaluation do not cover, said beside its scores.
import { labelsOf } from '../../images/index.js';
import type { EvaluationData } from '../dataset.js';
import type { Sets } from '../task.js';
import { classNames } from './labels.js';

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

/** A line for every class and image that is not learnt or not scored. */
export function labelNotes({ train, tests }: Sets): string[] {
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
