// Semantic segmentation as a probe task: a label a pixel, k-NN, logistic and linear heads on patches, under four conventions of mIoU.

import { DataError } from '../../errors.js';
import { comparePalettes } from '../../images/index.js';
import { allSets } from '../sets.js';
import { splitImages } from '../split.js';
import type { CostRequest, ProbeTask } from '../task.js';
import { segmentationEntries } from './entries.js';
import { refuseOtherLabels } from './label_space.js';
import { type SegmentationProtocol, segmentationProtocolSchema } from './protocol.js';
import { mapClasses, segmentEncoder } from './segment.js';

/** Evaluations of the loss that one C takes, about. */
const LOGISTIC_EVALUATIONS = 150;

export const task: ProbeTask<SegmentationProtocol> = {
  settings: segmentationProtocolSchema,
  maps: 'labels',
  checkSource({ uri, labelMap }) {
    if (!labelMap) throw new DataError(`${uri} has no label maps: segmentation needs a source that has`);
  },
  checkSets: refuseOtherLabels,
  checkFiles: (sets) => comparePalettes(allSets(sets)),
  transform: () => ({ kind: 'squash' }),
  split: ({ indices }, { validation_share, split_seed: seed }) => ({
    ...splitImages(indices.length, validation_share, seed),
    seed,
  }),
  card: ({ metric }) => ({
    transform: 'squash',
    features: ['patches'],
    selection: `best mIoU (${metric}) on the validation images; of equal ones the first in the grid`,
    metrics: ['mIoU (official, nanskip, absent0, perimage)', 'pixel accuracy'],
  }),
  cost,
  run: async (request) =>
    segmentationEntries(
      await segmentEncoder(request),
      request.tests,
      request.train.source,
      request.encoder.size,
    ),
  countedBy: ({ classes }, predictions, test) => ({
    classes: `${classes.length}`,
    ignore: [...(predictions.get(`${test}/ignore`)?.data ?? [])].join(','),
  }),
};

function cost({ settings, encoder, sets, memory }: CostRequest<SegmentationProtocol>) {
  const classes = mapClasses(sets.train.source);
  const tokens = encoder.grid.rows * encoder.grid.columns;
  const train = sets.train.indices.length * tokens;
  const test = sets.tests.reduce((n, { data }) => n + data.indices.length, 0) * tokens;
  const width = encoder.patchWidth;
  const held = settings.validation_share * train;
  const { knn, logreg, linear } = settings;
  const operations = [
    knn ? 2 * train * width * (knn.metrics.length * held + test) : 0,
    logreg ? 4 * train * width * classes * LOGISTIC_EVALUATIONS * (logreg.C.length + 1) : 0,
    linear ? 6 * linear.steps * linear.batch * tokens * width * classes * linear.learning_rates.length : 0,
  ];
  const features = 4 * (train + test) * width;
  return {
    operations: operations.reduce((sum, n) => sum + n, 0),
    bytes: Math.min(memory, features) + 4 * 65_536 * width,
  };
}
