// What a segmentation head is given and what it gives back: patches of images, the request, the selected head, its scores.

import type { Engine } from '../../engine/program.js';
import type { RowSource } from '../../features/rows.js';
import type { ConfusionMatrix, ImageCounts } from '../../scores/confusion.js';
import type { EvaluationState } from '../state.js';

/** Images of one set as an encoder sees them, from memory or from files; patches of an image row by row, images one after another. */
export interface PatchRows {
  readonly images: number;
  /** [images * patches, width] */
  readonly features: RowSource;
  /** [images * patches, patch * patch]: label ids of the pixels of every patch, row by row. */
  readonly labels: RowSource<Uint8Array>;
}

export interface SegmentationRequest {
  readonly engine: Engine;
  readonly train: PatchRows;
  /** Images of `train`: those to learn from while a setting is chosen, and those it is chosen on; both ascending, none in both. */
  readonly split: { readonly train: Int32Array; readonly validation: Int32Array };
  /** Patches of an image. */
  readonly grid: { readonly rows: number; readonly columns: number };
  /** Side of a patch in pixels. */
  readonly patch: number;
  /** Label ids run from 0 to classes - 1. */
  readonly classes: number;
  /** Label ids that are neither learnt nor scored; they may lie beyond the classes (255). */
  readonly ignore: readonly number[];
  readonly seed: number;
  /** Opened once, after the last selection of the last head. */
  readonly tests: readonly TestImages[];
  /** Bytes of features or labels that may be held beside what the engine holds. Default 512 MiB. */
  readonly memory?: number;
  readonly state?: EvaluationState;
  readonly signal?: AbortSignal;
  /** Hears once how many pixels of the training images, selection included, have each label id from 0 to 255. */
  readonly onTrainingPixels?: (counts: Float64Array) => void;
  /** What is being done and the share of it that is done, in [0, 1]. */
  readonly onProgress?: (text: string, share: number) => void;
}

export interface TestImages {
  readonly name: string;
  open(): Promise<PatchRows>;
}

/** One setting with its scores on the validation images: `miou` in the convention that selects, and pixel accuracy. */
export interface GridScore {
  readonly [name: string]: number | string | boolean;
  readonly miou: number;
  readonly accuracy: number;
}

/** A head whose setting is chosen and which is fitted for the tests. */
export interface SelectedHead {
  readonly head: 'knn' | 'logreg' | 'linear' | 'oracle';
  readonly grid: readonly GridScore[];
  /** The chosen setting: k and metric, C, or learning rate and weight decay. */
  readonly selected: Readonly<Record<string, number | string>>;
  /** Whether the validation images were learnt from after the selection. */
  readonly refit: boolean;
  /** For the protocol card, where there is something to say. */
  readonly notes: readonly string[];
  /** Predicted label ids image by image, in order: each [patches * patch * patch], patch by patch as PatchRows has them, good until the next. */
  predict(set: PatchRows): AsyncIterable<Uint8Array>;
}

/** What a head said of a test set: image by image, for intervals, and altogether. */
export interface TestCounts {
  readonly counts: ImageCounts;
  readonly confusion: ConfusionMatrix;
}

export interface SegmentationResult extends Omit<SelectedHead, 'predict'> {
  /** By name of the test set. */
  readonly tests: Readonly<Record<string, TestCounts>>;
}
