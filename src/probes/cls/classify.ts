// Image classification on one frozen encoder: k-NN, few-shot and the grid of probes, each selected before any test set is opened.

import { DataError } from '../../errors.js';
import { labelsOf, sameForm } from '../../images/index.js';
import { classAccuracy, type SampleLabels, topOne } from '../../scores/classification.js';
import { type EvaluationData, featuresOf, type SetFeatures } from '../dataset.js';
import { sampler } from '../split.js';
import type { ProbeRequest, TestData } from '../task.js';
import { augmentedBatches } from './augmented.js';
import type { TrainingBatches } from './batches.js';
import { fewShotClassification } from './few_shot.js';
import { trainClassificationGrid } from './grid.js';
import { knnClassification } from './knn.js';
import { classNames, trainLabels } from './labels.js';
import type { ClassificationProtocol, SourceName } from './protocol.js';
import { openSamples, type Samples, sampleVectors } from './samples.js';
import { type FeatureSource, featureSources, type SourceFeatures } from './sources.js';

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
  const { engine, encoder, protocol, train, split, seed, watch } = request;
  const classes = classNames(train.source);
  const labels = trainLabels(train);
  const transform = { kind: 'resize-crop', shorter: protocol.transform.shorter_side } as const;
  const names = new Set<SourceName>([
    ...protocol.sources,
    ...(protocol.knn?.sources ?? []),
    ...(protocol.few_shot?.sources ?? []),
  ]);
  const all = featureSources(encoder, [...names]);
  const bySource = (wanted: readonly string[]): FeatureSource[] =>
    all.filter(({ name }) => wanted.includes(name));
  const opened: SetFeatures[] = [];
  const samplesOf = async (data: EvaluationData, part: string): Promise<Samples> => {
    const features = await featuresOf(encoder, data, transform, request.store, {
      ...watch,
      onProgress: (done, total) => watch?.onStage?.(`features of ${part}`, done, total),
    });
    opened.push(features);
    return openSamples(encoder, features, all, request.memory / (1 + request.tests.length));
  };
  try {
    // Augmented heads see crops; the images under the evaluation transform are then needed for selection and neighbours only.
    const cached = protocol.features === 'cached' || protocol.knn !== null || protocol.few_shot !== null;
    const held = cached ? train : choose(train, split.validation);
    const samples = await samplesOf(held, 'training images');
    const validation = cached
      ? split.validation
      : Int32Array.from({ length: split.validation.length }, (_, i) => i);
    const validationLabels = Array.from(split.validation, (i) => labels[i]!);
    const keys = [...split.train, ...split.validation].sort((a, b) => a - b);
    const labelled = (chosen: ArrayLike<number>) => Int32Array.from(chosen, (i) => first(labels[i]!));

    // Everything that is chosen for k-NN.
    const knnRequest = (
      source: FeatureSource,
      k: readonly number[],
      votes: readonly ('weighted' | 'plain')[],
    ) => ({
      engine,
      width: source.width,
      k,
      votes,
      temperature: protocol.knn!.temperature,
      train: {
        features: sampleVectors(samples, source.name, split.train),
        labels: labelled(split.train),
      },
      validation: { features: sampleVectors(samples, source.name, validation), labels: validationLabels },
      all: {
        features: sampleVectors(samples, source.name, Int32Array.from(keys)),
        labels: labelled(keys),
      },
    });
    const chosenKnn: {
      source: FeatureSource;
      point: { k: number; vote: 'weighted' | 'plain' };
      grid: object[];
    }[] = [];
    for (const source of protocol.knn ? bySource(protocol.knn.sources) : []) {
      watch?.onStage?.(`k-NN on ${source.name}`, 0, 1);
      const request = knnRequest(source, protocol.knn!.k, protocol.knn!.votes);
      const { grid, selected } = await knnClassification({ ...request, tests: [] });
      chosenKnn.push({ source, point: grid[selected]!, grid: grid.map((point) => ({ ...point })) });
    }

    // The tests, opened when they are first read.
    const testSets = request.tests.map((test) => {
      const known = testLabels(test, classes);
      let open: Promise<Samples> | undefined;
      const samples = (): Promise<Samples> => {
        open ??= test.reading().then(() => samplesOf(test.data, test.name));
        return open;
      };
      return { name: test.name, ...known, samples };
    });

    const probes = bySource(protocol.sources);
    const resumed = await request.state.load(STATE);
    const grid = await trainClassificationGrid({
      engine,
      sources: probes,
      classes: classes.length,
      protocol,
      seed,
      train: await batches(request, samples, probes, labels),
      validation: {
        name: 'validation',
        labels: validationLabels,
        read: (from, count) => samples.gather(validation.subarray(from, from + count)),
      },
      tests: testSets.map(({ name, labels, classSubset, samples }) => ({
        name,
        labels,
        ...(classSubset ? { classSubset } : {}),
        read: async (from, count) => (await samples()).range(from, count),
      })),
      ...(resumed ? { resume: { step: Number(resumed.values.step), tensors: resumed.tensors } } : {}),
      checkpointEvery: CHECKPOINT_STEPS,
      onCheckpoint: ({ step, tensors }) => request.state.save(STATE, { values: { step }, tensors }),
      onStep: (done) => watch?.onStage?.('probes', done, protocol.steps),
      ...(watch?.signal ? { signal: watch.signal } : {}),
    });

    const outcomes: HeadOutcome[] = grid.map((result): HeadOutcome => {
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
        ...(result.note === undefined ? {} : { note: result.note }),
        tests: testSets.map(({ name, labels }) =>
          scored(result.tests[name]!.predicted, labels, classes.length),
        ),
        weights: result.weights,
      };
    });

    for (const { source, point, grid } of chosenKnn) {
      const tests: ImageHits[] = [];
      for (const set of testSets) {
        watch?.onStage?.(`k-NN on ${source.name}: ${set.name}`, 0, 1);
        const features = vectorsOf(await set.samples(), source.name);
        const { name, labels, classSubset } = set;
        const found = await knnClassification({
          ...knnRequest(source, [point.k], [point.vote]),
          tests: [{ name, features, labels, ...(classSubset ? { classSubset } : {}) }],
        });
        tests.push(scored(found.tests[name]!.predicted, labels, classes.length));
      }
      const selected = { k: point.k, votes: point.vote };
      outcomes.push({
        source: source.name,
        head: 'knn',
        selected,
        grid: grid as Record<string, unknown>[],
        tests,
      });
    }
    outcomes.push(
      ...(await fewShot(
        request,
        bySource(protocol.few_shot?.sources ?? []),
        samples,
        labels,
        keys,
        testSets,
      )),
    );
    return outcomes;
  } finally {
    for (const features of opened) await features.close();
  }
}

interface OpenTest extends TestLabels {
  readonly name: string;
  samples(): Promise<Samples>;
}

/** The few-shot heads; shots that some class has not enough images for are left out, and the outcome says so. */
async function fewShot(
  { engine, protocol, seed, watch }: ClassifyRequest,
  sources: readonly FeatureSource[],
  samples: Samples,
  labels: readonly SampleLabels[],
  keys: readonly number[],
  sets: readonly OpenTest[],
): Promise<HeadOutcome[]> {
  const settings = protocol.few_shot;
  if (!settings) return [];
  const counts = new Map<number, number>();
  for (const i of keys) counts.set(first(labels[i]!), (counts.get(first(labels[i]!)) ?? 0) + 1);
  const least = Math.min(...counts.values());
  const shots = settings.shots.filter((n) => n <= least);
  const left = settings.shots.filter((n) => n > least);
  const note =
    left.length > 0 ? `few-shot with ${left.join(', ')} left out: a class has ${least} images` : undefined;
  const outcomes: HeadOutcome[] = [];
  for (const source of shots.length > 0 ? sources : []) {
    watch?.onStage?.(`few-shot on ${source.name}`, 0, 1);
    const tests = [];
    for (const { name, labels, classSubset, samples } of sets) {
      const all = await samples();
      const features = (
        await all.gather(
          Int32Array.from({ length: all.count }, (_, i) => i),
          source.name,
        )
      )[source.name]!;
      tests.push({ name, labels, features, ...(classSubset ? { classSubset } : {}) });
    }
    const results = await fewShotClassification({
      engine,
      width: source.width,
      train: {
        features: sampleVectors(samples, source.name, Int32Array.from(keys)),
        labels: Int32Array.from(keys, (i) => first(labels[i]!)),
      },
      tests,
      shots,
      draws: settings.draws,
      heads: settings.heads,
      C: settings.C,
      seed,
    });
    for (const head of settings.heads) {
      for (const n of shots) {
        const found = sets.map(
          (set) => results.find((r) => r.head === head && r.shots === n && r.test === set.name)!,
        );
        outcomes.push({
          source: source.name,
          head: `${head}-${n}shot`,
          selected: null,
          grid: found.map((r) => ({ test: r.test, draws: [...r.draws] })),
          ...(note ? { note } : {}),
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
  samples: Samples,
  sources: readonly FeatureSource[],
  labels: readonly SampleLabels[],
): Promise<TrainingBatches> {
  const { protocol, split, seed } = request;
  if (protocol.features === 'augmented') return augmentedBatches(request, sources, (i) => first(labels[i]!));
  const draw = sampler(split.train.length, protocol.batch, seed);
  let features: SourceFeatures | undefined; // a batch has been used when the next one is asked for
  return async (step) => {
    const chosen = draw(step).map((at) => split.train[at]!);
    const own = await samples.gather(chosen, undefined, features);
    features = own;
    return {
      features: Object.fromEntries(sources.map(({ name }) => [name, own[name]!])),
      labels: chosen.map((i) => first(labels[i]!)),
    };
  };
}

const first = (labels: SampleLabels): number => (typeof labels === 'number' ? labels : (labels[0] ?? -1));

const vectorsOf = (samples: Samples, source: string) =>
  sampleVectors(
    samples,
    source,
    Int32Array.from({ length: samples.count }, (_, i) => i),
  );

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
