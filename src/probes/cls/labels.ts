// The class labels of an evaluation's images: names of the classes, and the one label of every training image.
import { DataError } from '../../errors.js';
import { type ImageSource, labelsOf } from '../../images/index.js';
import type { SampleLabels } from '../../scores/classification.js';
import type { EvaluationData } from '../dataset.js';

/** Names of a source's classes. @throws DataError when it has none */
export function classNames(source: ImageSource): string[] {
  if (!source.classes || source.classes.length < 2) {
    const why =
      source.unlabelled ?? (source.classes ? `its only class is ${source.classes[0] ?? 'none'}` : undefined);
    throw new DataError(
      `${source.uri} has no class labels${why === undefined ? '' : ` (${why})`}: classification needs a source with two classes or more`,
    );
  }
  return source.classes;
}

/**
 * Labels of the chosen images: one, or none.
 * @throws DataError where there are no classes or no labels, where images have several, since heads learn one, and where all labels are of one class
 */
export function trainLabels({ source, indices }: EvaluationData): SampleLabels[] {
  const labels = Array.from(indices, (i) => [...labelsOf(source, i)]);
  const several = [...labels.keys()].filter((at) => labels[at]!.length > 1);
  if (several.length > 0) {
    const names = labels[several[0]!]!.map((label) => source.classes?.[label] ?? label).join(', ');
    throw new DataError(
      `${several.length} of ${indices.length} training images have several labels (${source.name(indices[several[0]!]!)}: ${names}), and heads learn one: give each the one label that it is to be learnt with, or none to leave it out; images that are tested on may have several`,
      { images: several.length },
    );
  }
  const classes = new Set(labels.flat());
  if (classes.size === 0) {
    classNames(source);
    throw new DataError(`none of the ${indices.length} training images of ${source.uri} has a label`);
  }
  if (classes.size === 1) {
    throw new DataError(
      `all ${indices.length} training images of ${source.uri} with a label are of one class (${source.classes?.[[...classes][0]!]}): there is nothing to tell apart`,
    );
  }
  return labels;
}
