// What the segmentation heads share: rows of chosen images, labels of patches, standardised features, and rows held where they fit.
import { DataError, InterruptedError, UsageError } from '../../errors.js';
import { chooseRows, type RowSource, type RowValues, rowsInMemory } from '../../features/rows.js';
import { fitStandardiser, type Standardiser, standardisedRows } from '../../solvers/standardise.js';
import { modalLabels } from './patch_labels.js';
import type { GridScore, PatchRows, SegmentationRequest } from './patch_set.js';

/** Rows that are read at a time. */
const BLOCK_ROWS = 4096;
const MEMORY = 512 * 2 ** 20;

/** The training images, prepared once for all heads that learn from one label a patch. */
export interface TrainingPatches {
  /** Patches of an image, and pixels of a patch. */
  readonly patches: number;
  readonly pixels: number;
  /** [images * patches] modal labels of the training images. */
  readonly modal: Uint8Array;
  /** Of the images of `split.train` alone; undefined where the protocol standardises nothing. */
  readonly standardiser: Standardiser | undefined;
  /** Bytes that may be held. */
  readonly memory: number;
  /** Rows of chosen images whose modal label is not ignored: what heads learn from. Throws DataError when there is none. */
  learnable(images: Int32Array): Int32Array;
  /** Chosen training images as a set. */
  choose(images: Int32Array): PatchRows;
  /** Features of a set as heads see them. */
  scaled(features: RowSource): RowSource;
}

/**
 * Checks the request and reads its training images once: labels for the modal label of every patch, and features for the standardiser.
 * Throws UsageError for a split that leaves a part empty, RangeError for sizes that do not fit, InterruptedError.
 */
export async function prepareTraining(
  request: SegmentationRequest,
  standardise: boolean,
): Promise<TrainingPatches> {
  const { train, split, grid, ignore } = request;
  const patches = grid.rows * grid.columns;
  const pixels = request.patch ** 2;
  checkSet(train, patches, pixels);
  if (split.train.length === 0 || split.validation.length === 0) {
    throw new UsageError(
      `${split.train.length} images to learn from and ${split.validation.length} to choose a setting on; at least one of each is needed`,
    );
  }
  const modal = new Uint8Array(train.labels.count);
  const counts = new Float64Array(256);
  for (let first = 0; first < modal.length; first += BLOCK_ROWS) {
    stopIfAsked(request);
    const count = Math.min(BLOCK_ROWS, modal.length - first);
    const labels = await train.labels.read(first, count);
    modal.set(modalLabels(labels, pixels), first);
    for (let i = 0; i < labels.length; i++) counts[labels[i]!]!++;
  }
  request.onTrainingPixels?.(counts);
  const rowsOf = (images: Int32Array): Int32Array => {
    const rows = new Int32Array(images.length * patches);
    for (let i = 0; i < rows.length; i++)
      rows[i] = images[Math.floor(i / patches)]! * patches + (i % patches);
    return rows;
  };
  let standardiser: Standardiser | undefined;
  if (standardise) {
    standardiser = await fitStandardiser(chooseRows(train.features, rowsOf(split.train)), (share) => {
      stopIfAsked(request);
      request.onProgress?.('standardisation', share);
    });
  }
  return {
    patches,
    pixels,
    modal,
    standardiser,
    memory: request.memory ?? MEMORY,
    learnable(images) {
      const rows = rowsOf(images).filter((row) => !ignore.includes(modal[row]!));
      if (rows.length === 0) {
        throw new DataError(`the most frequent label of every patch of ${images.length} images is ignored`);
      }
      return rows;
    },
    choose(images) {
      const rows = rowsOf(images);
      return {
        images: images.length,
        features: chooseRows(train.features, rows),
        labels: chooseRows(train.labels, rows),
      };
    },
    scaled: (features) => (standardiser ? standardisedRows(features, standardiser) : features),
  };
}

/** Throws RangeError when a set is not so many patches of so many pixels. */
export function checkSet({ images, features, labels }: PatchRows, patches: number, pixels: number): void {
  const rows = images * patches;
  if (features.count !== rows || labels.count !== rows || labels.width !== pixels) {
    throw new RangeError(
      `${features.count} rows of features and ${labels.count} of ${labels.width} labels do not fit ${images} images of ${patches} patches of ${pixels} pixels`,
    );
  }
}

/** The same rows, all in memory when they take at most `memory` bytes. */
export async function holdRows<T extends RowValues>(
  source: RowSource<T>,
  memory: number,
): Promise<RowSource<T>> {
  const { count, width } = source;
  let out: T | undefined;
  for (let first = 0; first < count; first += BLOCK_ROWS) {
    const rows = await source.read(first, Math.min(BLOCK_ROWS, count - first));
    if (count * width * rows.BYTES_PER_ELEMENT > memory) return source;
    out ??= (
      rows instanceof Float32Array ? new Float32Array(count * width) : new Uint8Array(count * width)
    ) as T;
    out.set(rows, first * width);
  }
  return out ? rowsInMemory(out, width) : source;
}

/** Throws InterruptedError when the request was told to stop. */
export function stopIfAsked({ signal }: Pick<SegmentationRequest, 'signal'>): void {
  if (signal?.aborted) {
    throw new InterruptedError(
      'the segmentation heads were stopped; the same request goes on with those settings that are done',
    );
  }
}

/** All images of a split, ascending. */
export const allImages = ({ train, validation }: SegmentationRequest['split']): Int32Array =>
  Int32Array.from([...train, ...validation]).sort();

/** The first of the grid points with the largest mIoU. Throws DataError when none has one: no pixel of the validation images counts. */
export function bestOf<P extends GridScore>(grid: readonly P[]): P {
  let found: P | undefined;
  for (const point of grid) {
    // A point that was kept as JSON has null for NaN.
    if (typeof point.miou === 'number' && point.miou > (found?.miou ?? -1)) found = point;
  }
  if (!found) throw new DataError('no pixel of the validation images has a label');
  return found;
}
