// Image classification as a probe task: one label an image, k-NN, few-shot and the grid of linear and attentive heads.

import { samplesBytes } from '../samples.js';
import { type FeatureSource, featureSources } from '../sources.js';
import { splitImages } from '../split.js';
import type { CostRequest, ProbeTask } from '../task.js';
import { classify } from './classify.js';
import { classificationEntries } from './entries.js';
import { labelNotes } from './label_notes.js';
import { classNames, trainLabels } from './labels.js';
import { type ClassificationProtocol, classificationProtocolSchema } from './protocol.js';

export const task: ProbeTask<ClassificationProtocol> = {
  settings: classificationProtocolSchema,
  checkSource: (source) => void classNames(source),
  notes: labelNotes,
  transform: ({ transform }) => ({ kind: 'resize-crop', shorter: transform.shorter_side }),
  /** Images with a label. */
  split(train, { validation_share, split_seed: seed }) {
    const labelled = trainLabels(train).flatMap((labels, place) =>
      (labels as number[]).length > 0 ? [place] : [],
    );
    const { train: learnt, validation } = splitImages(labelled.length, validation_share, seed);
    const places = (chosen: Int32Array): Int32Array => chosen.map((i) => labelled[i]!);
    return { train: places(learnt), validation: places(validation), seed };
  },
  card: (settings, encoder) => ({
    transform: `shorter side to ${settings.transform.shorter_side} times the input, centre`,
    features: featureSources(encoder, settings.sources).map(({ name }) => name),
    selection: 'best top-1 on the validation images after the last step; of equal ones the first in the grid',
    metrics: ['top1 (any label counts)'],
  }),
  cost,
  run: async (request) =>
    classificationEntries(await classify(request), request.tests, classNames(request.train.source)),
  countedBy({ protocol }, _, test): Record<string, string> {
    const data = protocol.card.data as { tests?: Record<string, unknown>[] } | undefined;
    const among = data?.tests?.[test]?.predicted_among;
    return among === undefined ? {} : { 'classes predicted': String(among) };
  },
};

function cost({ settings, encoder, sets, memory }: CostRequest<ClassificationProtocol>) {
  const classes = classNames(sets.train.source).length;
  const sources = featureSources(encoder, settings.sources);
  const points = settings.learning_rates.length * settings.weight_decays.length;
  const perSample = (s: FeatureSource): number => {
    if (s.tokens === null) return 2 * s.width * classes;
    const heads = Math.ceil(s.width / 64);
    return 4 * s.tokens * s.width * heads + 2 * s.width * 64 * heads + 2 * 64 * heads * classes;
  };
  // Forward, and twice as much for the gradients.
  const training =
    3 * settings.steps * settings.batch * points * sources.reduce((n, s) => n + perSample(s), 0);
  const images = sets.train.indices.length;
  const tests = sets.tests.reduce((n, { data }) => n + data.indices.length, 0);
  const knn = (settings.knn ? featureSources(encoder, settings.knn.sources) : []).reduce(
    (n, s) => n + 2 * images * s.width * (0.2 * images + tests),
    0,
  );
  const parameters = sources.reduce((n, s) => {
    const heads = s.tokens === null ? 0 : Math.ceil(s.width / 64);
    return n + points * (s.width * classes + 2 * heads * 64 * s.width);
  }, 0);
  const activations =
    settings.batch * points * sources.reduce((n, s) => n + (s.tokens ?? 1) * Math.ceil(s.width / 64), 0);
  const held = Math.min(memory, samplesBytes(sources, images + tests));
  return {
    operations: training + knn,
    bytes: held + 4 * (5 * parameters + 8 * activations),
    crops: settings.features === 'augmented' ? settings.steps * settings.batch : 0,
  };
}
