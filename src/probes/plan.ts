// What an evaluation will take, before it begins: images, vectors, disk, memory, time.
import type { FrozenEncoder } from '../encoder/frozen.js';
import { productRate } from '../engine/select.js';
import { classNames } from './cls/labels.js';
import type { ClassificationProtocol } from './cls/protocol.js';
import { samplesBytes } from './cls/samples.js';
import { type FeatureSource, featureSources } from './cls/sources.js';
import { type InputTransform, inStore } from './dataset.js';
import { type EvaluateOptions, openEncoder, openSets, type Sets } from './evaluate.js';
import { floorSpecs } from './floors.js';
import { loadProtocol } from './protocol.js';
import type { SegmentationProtocol } from './seg/protocol.js';

export interface EncoderPlan {
  readonly label: string;
  /** Images of all sets. */
  readonly images: number;
  /** Patch vectors of all sets. */
  readonly vectors: number;
  /** Channels of a patch vector. */
  readonly width: number;
  /** Images whose features are in the store already. */
  readonly stored: number;
  /** Bytes of features and label maps that will be added to the store. */
  readonly diskBytes: number;
  readonly memoryBytes: number;
  /** Features measured on one batch, heads by their operations. */
  readonly seconds: number;
}

export interface EvaluationPlan {
  readonly store: string;
  /** Rate of a product of two 512 x 512 matrices, measured. */
  readonly gflops: number;
  readonly encoders: readonly EncoderPlan[];
}

/** Evaluations of the loss that one C takes, about. */
const LOGISTIC_EVALUATIONS = 150;

/** Plans what `evaluate` would do with the same options; runs one batch of every encoder. */
export async function planEvaluation(o: EvaluateOptions): Promise<EvaluationPlan> {
  const protocol = loadProtocol(o.protocol, o.task === 'cls' ? 'classification' : 'segmentation');
  const rate = (await productRate(o.engine, 512)) * 1e9;
  const encoders: EncoderPlan[] = [];
  let specs = [...o.encoders];
  let sets: Sets | undefined;
  for (let i = 0; i < specs.length; i++) {
    const encoder = await openEncoder(o, specs[i]!, protocol);
    try {
      if (i === 0 && o.floors) specs = [...specs, ...floorSpecs(specs[0]!, encoder)];
      sets ??= await openSets(o, encoder);
      encoders.push(await planOne(o, encoder, specs[i]!, sets, protocol.settings, rate));
    } finally {
      await encoder.close();
    }
  }
  return { store: o.store, gflops: rate / 1e9, encoders };
}

async function planOne(
  o: EvaluateOptions,
  encoder: FrozenEncoder,
  label: string,
  sets: Sets,
  settings: ClassificationProtocol | SegmentationProtocol,
  rate: number,
): Promise<EncoderPlan> {
  const transform: InputTransform =
    'sources' in settings
      ? { kind: 'resize-crop', shorter: settings.transform.shorter_side }
      : { kind: 'squash' };
  let [images, stored, unlabelled] = [0, 0, 0];
  for (const data of [sets.train, ...sets.tests.map((test) => test.data)]) {
    const { length } = data.indices;
    const found = inStore(encoder, data, transform, o.store);
    images += length;
    if (found.features && !o.force) stored += length;
    if (!found.labels || o.force) unlabelled += length;
  }
  const tokens = encoder.grid.rows * encoder.grid.columns;
  const { patchWidth: width, globalWidth, registers } = encoder;
  const perImage = tokens * width + (globalWidth ?? 0) + (registers ? registers.count * registers.width : 0);
  const labels = o.task === 'seg' ? tokens * encoder.patch ** 2 : 0;
  const input = new Uint8Array(encoder.batch * encoder.size.height * encoder.size.width * 3);
  await encoder.run(input);
  const begin = performance.now();
  await encoder.run(input);
  const each = (performance.now() - begin) / 1000 / encoder.batch;
  const augmented = 'sources' in settings && settings.features === 'augmented';
  const seen = images - stored + (augmented ? settings.steps * settings.batch : 0);
  const heads =
    'sources' in settings
      ? classification(settings, encoder, classNames(sets.train.source).length, sets, o.memory)
      : segmentation(settings, encoder, sets.train.source.labelMapClasses?.length ?? 256, sets, o.memory);
  return {
    label,
    images,
    stored,
    vectors: images * tokens,
    width,
    diskBytes: 4 * (images - stored) * perImage + unlabelled * labels,
    memoryBytes: heads.bytes,
    seconds: seen * each + heads.operations / rate,
  };
}

/** Multiplications and additions of the heads, and bytes at their peak. */
function classification(
  settings: ClassificationProtocol,
  encoder: FrozenEncoder,
  classes: number,
  sets: Sets,
  memory: number,
): { operations: number; bytes: number } {
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
  return { operations: training + knn, bytes: held + 4 * (5 * parameters + 8 * activations) };
}

function segmentation(
  settings: SegmentationProtocol,
  encoder: FrozenEncoder,
  classes: number,
  sets: Sets,
  memory: number,
): { operations: number; bytes: number } {
  const tokens = encoder.grid.rows * encoder.grid.columns;
  const train = sets.train.indices.length * tokens;
  const test = sets.tests.reduce((n, { data }) => n + data.indices.length, 0) * tokens;
  const width = encoder.patchWidth;
  const held = settings.validation_share * train;
  const knn = settings.knn ? 2 * train * width * (settings.knn.metrics.length * held + test) : 0;
  const logistic = settings.logreg
    ? 4 * train * width * classes * LOGISTIC_EVALUATIONS * (settings.logreg.C.length + 1)
    : 0;
  const linear = settings.linear
    ? 6 *
      settings.linear.steps *
      settings.linear.batch *
      tokens *
      width *
      classes *
      settings.linear.learning_rates.length
    : 0;
  const features = 4 * (train + test) * width;
  return { operations: knn + logistic + linear, bytes: Math.min(memory, features) + 4 * 65_536 * width };
}
