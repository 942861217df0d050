// The class labels of an evaluation's images: names of the classes, and the one label of every training image.
import { DataError } from '../../errors.js';
import { type ImageSource, labelsOf } from '../../images/index.js';
import type { SampleLabels } from '../../scores/classification.js';
import type { EvaluationData } from '../dataset.js';

/** Names of a source's classes. @throws DataError when it has none */
export function classNames(source: ImageSource): string[] {
  const { uri, classes, unlabelled } = source;
  if (!classes || classes.length < 2) {
    const why =
      unlabelled === undefined && classes
        ? `has labels of one class (${classes[0] ?? 'none'}) alone`
        : `has no class labels${unlabelled === undefined ? '' : ` (${unlabelled})`}`;
    throw new DataError(`${uri} ${why}: classification needs a source with two classes or more`);
  }
  return classes;
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
