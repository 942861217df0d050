// Image classification on one frozen encoder: k-NN, few-shot and the grid of probes, each selected before any test set is opened.

import { DataError } from '../../errors.js';
import { labelsOf, sameForm } from '../../images/index.js';
import { classAccuracy, type SampleLabels, topOne } from '../../scores/classification.js';
import { type EvaluationData, featuresOf, type SetFeatures } from '../dataset.js';
import { openSamples, type Samples, sampleVectors } from '../samples.js';
import { type FeatureSource, featureSources, type SourceFeatures, type SourceName } from '../sources.js';
import { sampler } from '../split.js';
import type { ProbeRequest, TestData } from '../task.js';
import { augmentedBatches } from './augmented.js';
import type { TrainingBatches } from './batches.js';
import { fewShotClassification } from './few_shot.js';
import { trainClassificationGrid } from './grid.js';
import { type KnnPoint, type KnnRequest, knnClassification, type LabelledVectors } from './knn.js';
import { classNames, trainLabels } from './labels.js';
import type { ClassificationProtocol } from './protocol.js';

type ClassifyRequest = ProbeRequest<ClassificationProtocol>;

/** One head on one feature source, as the record has it. */
export interface HeadOutcome {
  readonly source: string;
  readonly head: string;
  readonly selected: Record<string, number | string> | null;
  /** Grid points with their validation accuracy. */
  readonly grid: readonly Record<string, unknown>[];
  readonly note?: string;
  readonly tests: readonly ImageHits[];
  /** The selected head under official names, where there is one. */
  readonly weights?: Record<string, { shape: number[]; data: Float32Array }>;
}

/** What a head said of a test set, in the order of the request's tests. */
export interface ImageHits {
  /** Places in the test set that count: images with a label. */
  readonly samples: Int32Array;
  /** 1 or 0 for each; few-shot: the share of draws. */
  readonly hits: ArrayLike<number>;
  /** Class ids of all images, where one prediction was made for each. */
  readonly predicted?: Int32Array;
  /** [classes] accuracy, where one prediction was made for each. */
  readonly perClass?: Float64Array;
}

/** Labels of chosen images as ids of the training classes, and the subset of those that the test set knows. */
interface TestLabels {
  readonly labels: SampleLabels[];
  readonly classSubset?: number[];
}

/** Unfinished heads, and steps between two states of them. */
const STATE = 'probes';
const CHECKPOINT_STEPS = 250;

/**
 * All heads of a protocol on one encoder. Selection sees the split alone: first every k-NN setting is chosen, then the probes are trained
 * and chosen, and only then each test set is opened, once.
 * @throws DataError for labels that do not fit, InterruptedError when the signal stops it; the same request goes on
 */
export async function classify(request: ClassifyRequest): Promise<HeadOutcome[]> {
  const { protocol } = request;
  const data = openData(request);
  try {
    const training = await openTraining(request, data);
    const neighbours = protocol.knn ? await chooseNeighbours(request, protocol.knn, data, training) : [];
    const tests = request.tests.map((test) => openTest(test, training.classes, data));
    const probes = await trainProbes(request, data, training, tests);
    const outcomes: HeadOutcome[] = [...probes];
    for (const chosen of neighbours) outcomes.push(await scoreNeighbours(request, chosen, training, tests));
    if (protocol.few_shot)
      outcomes.push(...(await fewShot(request, protocol.few_shot, data, training, tests)));
    return outcomes;
  } finally {
    await data.close();
  }
}

/** The features of sets of images, by the sources that any head reads. */
interface Data {
  sources(names: readonly SourceName[]): FeatureSource[];
  samples(set: EvaluationData, called: string): Promise<Samples>;
  close(): Promise<void>;
}

function openData({ encoder, protocol, store, memory, tests, watch }: ClassifyRequest): Data {
  const { sources, knn, few_shot } = protocol;
  const names = [...new Set([...sources, ...(knn?.sources ?? []), ...(few_shot?.sources ?? [])])];
  const all = featureSources(encoder, names);
  const opened: SetFeatures[] = [];
  return {
    sources: (wanted) => all.filter(({ name }) => wanted.includes(name as SourceName)),
    async samples(set, called) {
      const transform = { kind: 'resize-crop', shorter: protocol.transform.shorter_side } as const;
      const features = await featuresOf(encoder, set, transform, store, {
        ...watch,
        onProgress: (done, total) => watch?.onStage?.(`features of ${called}`, done, total),
      });
      opened.push(features);
      return openSamples(encoder, features, all, memory / (1 + tests.length));
    },
    async close() {
      for (const features of opened) await features.close();
    },
  };
}

/** The training images with their one label each, and what selection looks at. */
interface Training {
  readonly classes: string[];
  /** Of the place of an image in the training set. */
  label(place: number): number;
  readonly samples: Samples;
  /** Places among `samples`. */
  readonly validation: Int32Array;
  readonly validationLabels: readonly SampleLabels[];
  /** Places of all images of the split, ascending. */
  readonly keys: Int32Array;
  /** Vectors and labels of some places. */
  vectors(source: string, places: Int32Array): LabelledVectors;
}

async function openTraining({ protocol, train, split }: ClassifyRequest, data: Data): Promise<Training> {
  const labels = trainLabels(train);
  const label = (place: number): number => first(labels[place]!);
  // Augmented heads see crops; the images under the evaluation transform are then needed for selection and neighbours only.
  const cached = protocol.features === 'cached' || protocol.knn !== null || protocol.few_shot !== null;
  const held = cached ? train : choose(train, split.validation);
  const samples = await data.samples(held, 'training images');
  return {
    classes: classNames(train.source),
    label,
    samples,
    validation: cached ? split.validation : split.validation.map((_, i) => i),
    validationLabels: Array.from(split.validation, (place) => labels[place]!),
    keys: Int32Array.from([...split.train, ...split.validation]).sort(),
    vectors: (source, places) => ({
      features: sampleVectors(samples, source, places),
      labels: places.map(label),
    }),
  };
}

/** A test set, whose features are read when they are first asked for. */
interface OpenTest extends TestLabels {
  readonly name: string;
  samples(): Promise<Samples>;
}

function openTest(test: TestData, classes: readonly string[], data: Data): OpenTest {
  let open: Promise<Samples> | undefined;
  return {
    name: test.name,
    ...testLabels(test, classes),
    samples() {
      open ??= test.reading().then(() => data.samples(test.data, test.name));
      return open;
    },
  };
}

/** The grid of probes, trained and chosen, with the chosen heads' predictions of every test set. */
async function trainProbes(
  request: ClassifyRequest,
  data: Data,
  training: Training,
  tests: readonly OpenTest[],
): Promise<HeadOutcome[]> {
  const { engine, protocol, seed, watch } = request;
  const { classes, samples, validation, validationLabels } = training;
  const sources = data.sources(protocol.sources);
  const saved = await request.state.load(STATE);
  const grid = await trainClassificationGrid({
    engine,
    sources,
    classes: classes.length,
    protocol,
    seed,
    train: await batches(request, training, sources),
    validation: {
      name: 'validation',
      labels: validationLabels,
      read: (from, count) => samples.gather(validation.subarray(from, from + count)),
    },
    tests: tests.map(({ name, labels, classSubset, samples }) => ({
      name,
      labels,
      classSubset,
      read: async (from, count) => (await samples()).range(from, count),
    })),
    resume: saved && { step: Number(saved.values.step), tensors: saved.tensors },
    checkpointEvery: CHECKPOINT_STEPS,
    onCheckpoint: ({ step, tensors }) => request.state.save(STATE, { values: { step }, tensors }),
    onStep: (done) => watch?.onStage?.('probes', done, protocol.steps),
    signal: watch?.signal,
  });
  return grid.map((result): HeadOutcome => {
    const { learningRate, weightDecay } = result.grid[result.selected]!;
    return {
      source: result.source,
      head: result.head,
      selected: { learning_rate: learningRate, weight_decay: weightDecay },
      grid: result.grid.map((p) => ({
        learning_rate: p.learningRate,
        effective_rate: p.effectiveRate,
        weight_decay: p.weightDecay,
        last_loss: p.lastLoss,
        accuracy: p.accuracy,
      })),
      note: result.note,
      tests: tests.map(({ name, labels }) => scored(result.tests[name]!.predicted, labels, classes.length)),
      weights: result.weights,
    };
  });
}

/** A feature source with the setting of k-NN that was chosen for it. */
interface ChosenNeighbours {
  readonly source: FeatureSource;
  readonly point: KnnPoint;
  readonly grid: readonly KnnPoint[];
  /** For the same search under other settings. */
  readonly search: Omit<KnnRequest, 'tests'>;
}

async function chooseNeighbours(
  { engine, split, watch }: ClassifyRequest,
  { sources, k, votes, temperature }: NonNullable<ClassificationProtocol['knn']>,
  data: Data,
  { samples, validation, validationLabels, keys, vectors }: Training,
): Promise<ChosenNeighbours[]> {
  const chosen: ChosenNeighbours[] = [];
  for (const source of data.sources(sources)) {
    const { name, width } = source;
    watch?.onStage?.(`k-NN on ${name}`, 0, 1);
    const search = {
      ...{ engine, width, k, votes, temperature },
      train: vectors(name, split.train),
      validation: { features: sampleVectors(samples, name, validation), labels: validationLabels },
      all: vectors(name, keys),
    };
    const { grid, selected } = await knnClassification({ ...search, tests: [] });
    chosen.push({ source, point: grid[selected]!, grid, search });
  }
  return chosen;
}

async function scoreNeighbours(
  { watch }: ClassifyRequest,
  { source: { name: source }, point: { k, vote }, grid, search }: ChosenNeighbours,
  { classes }: Training,
  sets: readonly OpenTest[],
): Promise<HeadOutcome> {
  const tests: ImageHits[] = [];
  for (const set of sets) {
    watch?.onStage?.(`k-NN on ${source}: ${set.name}`, 0, 1);
    const { name, labels, classSubset } = set;
    const features = vectorsOf(await set.samples(), source);
    const test = { name, features, labels, classSubset };
    const found = await knnClassification({ ...search, k: [k], votes: [vote], tests: [test] });
    tests.push(scored(found.tests[name]!.predicted, labels, classes.length));
  }
  return {
    source,
    head: 'knn',
    selected: { k, votes: vote },
    grid: grid.map((point) => ({ ...point })),
    tests,
  };
}

/** The few-shot heads; shots that some class has not enough images for are left out, and the outcome says so. */
async function fewShot(
  { engine, seed, watch }: ClassifyRequest,
  settings: NonNullable<ClassificationProtocol['few_shot']>,
  data: Data,
  { keys, label, vectors }: Training,
  sets: readonly OpenTest[],
): Promise<HeadOutcome[]> {
  const counts = new Map<number, number>();
  for (const place of keys) counts.set(label(place), (counts.get(label(place)) ?? 0) + 1);
  const least = Math.min(...counts.values());
  const shots = settings.shots.filter((n) => n <= least);
  const left = settings.shots.filter((n) => n > least);
  const note =
    left.length > 0 ? `few-shot with ${left.join(', ')} left out: a class has ${least} images` : undefined;
  const outcomes: HeadOutcome[] = [];
  for (const { name: source, width } of shots.length > 0 ? data.sources(settings.sources) : []) {
    watch?.onStage?.(`few-shot on ${source}`, 0, 1);
    const tests = [];
    for (const { name, labels, classSubset, samples } of sets) {
      const all = await samples();
      const features = (await all.gather(allPlaces(all), source))[source]!;
      tests.push({ name, labels, features, classSubset });
    }
    const { draws, heads, C } = settings;
    const train = vectors(source, keys);
    const results = await fewShotClassification({
      engine,
      width,
      train,
      tests,
      shots,
      draws,
      heads,
      C,
      seed,
    });
    for (const head of heads) {
      for (const n of shots) {
        const found = sets.map(
          (set) => results.find((r) => r.head === head && r.shots === n && r.test === set.name)!,
        );
        outcomes.push({
          source,
          head: `${head}-${n}shot`,
          selected: null,
          grid: found.map((r) => ({ test: r.test, draws: [...r.draws] })),
          note,
          tests: found.map(({ samples, hits }) => ({ samples, hits })),
        });
      }
    }
  }
  return outcomes;
}

/** Batches for the probes: stored features, or new crops through the encoder. */
async function batches(
  request: ClassifyRequest,
  { samples, label }: Training,
  sources: readonly FeatureSource[],
): Promise<TrainingBatches> {
  const { protocol, split, seed } = request;
  if (protocol.features === 'augmented') return augmentedBatches(request, sources, label);
  const draw = sampler(split.train.length, protocol.batch, seed);
  let features: SourceFeatures | undefined; // a batch has been used when the next one is asked for
  return async (step) => {
    const chosen = draw(step).map((at) => split.train[at]!);
    const own = await samples.gather(chosen, undefined, features);
    features = own;
    return {
      features: Object.fromEntries(sources.map(({ name }) => [name, own[name]!])),
      labels: chosen.map(label),
    };
  };
}

const first = (labels: SampleLabels): number => (typeof labels === 'number' ? labels : (labels[0] ?? -1));

const allPlaces = ({ count }: Samples): Int32Array => Int32Array.from({ length: count }, (_, i) => i);

const vectorsOf = (samples: Samples, source: string) => sampleVectors(samples, source, allPlaces(samples));

function scored(predicted: Int32Array, labels: readonly SampleLabels[], classes: number): ImageHits {
  const { samples, hits } = topOne(predicted, labels);
  return { samples, hits, predicted, perClass: classAccuracy(predicted, labels, classes).accuracy };
}

/** A part of the data, by ascending places in it. */
export const choose = (data: EvaluationData, places: Int32Array): EvaluationData => ({
  ...data,
  indices: places.map((place) => data.indices[place]!),
});

/** A test set's labels as ids of the training classes, by name; one that asks for it is predicted among its own classes. */
function testLabels({ data }: TestData, classes: readonly string[]): TestLabels {
  const own = classNames(data.source);
  const places = new Map(classes.map((name, i) => [sameForm(name), i]));
  const ids = own.map((name) => places.get(sameForm(name)) ?? -1);
  const strange = own.filter((_, i) => ids[i]! < 0);
  if (strange.length > 0) {
    const more = strange.length > 3 ? ` and ${strange.length - 3} more` : '';
    throw new DataError(
      `${data.source.uri} has classes that the training images do not have: ${strange.slice(0, 3).join(', ')}${more}`,
    );
  }
  const labels = Array.from(data.indices, (i) => labelsOf(data.source, i).map((label) => ids[label]!));
  return data.source.amongOwn ? { labels, classSubset: ids } : { labels };
}
