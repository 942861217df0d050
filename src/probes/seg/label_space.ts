// The guard that numbers in the label maps of the training and of the test images mean the same classes.
import { DataError } from '../../errors.js';
import { sameForm } from '../../images/index.js';
import type { EvaluationData } from '../dataset.js';

/**
 * Throws DataError where a test set has other classes, names or ignored labels than the training set: heads say the numbers of the training set's
 * classes, and one set of ignored labels is scored. Names that are the numbers themselves (`classes=N`) fit any.
 */
export function refuseOtherLabels({
  train,
  tests,
}: {
  readonly train: Pick<EvaluationData, 'source'>;
  readonly tests: readonly { name: string; data: Pick<EvaluationData, 'source'> }[];
}): void {
  const { labelMapClasses: learnt, ignoreLabels: ignored = [], uri } = train.source;
  for (const { name, data } of learnt ? tests : []) {
    const { labelMapClasses: own, ignoreLabels: left = [] } = data.source;
    if (!own) continue;
    const refuse = (what: string): never => {
      throw new DataError(
        `the label maps of ${name} are not those of ${uri}: ${what}; give both the same classes, names and ignored labels`,
      );
    };
    if (own.length !== learnt!.length) refuse(`${own.length} classes, not ${learnt!.length}`);
    const known = (at: number): boolean => own[at] !== `${at}` && learnt![at] !== `${at}`;
    const other = own.findIndex((one, at) => known(at) && sameForm(one) !== sameForm(learnt![at]!));
    if (other >= 0) refuse(`label ${other} is '${own[other]}', not '${learnt![other]}'`);
    const text = (labels: readonly number[]): string =>
      [...labels].sort((a, b) => a - b).join(', ') || 'nothing';
    if (text(left) !== text(ignored)) refuse(`${text(left)} is ignored, not ${text(ignored)}`);
  }
}
