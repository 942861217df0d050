// Segmentation by logistic regression on frozen patch features: C chosen on a part of the training images, scored once on the test images.

import { stream } from '../base/random.js';
import {
  type ConfusionMatrix,
  classCounts,
  classIou,
  confusionMatrix,
  type ImageCounts,
  imageCounts,
  meanIou,
  pixelAccuracy,
} from '../scores/confusion.js';
import { fitLogistic, type LogisticModel, predictLogistic } from '../solvers/logistic.js';
import type { LabelledFeatures } from '../solvers/softmax_loss.js';
import { fitStandardiser, standardise } from '../solvers/standardise.js';
import { type MapSize, modalLabels, patchPixels } from './seg/patch_labels.js';

/** The official grid: eight values, evenly spaced in the exponent, from 1e-6 to 1e5. */
export const OFFICIAL_C_GRID: readonly number[] = Array.from(
  { length: 8 },
  (_, i) => 10 ** (-6 + (11 * i) / 7),
);

/** Images of one split as an encoder sees them. */
export interface PatchSet {
  /** [images, patches, channels]: patches row by row. */
  readonly features: Float32Array;
  /** [images, height, width] label ids. */
  readonly labelMaps: Uint8Array;
}

/** A comparison is fair when two encoders are given the same task. */
export interface SegmentationTask {
  readonly train: PatchSet;
  readonly test: PatchSet;
  readonly size: MapSize;
  /** Label ids run from 0 to classes - 1. */
  readonly classes: number;
  /** Label ids that are neither learnt nor scored. */
  readonly ignore: readonly number[];
  readonly cGrid: readonly number[];
  /** Share of the training images on which C is chosen; official: 0.1. */
  readonly validationShare: number;
  /** Seed of the choice of those images. */
  readonly seed: number;
  /** Fit again on all training images with the chosen C before the test, as the official evaluation does. */
  readonly refit: boolean;
}

/** Score of one C on the validation images. */
export interface GridPoint {
  readonly C: number;
  readonly miou: number;
  readonly accuracy: number;
  readonly iterations: number;
  readonly converged: boolean;
}

/** Scores of a task on its test images; mIoU and accuracy lie in [0, 1]. */
export interface SegmentationScore {
  readonly bestC: number;
  /** Official convention. */
  readonly miou: number;
  readonly accuracy: number;
  /** [classes]; NaN for classes that do not occur. */
  readonly classIou: Float64Array;
  readonly confusion: ConfusionMatrix;
  /** Test images one by one, for intervals. */
  readonly perImageConfusion: ImageCounts;
  readonly grid: readonly GridPoint[];
  /** [test images * patches]: the label predicted for each patch. */
  readonly predicted: Int32Array;
  /** The training images on which C was chosen, ascending. */
  readonly validationImages: Int32Array;
}

/**
 * Scores frozen features. Channels are standardised by the images that are neither validation nor test; a patch's label is its most frequent
 * pixel label, patches whose label is ignored are not learnt; the predicted label fills its patch and every pixel is scored.
 * Of equally good values the smallest C wins. Throws RangeError when sizes do not fit, DataError for a label outside of the classes.
 */
export async function scorePatchFeatures(task: SegmentationTask): Promise<SegmentationScore> {
  const train = cut(task.train, task.size);
  const test = cut(task.test, task.size);
  const { validation, rest } = splitImages(train.images, task.validationShare, task.seed);
  const fitting = choose(train, rest);
  const channels = fitting.features.length / fitting.labels.length;
  const standardiser = fitStandardiser(fitting.features, channels);
  const scaled = (set: Patches): Patches => ({ ...set, features: standardise(standardiser, set.features) });
  const samples = learnable(scaled(fitting), task.ignore);
  const held = scaled(choose(train, validation));

  const grid: GridPoint[] = [];
  let best: { point: GridPoint; model: LogisticModel } | undefined;
  let start: LogisticModel | undefined;
  for (const C of [...task.cGrid].sort((a, b) => a - b)) {
    const model = await fitLogistic(samples, C, { start });
    const counts = classCounts(confusionMatrix(held.pixels, predictLogistic(model, held.features), task));
    const { iterations, converged } = model;
    const point = { C, miou: meanIou(counts), accuracy: pixelAccuracy(counts), iterations, converged };
    grid.push(point);
    if (!best || point.miou > best.point.miou) best = { point, model };
    start = model;
  }
  if (!best) throw new RangeError('the grid of C is empty');

  const bestC = best.point.C;
  const model = task.refit
    ? await fitLogistic(learnable(scaled(train), task.ignore), bestC, { start: best.model })
    : best.model;
  const predicted = predictLogistic(model, standardise(standardiser, test.features));
  const confusion = confusionMatrix(test.pixels, predicted, task);
  const counts = classCounts(confusion);
  return {
    bestC,
    miou: meanIou(counts),
    accuracy: pixelAccuracy(counts),
    classIou: classIou(counts),
    confusion,
    perImageConfusion: imageCounts(test.pixels, predicted, test.images, task),
    grid,
    predicted,
    validationImages: validation,
  };
}

/** A split by patches: features [patches, channels], pixels [patches, pixels of a patch] and the label that stands for each patch. */
interface Patches {
  readonly images: number;
  readonly features: Float32Array;
  readonly pixels: Uint8Array;
  readonly labels: Uint8Array;
}

function cut(set: PatchSet, size: MapSize): Patches {
  const images = set.labelMaps.length / (size.height * size.width);
  const pixels = patchPixels(set.labelMaps, size);
  const labels = modalLabels(pixels, size.patch ** 2);
  if (labels.length === 0 || set.features.length % labels.length !== 0) {
    throw new RangeError(`${set.features.length} features do not fit ${labels.length} patches`);
  }
  return { images, features: set.features, pixels, labels };
}

/** A seeded choice of validation images, at least one of each part, both in ascending order. */
function splitImages(images: number, share: number, seed: number) {
  const count = Math.round(share * images);
  if (count < 1 || count >= images) {
    throw new RangeError(
      `a share of ${share} of ${images} training images leaves nothing to choose C on or to learn from`,
    );
  }
  const order = stream(seed, 'validation', images).sample(images, images);
  return { validation: order.slice(0, count).sort(), rest: order.slice(count).sort() };
}

function choose(set: Patches, images: Int32Array): Patches {
  const pick = <T extends Float32Array | Uint8Array>(from: T, out: T): T => {
    const length = from.length / set.images;
    images.forEach((image, i) => {
      out.set(from.subarray(image * length, (image + 1) * length), i * length);
    });
    return out;
  };
  const size = (from: { length: number }) => (from.length / set.images) * images.length;
  return {
    images: images.length,
    features: pick(set.features, new Float32Array(size(set.features))),
    pixels: pick(set.pixels, new Uint8Array(size(set.pixels))),
    labels: pick(set.labels, new Uint8Array(size(set.labels))),
  };
}

/** The patches that are learnt from: those whose label is not ignored. */
function learnable(set: Patches, ignore: readonly number[]): LabelledFeatures {
  const width = set.features.length / set.labels.length;
  const kept = Int32Array.from(set.labels.keys()).filter((i) => !ignore.includes(set.labels[i]!));
  const features = new Float32Array(kept.length * width);
  kept.forEach((from, i) => {
    features.set(set.features.subarray(from * width, (from + 1) * width), i * width);
  });
  return { features, width, labels: Uint8Array.from(kept, (i) => set.labels[i]!) };
}
