// Trains every grid point of every feature source together, selects on the held-out images, and predicts each test set once at the end.
import type { Engine, Executable, Values } from '../../engine/program.js';
import { DataError, DivergedError, InterruptedError, UsageError } from '../../errors.js';
import { adamwCorrections } from '../../optim/adamw.js';
import { scheduleShape } from '../../optim/schedule.js';
import { type ClassificationScore, largestClass, topOne } from '../../scores/classification.js';
import type { FeatureSource, SourceFeatures } from '../sources.js';
import type { EvaluationSet, TrainingBatches } from './batches.js';
import {
  type HeadSizes,
  headOf,
  headPredictionProgram,
  headShapes,
  headStepProgram,
  initialHeads,
  officialWeights,
  paddingNote,
  stateNames,
} from './heads.js';
import { type ClassificationProtocol, type GridPoint, gridPoints } from './protocol.js';

/** Samples of one call of a prediction program. */
const PREDICTION_BATCH = 128;

/** The part of a protocol that training reads. */
export type GridProtocol = Pick<
  ClassificationProtocol,
  | 'learning_rates'
  | 'weight_decays'
  | 'batch'
  | 'reference_batch'
  | 'steps'
  | 'warmup_steps'
  | 'betas'
  | 'eps'
  | 'init_std'
>;

/** Where a training is: what it needs to go on as if it had never stopped. Tensors are named `SOURCE/PARAMETER`. */
export interface GridState {
  /** Steps done. */
  readonly step: number;
  readonly tensors: Record<string, Float32Array>;
}

export interface GridRequest {
  readonly engine: Engine;
  readonly sources: readonly FeatureSource[];
  readonly classes: number;
  readonly protocol: GridProtocol;
  /** Of the heads' initial values. */
  readonly seed: number;
  /** Batches of `protocol.batch` samples. */
  readonly train: TrainingBatches;
  readonly validation: EvaluationSet;
  readonly tests: readonly EvaluationSet[];
  readonly resume?: GridState;
  /** Called after every `checkpointEvery` steps, and before an interrupted training ends. */
  readonly checkpointEvery?: number;
  readonly onCheckpoint?: (state: GridState) => Promise<void> | void;
  /** After every step: steps done and the mean loss of each source's heads (NaN where one diverged). */
  readonly onStep?: (done: number, losses: Record<string, number>) => void;
  readonly signal?: AbortSignal;
}

/** One head at the end of the training. */
export interface TrainedPoint extends GridPoint {
  /** learning rate * batch / reference batch: the peak of its schedule. */
  readonly effectiveRate: number;
  /** Cross-entropy on the last batch, before the last step. */
  readonly lastLoss: number;
  /** Top-1 on the held-out images; NaN for a head whose loss is not finite, which is never selected. */
  readonly accuracy: number;
}

/** What the selected head said of a test set. */
export interface TestPredictions extends ClassificationScore {
  /** [samples] of the whole set, those without a label included. */
  readonly predicted: Int32Array;
  /** [samples, classes] */
  readonly logits: Float32Array;
}

export interface SourceResult {
  readonly source: string;
  readonly head: 'linear' | 'attentive';
  /** For the protocol card, where there is something to say. */
  readonly note?: string;
  readonly grid: readonly TrainedPoint[];
  /** Index into the grid: the best top-1 on the held-out images after the last step; of equal ones the first in the grid. */
  readonly selected: number;
  /** The selected head under official names: `linear.weight` [C, D], and so on. */
  readonly weights: Record<string, { shape: number[]; data: Float32Array }>;
  /** By name of the test set. */
  readonly tests: Record<string, TestPredictions>;
}

/**
 * The official probes of frozen features (evaluation protocol, "Image classification"): for every source, heads for all grid points are
 * trained on the same batches in one pass, by one program; the best on `validation` after the last step is kept as it is, without
 * refit, and each test set is read once, after the last selection.
 * @throws UsageError for a state of another training, DataError when a batch does not fit or the validation set has no labels,
 *   DivergedError when all heads of a source diverged, InterruptedError when `signal` stops it (after onCheckpoint)
 */
export async function trainClassificationGrid(request: GridRequest): Promise<SourceResult[]> {
  const { sources, protocol, engine, classes } = request;
  const grid = gridPoints(protocol);
  const sizes = sources.map((s): HeadSizes => ({ ...s, classes, points: grid.length }));
  const { states, losses } = await trainHeads(request, sizes, grid);

  const scores = await validate(engine, request.validation, sources, sizes, states);
  const scale = protocol.batch / protocol.reference_batch;
  const chosen = sources.map((source, s) => {
    const points = grid.map((point, g): TrainedPoint => {
      const lastLoss = losses[s]![g]!;
      const accuracy = Number.isFinite(lastLoss) ? scores[s]![g]! : Number.NaN;
      return { ...point, effectiveRate: point.learningRate * scale, lastLoss, accuracy };
    });
    let selected = -1;
    for (const [g, { accuracy }] of points.entries()) {
      if (accuracy > (points[selected]?.accuracy ?? -1)) selected = g;
    }
    if (selected < 0)
      throw new DivergedError(`every head of ${source.name} diverged: lower the learning rates`);
    return { points, selected, head: headOf(states[s]!, selected, sizes[s]!) };
  });

  const heads = chosen.map(({ head }, s) => ({ source: sources[s]!, sizes: sizes[s]!, head }));
  const tests = await predictTests(engine, request.tests, heads);
  return sources.map((source, s) => {
    const note = paddingNote(sizes[s]!);
    return {
      source: source.name,
      head: source.tokens === null ? 'linear' : 'attentive',
      ...(note === undefined ? {} : { note }),
      grid: chosen[s]!.points,
      selected: chosen[s]!.selected,
      weights: officialWeights(chosen[s]!.head, sizes[s]!),
      tests: tests[s]!,
    };
  });
}

/** The heads' parameters after the last step, by source, and each head's loss on the last batch. */
async function trainHeads(
  request: GridRequest,
  sizes: readonly HeadSizes[],
  grid: readonly GridPoint[],
): Promise<{ states: Record<string, Float32Array>[]; losses: Float32Array[] }> {
  const { sources, protocol, engine, resume } = request;
  const { batch, betas, eps, steps } = protocol;
  const optimiser = { beta1: betas[0], beta2: betas[1], eps };
  const headsInLoss = sources.length * grid.length;
  const decay = Float32Array.from(grid, (p) => p.weightDecay);
  const executables: Executable[] = [];
  const losses: Float32Array[] = sources.map(() => new Float32Array(grid.length));
  const exported = async (step: number): Promise<GridState> => {
    const tensors: Record<string, Float32Array> = {};
    for (const [s, source] of sources.entries()) {
      const state = await executables[s]!.getState();
      for (const [name, values] of Object.entries(state)) tensors[`${source.name}/${name}`] = values;
      tensors[`${source.name}/losses`] = losses[s]!.slice();
    }
    return { step, tensors };
  };
  try {
    for (const [s, source] of sources.entries()) {
      const executable = await engine.load(headStepProgram(sizes[s]!, { batch, optimiser, headsInLoss }));
      executables.push(executable);
      const restored = resume && restore(resume, source.name, sizes[s]!, losses[s]!);
      const start = { seed: request.seed, source: source.name, std: protocol.init_std };
      executable.setState(restored ?? initialHeads(sizes[s]!, start));
    }
    for (let step = resume?.step ?? 0; step < steps; step++) {
      if (request.signal?.aborted) {
        await request.onCheckpoint?.(await exported(step));
        throw new InterruptedError(`the classification probes stopped after ${step} of ${steps} steps`);
      }
      const { features, labels } = await request.train(step);
      checkBatch(features, labels, sources, batch, request.classes);
      const shape = scheduleShape(step, steps, protocol.warmup_steps, 0);
      const rate = (shape * batch) / protocol.reference_batch;
      const { correction1, rootCorrection2 } = adamwCorrections(step + 1, optimiser);
      const shared: Record<string, Values> = {
        labels,
        decay,
        lr: Float32Array.from(grid, (p) => p.learningRate * rate),
        correction1: Float32Array.of(correction1),
        root_correction2: Float32Array.of(rootCorrection2),
      };
      const means: Record<string, number> = {};
      for (const [s, source] of sources.entries()) {
        const outputs = await executables[s]!.run({ ...shared, features: features[source.name]! });
        losses[s] = outputs.losses as Float32Array;
        means[source.name] = losses[s]!.reduce((a, b) => a + b, 0) / grid.length;
      }
      request.onStep?.(step + 1, means);
      if (request.checkpointEvery && (step + 1) % request.checkpointEvery === 0 && step + 1 < steps) {
        await request.onCheckpoint?.(await exported(step + 1));
      }
    }
    const states: Record<string, Float32Array>[] = [];
    for (const [s, executable] of executables.entries()) {
      states.push(await executable.getState(Object.keys(headShapes(sizes[s]!))));
    }
    return { states, losses };
  } finally {
    for (const executable of executables) await executable.dispose();
  }
}

/** One source's tensors out of a state. */
function restore(
  state: GridState,
  source: string,
  sizes: HeadSizes,
  losses: Float32Array,
): Record<string, Float32Array> {
  const tensor = (name: string): Float32Array => {
    const values = state.tensors[`${source}/${name}`];
    if (!values)
      throw new UsageError(`the saved probes hold no ${source}/${name}: they are of another evaluation`);
    return values;
  };
  losses.set(tensor('losses'));
  const shapes = headShapes(sizes);
  return Object.fromEntries(
    stateNames(sizes).map((name) => {
      const values = tensor(name);
      const expected = shapes[name.replace(/\.exp_avg(_sq)?$/, '')]!.reduce((a, b) => a * b, 1);
      if (values.length !== expected) {
        throw new UsageError(
          `the saved probes hold ${values.length} values of ${source}/${name}, expected ${expected}: they are of another evaluation`,
        );
      }
      return [name, values];
    }),
  );
}

function checkBatch(
  features: SourceFeatures,
  labels: Int32Array,
  sources: readonly FeatureSource[],
  batch: number,
  classes: number,
): void {
  if (labels.length !== batch)
    throw new DataError(`a batch holds ${labels.length} samples, expected ${batch}`);
  for (const label of labels) {
    if (!(label >= 0 && label < classes)) {
      throw new DataError(`label ${label} is not one of ${classes} classes (0 to ${classes - 1})`);
    }
  }
  for (const { name } of sources) {
    if (!features[name]) throw new DataError(`a batch holds no features of ${name}`);
  }
}

/** Reads a set in pieces of PREDICTION_BATCH, the last one padded with zeros. */
async function eachPiece(
  set: EvaluationSet,
  sources: readonly FeatureSource[],
  use: (first: number, count: number, features: SourceFeatures) => Promise<void>,
): Promise<void> {
  for (let first = 0; first < set.labels.length; first += PREDICTION_BATCH) {
    const count = Math.min(PREDICTION_BATCH, set.labels.length - first);
    const read = await set.read(first, count);
    const features = Object.fromEntries(
      sources.map(({ name, width, tokens }) => {
        const values = read[name];
        const size = width * (tokens ?? 1);
        if (values?.length !== count * size) {
          throw new DataError(
            `${set.name} gives ${values?.length ?? 0} values of ${name} for ${count} samples, expected ${count * size}`,
          );
        }
        if (count === PREDICTION_BATCH) return [name, values];
        const whole = new Float32Array(PREDICTION_BATCH * size);
        whole.set(values);
        return [name, whole];
      }),
    );
    await use(first, count, features);
  }
}

/** Top-1 of every head of every source on the held-out images, [sources][points], in one reading of them. */
async function validate(
  engine: Engine,
  set: EvaluationSet,
  sources: readonly FeatureSource[],
  sizes: readonly HeadSizes[],
  states: readonly Record<string, Float32Array>[],
): Promise<number[][]> {
  const executables: Executable[] = [];
  const predicted = sizes.map(({ points }) =>
    Array.from({ length: points }, () => new Int32Array(set.labels.length)),
  );
  try {
    for (const [s, state] of states.entries()) {
      const executable = await engine.load(
        headPredictionProgram(sizes[s]!, PREDICTION_BATCH, { logits: false }),
      );
      executables.push(executable);
      executable.setState(state);
    }
    await eachPiece(set, sources, async (first, count, features) => {
      for (const [s, { name }] of sources.entries()) {
        const { classes } = await executables[s]!.run({ features: features[name]! });
        const { points } = sizes[s]!;
        for (let i = 0; i < count; i++) {
          for (let g = 0; g < points; g++) predicted[s]![g]![first + i] = classes![i * points + g]!;
        }
      }
    });
  } finally {
    for (const executable of executables) await executable.dispose();
  }
  const scores = predicted.map((heads) => heads.map((classes) => topOne(classes, set.labels).accuracy));
  if (Number.isNaN(scores[0]?.[0] ?? 0)) throw new DataError(`no sample of ${set.name} has a label`);
  return scores;
}

/** The selected heads on every test set, [sources], by name of the set; each set is read once for all of them. */
async function predictTests(
  engine: Engine,
  sets: readonly EvaluationSet[],
  heads: readonly { source: FeatureSource; sizes: HeadSizes; head: Record<string, Float32Array> }[],
): Promise<Record<string, TestPredictions>[]> {
  const results: Record<string, TestPredictions>[] = heads.map(() => ({}));
  const executables: Executable[] = [];
  try {
    for (const { sizes, head } of heads) {
      const one = { ...sizes, points: 1 };
      const executable = await engine.load(headPredictionProgram(one, PREDICTION_BATCH, { logits: true }));
      executables.push(executable);
      executable.setState(head);
    }
    const sources = heads.map(({ source }) => source);
    for (const set of sets) {
      const logits = heads.map(({ sizes }) => new Float32Array(set.labels.length * sizes.classes));
      await eachPiece(set, sources, async (first, count, features) => {
        for (const [s, { source, sizes }] of heads.entries()) {
          const outputs = await executables[s]!.run({ features: features[source.name]! });
          logits[s]!.set(outputs.logits!.subarray(0, count * sizes.classes), first * sizes.classes);
        }
      });
      for (const [s, { sizes }] of heads.entries()) {
        const predicted = largestClass(logits[s]!, sizes.classes, set.classSubset);
        results[s]![set.name] = { ...topOne(predicted, set.labels), predicted, logits: logits[s]! };
      }
    }
  } finally {
    for (const executable of executables) await executable.dispose();
  }
  return results;
}
