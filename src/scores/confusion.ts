// Counts of true and predicted pixel labels, and the segmentation scores that follow from them.
import { DataError } from '../errors.js';

/** How pixels are counted. */
export interface Counting {
  /** Label ids run from 0 to classes - 1. */
  readonly classes: number;
  /** Ids whose true pixels are left out; they may lie beyond the classes (255, say). */
  readonly ignore: readonly number[];
}

/** Pixels by true and predicted label: [classes, classes], one row a true label; ids are places, whatever `classes` the counting had. */
export interface ConfusionMatrix {
  readonly classes: number;
  readonly counts: Float64Array;
}

/** For every class: pixels that are it and predicted as it, pixels that are it, pixels predicted as it. All scores follow from these. */
export interface ClassCounts {
  readonly hits: Float64Array;
  readonly truth: Float64Array;
  readonly predicted: Float64Array;
}

/** Class counts of every image by itself, [images, classes] each: what a bootstrap over images draws from. */
export interface ImageCounts {
  readonly images: number;
  readonly classes: number;
  readonly hits: Uint32Array;
  readonly truth: Uint32Array;
  readonly predicted: Uint32Array;
}

/**
 * Counts pixels. `truth` lists one label a pixel; `predicted` one label a pixel too, or one for each run of equally many pixels
 * (a patch, when truth is stored patch by patch). Throws DataError for a label that is no class and RangeError when sizes do not fit.
 */
export function confusionMatrix(
  truth: ArrayLike<number>,
  predicted: ArrayLike<number>,
  counting: Counting,
): ConfusionMatrix {
  const counts = new Float64Array(counting.classes ** 2);
  eachPixel(truth, predicted, counting, counting.classes, (_, actual, guess) => {
    counts[actual * counting.classes + guess]!++;
  });
  return { classes: counting.classes, counts };
}

/** Counts pixels of `images` images of equal size, each by itself; see confusionMatrix. */
export function imageCounts(
  truth: ArrayLike<number>,
  predicted: ArrayLike<number>,
  images: number,
  counting: Counting,
): ImageCounts {
  const pixels = truth.length / images;
  if (!Number.isInteger(pixels)) throw new RangeError(`${truth.length} pixels are not ${images} images`);
  const result = noCounts(images, counting.classes);
  eachPixel(truth, predicted, counting, counting.classes, (pixel, actual, guess) => {
    countPixel(result, Math.floor(pixel / pixels), actual, guess);
  });
  return result;
}

/**
 * Counts image by image, and all of them in one confusion matrix. An ignored id may be predicted wherever it lies: when one
 * lies beyond the classes (255), both tables have columns up to it.
 */
export class ImageCounter {
  readonly counts: ImageCounts;
  readonly confusion: ConfusionMatrix;
  private done = 0;

  constructor(
    images: number,
    private readonly counting: Counting,
  ) {
    const columns = Math.max(counting.classes, ...counting.ignore.map((id) => id + 1));
    this.counts = noCounts(images, columns);
    this.confusion = { classes: columns, counts: new Float64Array(columns ** 2) };
  }

  /** The next image; see confusionMatrix for its pixels and errors. */
  add(truth: ArrayLike<number>, predicted: ArrayLike<number>): void {
    const { counts, confusion } = this;
    if (this.done === counts.images) throw new RangeError(`there are only ${counts.images} images to count`);
    eachPixel(truth, predicted, this.counting, counts.classes, (_, actual, guess) => {
      countPixel(counts, this.done, actual, guess);
      confusion.counts[actual * counts.classes + guess]!++;
    });
    this.done++;
  }
}

function noCounts(images: number, classes: number): ImageCounts {
  const make = () => new Uint32Array(images * classes);
  return { images, classes, hits: make(), truth: make(), predicted: make() };
}

function countPixel(counts: ImageCounts, image: number, actual: number, guess: number): void {
  const row = image * counts.classes;
  if (actual === guess) counts.hits[row + actual]!++;
  counts.truth[row + actual]!++;
  counts.predicted[row + guess]!++;
}

/** Hands over the pixels whose truth is not ignored. Predicted ids lie below `columns`. */
function eachPixel(
  truth: ArrayLike<number>,
  predicted: ArrayLike<number>,
  { classes, ignore }: Counting,
  columns: number,
  count: (pixel: number, actual: number, guess: number) => void,
): void {
  const run = truth.length / predicted.length;
  if (!Number.isInteger(run)) {
    throw new RangeError(`${predicted.length} predictions do not fit ${truth.length} pixels`);
  }
  const ignored = new Set(ignore);
  for (let i = 0, pixel = 0; i < predicted.length; i++) {
    const guess = predicted[i]!;
    const known = guess < classes || (guess < columns && ignored.has(guess));
    for (let p = 0; p < run; p++, pixel++) {
      const actual = truth[pixel]!;
      if (ignored.has(actual)) continue;
      if (!(actual < classes && known)) {
        const which = actual < classes ? `predicted label ${guess}` : `label ${actual} of a label map`;
        throw new DataError(
          `${which} is not one of ${classes} classes (0 to ${classes - 1}) and not ignored`,
        );
      }
      count(pixel, actual, guess);
    }
  }
}

/** The class counts of a confusion matrix. */
export function classCounts({ classes, counts }: ConfusionMatrix): ClassCounts {
  const result = emptyCounts(classes);
  for (let actual = 0; actual < classes; actual++) {
    for (let guess = 0; guess < classes; guess++) {
      const pixels = counts[actual * classes + guess]!;
      if (actual === guess) result.hits[actual]! += pixels;
      result.truth[actual]! += pixels;
      result.predicted[guess]! += pixels;
    }
  }
  return result;
}

/** The class counts of all images together. */
export const sumImages = (counts: ImageCounts): ClassCounts =>
  imageAdder(counts)(Int32Array.from({ length: counts.images }, (_, image) => image));

/**
 * Adds up the class counts of chosen images, in arrays that the next call fills anew. Most images show few of the classes, so each keeps a
 * list of its own: a sum costs what the images show, not images times classes.
 */
export function imageAdder(counts: ImageCounts): (chosen: Int32Array) => ClassCounts {
  const { images, classes } = counts;
  const all = new Int32Array(images * classes).map((_, place) => place);
  const places = all.filter((place) => counts.truth[place]! + counts.predicted[place]! > 0);
  const starts = new Int32Array(images + 1);
  for (const place of places) starts[Math.floor(place / classes) + 1]!++;
  for (let image = 0; image < images; image++) starts[image + 1]! += starts[image]!;
  const labels = places.map((place) => place % classes);
  const [hits, truth, predicted] = [counts.hits, counts.truth, counts.predicted].map((values) =>
    Uint32Array.from(places, (place) => values[place]!),
  ) as [Uint32Array, Uint32Array, Uint32Array];
  const sums = emptyCounts(classes);
  return (chosen) => {
    for (const values of Object.values(sums)) values.fill(0);
    for (let i = 0; i < chosen.length; i++) {
      const image = chosen[i]!;
      for (let entry = starts[image]!; entry < starts[image + 1]!; entry++) {
        const label = labels[entry]!;
        sums.hits[label]! += hits[entry]!;
        sums.truth[label]! += truth[entry]!;
        sums.predicted[label]! += predicted[entry]!;
      }
    }
    return sums;
  };
}

function emptyCounts(classes: number): ClassCounts {
  const make = () => new Float64Array(classes);
  return { hits: make(), truth: make(), predicted: make() };
}

/** Intersection over union of every class; NaN for a class that is neither in the truth nor predicted. */
export function classIou({ hits, truth, predicted }: ClassCounts): Float64Array {
  return hits.map((hit, label) => hit / (truth[label]! + predicted[label]! - hit));
}

/**
 * Mean intersection over union, in [0, 1], as the official evaluation has it: over the labels seen in truth or prediction, each with weight 1.
 * A label that is only predicted counts as 0, one that is in neither is left out. NaN when there are no pixels.
 */
export function meanIou({ hits, truth, predicted }: ClassCounts): number {
  let sum = 0;
  let seen = 0;
  for (let label = 0; label < hits.length; label++) {
    const union = truth[label]! + predicted[label]! - hits[label]!;
    if (union === 0) continue;
    sum += hits[label]! / union;
    seen++;
  }
  return sum / seen;
}

/** Share of pixels whose label is predicted, in [0, 1]. NaN when there are no pixels. */
export function pixelAccuracy({ hits, truth }: ClassCounts): number {
  const total = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0);
  return total(hits) / total(truth);
}
