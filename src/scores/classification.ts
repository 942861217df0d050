// Image classification scores: top-1 where a hit on any of a sample's labels counts, per class, and within a subset of classes.
import { DataError } from '../errors.js';

/** Labels of a sample: a class id, or several; a negative id or an empty list is no label. */
export type SampleLabels = number | readonly number[];

/** Top-1 hits of the samples that have a label. */
export interface ClassificationScore {
  /** Share of hits among the samples counted, in [0, 1]; NaN without any. */
  readonly accuracy: number;
  /** Samples counted, ascending: those with at least one label. */
  readonly samples: Int32Array;
  /** [samples.length]: 1 where the predicted class is one of the sample's labels. What a bootstrap over images draws from. */
  readonly hits: Uint8Array;
}

const listOf = (labels: SampleLabels): readonly number[] =>
  typeof labels === 'number' ? (labels < 0 ? [] : [labels]) : labels;

/**
 * Top-1 accuracy as the official evaluation has it: a sample with several labels is right when any of them is predicted, one
 * without is dropped. Predictions may be longer than labels (padding at the end is left out).
 * @throws RangeError when there are fewer predictions than samples
 */
export function topOne(predicted: ArrayLike<number>, labels: ArrayLike<SampleLabels>): ClassificationScore {
  if (predicted.length < labels.length) {
    throw new RangeError(`${predicted.length} predictions do not fit ${labels.length} samples`);
  }
  const samples: number[] = [];
  const hits: number[] = [];
  for (let i = 0; i < labels.length; i++) {
    const own = listOf(labels[i]!);
    if (own.length === 0) continue;
    samples.push(i);
    hits.push(own.includes(predicted[i]!) ? 1 : 0);
  }
  const right = hits.reduce((a, b) => a + b, 0);
  return { accuracy: right / hits.length, samples: Int32Array.from(samples), hits: Uint8Array.from(hits) };
}

/** Accuracy of every class: [classes] shares, NaN for a class without samples, and how many samples each has. */
export interface ClassAccuracy {
  readonly accuracy: Float64Array;
  readonly samples: Uint32Array;
}

/**
 * Top-1 accuracy by class. A sample counts towards each of its labels, and is right for all of them when any is predicted.
 * @throws DataError for a label that is no class
 */
export function classAccuracy(
  predicted: ArrayLike<number>,
  labels: ArrayLike<SampleLabels>,
  classes: number,
): ClassAccuracy {
  const right = new Float64Array(classes);
  const samples = new Uint32Array(classes);
  const { samples: counted, hits } = topOne(predicted, labels);
  for (let s = 0; s < counted.length; s++) {
    for (const label of new Set(listOf(labels[counted[s]!]!))) {
      if (!(Number.isInteger(label) && label < classes && label >= 0)) {
        throw new DataError(
          `label ${label} of sample ${counted[s]} is not one of ${classes} classes (0 to ${classes - 1})`,
        );
      }
      samples[label]!++;
      right[label]! += hits[s]!;
    }
  }
  return { accuracy: right.map((hit, c) => hit / samples[c]!), samples };
}

/**
 * The class of the largest of each row of logits [rows, classes], among `subset` if given (a test set that shows only some of the classes);
 * of equal ones the smallest id. A row that is all NaN gives -1.
 * @throws DataError for a subset that names no class or one that does not exist
 */
export function largestClass(
  logits: ArrayLike<number>,
  classes: number,
  subset?: Iterable<number>,
): Int32Array {
  const candidates = subset === undefined ? [...Array(classes).keys()] : [...new Set(subset)];
  candidates.sort((a, b) => a - b);
  const wrong = candidates.find((c) => !(Number.isInteger(c) && c >= 0 && c < classes));
  if (wrong !== undefined) {
    throw new DataError(
      `class ${wrong} of the subset is not one of ${classes} classes (0 to ${classes - 1})`,
    );
  }
  if (candidates.length === 0) throw new DataError('the subset of classes is empty');
  const out = new Int32Array(logits.length / classes).fill(-1);
  for (let row = 0; row < out.length; row++) {
    let best = Number.NEGATIVE_INFINITY;
    for (const c of candidates) {
      const value = logits[row * classes + c]!;
      if (value > best || (out[row] === -1 && value === best)) {
        best = value;
        out[row] = c;
      }
    }
  }
  return out;
}
