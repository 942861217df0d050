// The linear segmentation head: trains every grid point on the same batches, selects on the validation images, predicts pixels.

import type { Engine } from '../../engine/program.js';
import { DivergedError } from '../../errors.js';
import { ImageCounter, type ImageCounts, meanIou, pixelAccuracy, sumImages } from '../../scores/confusion.js';
import { type LinearPoint, type LinearProtocol, linearGrid } from '../linear/protocol.js';
import { initialStack, pointOf, predictionState } from '../linear/stack.js';
import { askStack, gatherImages, trainStack } from '../linear/train.js';
import { patchOrder } from '../linear/upsample.js';
import { labelMass } from './label_mass.js';
import { type LinearSizes, linearPiece, linearPredictionProgram, linearStepProgram } from './linear_head.js';
import type { PatchRows, SegmentationRequest, SelectedHead } from './patch_set.js';
import { bestOf, stopIfAsked } from './samples.js';

/** Images of one call of a prediction program at most. */
const PREDICTION_IMAGES = 16;

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
 * best on the validation images after the last step is kept without a refit (see trainStack for batches and resuming). `miou` is the
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
  const width = train.features.width;
  const sizes: LinearSizes = { ...grid, patch, outputs: classes, width, points: points.length };
  const tensors = await trainLinear(request, protocol, sizes);
  const losses = tensors.losses!;
  const heads = Object.fromEntries(predictionState.map((name) => [name, tensors[name]!]));
  const counts = await validate(request, sizes, heads);
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
  const model = pointOf(heads, best, sizes);
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

/** Trains all heads, or goes on with a saved training. */
function trainLinear(request: LinearRequest, protocol: LinearProtocol, sizes: LinearSizes) {
  const { train, split, seed, ignore, engine, state, signal, onProgress } = request;
  const { batch, init_std: std } = protocol;
  const patches = sizes.rows * sizes.columns;
  let features: Float32Array | undefined; // of one batch after another
  let labels: Uint8Array | undefined;
  const training = { engine, images: split.train, seed, state, signal, onProgress };
  return trainStack({ ...training, head: 'linear', heads: 'linear segmentation heads' }, protocol, {
    program: (optimiser) => linearStepProgram(sizes, { batch, optimiser }),
    initial: () => initialStack(sizes, { name: 'linear segmentation head', seed, std }),
    async inputs(chosen) {
      features = await gatherImages(train.features, chosen, patches, features);
      labels = await gatherImages(train.labels, chosen, patches, labels);
      return { features, ...labelMass(labels, sizes, sizes.outputs, ignore) };
    },
  });
}

/** Class counts of every validation image, for every grid point. */
async function validate(
  request: LinearRequest,
  sizes: LinearSizes,
  heads: Readonly<Record<string, Float32Array>>,
): Promise<ImageCounts[]> {
  const { train, split, engine, classes, ignore } = request;
  const { validation } = split;
  const counters = Array.from(
    { length: sizes.points },
    () => new ImageCounter(validation.length, { classes, ignore }),
  );
  let at = 0;
  for await (const labels of predictions(engine, train, validation, sizes, heads)) {
    stopIfAsked(request);
    const truth = await gatherImages(
      train.labels,
      validation.subarray(at, at + 1),
      sizes.rows * sizes.columns,
    );
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
  const order = patchOrder(sizes);
  const said = askStack(engine, set.features, images, sizes.rows * sizes.columns, {
    most: Math.min(PREDICTION_IMAGES, linearPiece(sizes)),
    points: sizes.points,
    heads,
    program: (count) => linearPredictionProgram(sizes, count),
  });
  for await (const labels of said) yield labels.map((all) => Uint8Array.from(order, (pixel) => all[pixel]!));
}
