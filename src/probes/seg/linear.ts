// The linear segmentation head: trains every grid point on the same batches, selects on the validation images, predicts pixels.

import type { Engine, Executable } from '../../engine/program.js';
import { DivergedError, InterruptedError } from '../../errors.js';
import type { RowSource } from '../../features/rows.js';
import { adamwCorrections } from '../../optim/adamw.js';
import { scheduleShape } from '../../optim/schedule.js';
import { ImageCounter, type ImageCounts, meanIou, pixelAccuracy, sumImages } from '../../scores/confusion.js';
import { sampler } from '../split.js';
import {
  imagesOfPiece,
  initialLinear,
  type LinearSizes,
  linearPredictionProgram,
  linearStepProgram,
  pointOf,
  predictionState,
} from './linear_head.js';
import { type LinearPoint, type LinearProtocol, linearGrid } from './linear_protocol.js';
import { labelMass, patchOrder } from './linear_upsample.js';
import type { PatchRows, SegmentationRequest, SelectedHead } from './patch_set.js';
import { bestOf, stopIfAsked } from './samples.js';

/** Images of one call of a prediction program at most. */
const PREDICTION_IMAGES = 16;
/** Time between two saved states. */
const SAVE_EVERY_MS = 60_000;
const STATE = 'linear/training';

/** One head at the end of the training; a type, so that it is a GridScore too. Scores are NaN when its loss is not finite. */
export type TrainedLinear = LinearPoint & {
  /** Cross-entropy on the last batch, before the last step. */
  readonly lastLoss: number;
  readonly miou: number;
  readonly accuracy: number;
};

/** What selection reads: all but the tests. */
export type LinearRequest = Omit<SegmentationRequest, 'tests'>;

export interface SelectedLinear extends SelectedHead {
  readonly head: 'linear';
  /** The best on the validation images; of equal ones the first in the grid. A head that diverged is never it. */
  readonly selected: LinearPoint;
  readonly grid: readonly TrainedLinear[];
  /** Never: the head is kept as it was trained, as the field does with heads trained by gradient descent. */
  readonly refit: false;
  /** `weight` [D, C], `bias` [C], `running_mean` and `running_var` [D] of the selected head. */
  readonly model: Readonly<Record<string, Float32Array>>;
}

/**
 * Linear segmentation of frozen features, as DINOv2 and DINOv3 report it: batch norm without affine part, one linear layer a patch, logits
 * upsampled bilinearly to the label maps, cross-entropy over the pixels that are not ignored, AdamW. All grid points train together; the
 * best on the validation images after the last step is kept without a refit. Batches are read image by image, and depend on seed
 * and step alone; the state is saved once a minute, so that a killed training goes on and ends in the same bytes. `miou` is the
 * convention that selects, in [0, 1]; default: the official one.
 * @throws DataError for a label that is no class or no pixel to choose on, DivergedError when every head diverged, InterruptedError when `signal`
 *   stops it (after saving)
 */
export async function selectLinear(
  request: LinearRequest,
  protocol: LinearProtocol,
  miou: (counts: ImageCounts) => number = (counts) => meanIou(sumImages(counts)),
): Promise<SelectedLinear> {
  const points = linearGrid(protocol);
  const { classes, grid, patch, train, engine } = request;
  const sizes: LinearSizes = {
    ...grid,
    patch,
    classes,
    width: train.features.width,
    points: points.length,
  };
  const { tensors } = await trainLinear(request, protocol, sizes, points);
  const losses = tensors.losses!;
  const counts = await validate(request, sizes, tensors);
  const scored = points.map((point, g): TrainedLinear => {
    const finite = Number.isFinite(losses[g]!);
    return {
      ...point,
      lastLoss: losses[g]!,
      miou: finite ? miou(counts[g]!) : Number.NaN,
      accuracy: finite ? pixelAccuracy(sumImages(counts[g]!)) : Number.NaN,
    };
  });
  if (losses.every((loss) => !Number.isFinite(loss))) {
    throw new DivergedError('every linear segmentation head diverged: lower the learning rates');
  }
  const best = scored.indexOf(bestOf(scored));
  const model = pointOf(pick(tensors, predictionState), best, sizes);
  const one = { ...sizes, points: 1 };
  return {
    head: 'linear',
    grid: scored,
    selected: points[best]!,
    refit: false,
    notes: ['linear: kept as it was trained, without a refit on the validation images'],
    model,
    async *predict(set) {
      const all = Int32Array.from({ length: set.images }, (_, i) => i);
      for await (const [labels] of predictions(engine, set, all, one, model)) yield labels!;
    },
  };
}

const pick = (from: Readonly<Record<string, Float32Array>>, names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, from[name]!]));

/** Steps done, and every tensor by name. */
interface TrainingState {
  readonly step: number;
  readonly tensors: Readonly<Record<string, Float32Array>>;
}

/** Trains all heads, or goes on with a saved training. The tensors are the program's state and `losses` [G] of the last step. */
async function trainLinear(
  request: LinearRequest,
  protocol: LinearProtocol,
  sizes: LinearSizes,
  points: readonly LinearPoint[],
): Promise<TrainingState> {
  const { train, split, seed, ignore, state } = request;
  const { batch, steps, betas, eps } = protocol;
  const saved = await state?.load(STATE);
  let now: TrainingState = saved
    ? { step: Number(saved.values.step), tensors: saved.tensors }
    : {
        step: 0,
        tensors: {
          ...initialLinear(sizes, { seed, std: protocol.init_std }),
          losses: new Float32Array(points.length),
        },
      };
  if (now.step === steps) return now;
  const optimiser = { beta1: betas[0], beta2: betas[1], eps };
  const draw = sampler(split.train.length, batch, seed);
  const decay = Float32Array.from(points, (p) => p.weightDecay);
  const executable = await request.engine.load(linearStepProgram(sizes, { batch, optimiser }));
  let { losses, ...tensors } = now.tensors as { losses: Float32Array } & TrainingState['tensors'];
  const save = async (step: number): Promise<void> => {
    now = { step, tensors: { ...(await executable.getState()), losses } };
    await state?.save(STATE, { values: { step }, tensors: now.tensors });
  };
  try {
    executable.setState(tensors);
    let savedAt = performance.now();
    let features: Float32Array | undefined; // of one batch after another
    let labels: Uint8Array | undefined;
    for (let step = now.step; step < steps; step++) {
      if (request.signal?.aborted) {
        await save(step);
        throw new InterruptedError(`the linear segmentation heads stopped after ${step} of ${steps} steps`);
      }
      const chosen = draw(step).map((i) => split.train[i]!);
      features = await gather(train.features, chosen, sizes, features);
      labels = await gather(train.labels, chosen, sizes, labels);
      const shape = scheduleShape(step, steps, protocol.warmup_steps, 0);
      const { correction1, rootCorrection2 } = adamwCorrections(step + 1, optimiser);
      const outputs = await executable.run({
        features,
        ...labelMass(labels, sizes, sizes.classes, ignore),
        lr: Float32Array.from(points, (p) => p.learningRate * shape),
        decay,
        correction1: Float32Array.of(correction1),
        root_correction2: Float32Array.of(rootCorrection2),
      });
      losses = outputs.losses as Float32Array;
      request.onProgress?.('linear: training', (step + 1) / steps);
      if (performance.now() - savedAt > SAVE_EVERY_MS) {
        await save(step + 1);
        savedAt = performance.now();
      }
    }
    await save(steps);
    return now;
  } finally {
    await executable.dispose();
  }
}

/** The rows of some images, one image after another. */
async function gather<T extends Float32Array | Uint8Array>(
  source: RowSource<T>,
  images: Int32Array,
  { rows, columns }: LinearSizes,
  into?: T,
): Promise<T> {
  const patches = rows * columns;
  const size = patches * source.width;
  let out = into;
  for (let i = 0; i < images.length; i++) {
    const values = await source.read(images[i]! * patches, patches);
    out ??= new (values.constructor as new (length: number) => T)(images.length * size);
    out.set(values, i * size);
  }
  return out!;
}

/** Class counts of every validation image, for every grid point. */
async function validate(
  request: LinearRequest,
  sizes: LinearSizes,
  tensors: Readonly<Record<string, Float32Array>>,
): Promise<ImageCounts[]> {
  const { train, split, engine, classes, ignore } = request;
  const { validation } = split;
  const counters = Array.from(
    { length: sizes.points },
    () => new ImageCounter(validation.length, { classes, ignore }),
  );
  let at = 0;
  const heads = pick(tensors, predictionState);
  for await (const labels of predictions(engine, train, validation, sizes, heads)) {
    stopIfAsked(request);
    const truth = await gather(train.labels, validation.subarray(at, at + 1), sizes);
    for (const [g, counter] of counters.entries()) counter.add(truth, labels[g]!);
    at++;
    request.onProgress?.('linear: selection', at / validation.length);
  }
  return counters.map(({ counts }) => counts);
}

/** What every head says of some images of a set, image by image: [points] of labels in patch order. */
async function* predictions(
  engine: Engine,
  set: PatchRows,
  images: Int32Array,
  sizes: LinearSizes,
  heads: Readonly<Record<string, Float32Array>>,
): AsyncGenerator<Uint8Array[]> {
  const count = Math.min(PREDICTION_IMAGES, imagesOfPiece(sizes), images.length);
  if (count === 0) return;
  const order = patchOrder(sizes);
  const executable: Executable = await engine.load(linearPredictionProgram(sizes, count));
  try {
    executable.setState(heads);
    for (let first = 0; first < images.length; first += count) {
      const some = images.subarray(first, first + count);
      const read = await gather(set.features, some, sizes);
      let features = read;
      if (some.length < count) {
        features = new Float32Array((read.length / some.length) * count);
        features.set(read);
      }
      const { labels } = await executable.run({ features });
      for (let i = 0; i < some.length; i++) {
        yield Array.from({ length: sizes.points }, (_, g) => {
          const from = (g * count + i) * order.length;
          return Uint8Array.from(order, (pixel) => labels![from + pixel]!);
        });
      }
    }
  } finally {
    await executable.dispose();
  }
}
