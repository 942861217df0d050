// What segmentation heads read and give: patch features and pixel labels of sets of images, selection, and predictions image by image.
import type { Engine } from '../../engine/program.js';
import type { RowSource } from '../../features/rows.js';
import type { ConfusionMatrix, ImageCounts } from '../../scores/confusion.js';

/** Images of one set as an encoder sees them, in memory or in files. */
export interface PatchRows {
  readonly images: number;
  /** [images * patches, width]: patches row by row. */
  readonly features: RowSource;
  /** [images * patches, patch * patch]: the pixel labels of each patch, row by row. */
  readonly labels: RowSource<Uint8Array>;
}

/** Keeps what a killed evaluation need not do again; pieces have names. */
export interface HeadState {
  load(name: string): Promise<Uint8Array | undefined>;
  save(name: string, bytes: Uint8Array): Promise<void>;
}

export interface SegmentationRequest {
  readonly engine: Engine;
  readonly train: PatchRows;
  /** Images of `train` to learn from and to select on, ascending. */
  readonly split: { readonly train: Int32Array; readonly validation: Int32Array };
  readonly grid: { readonly rows: number; readonly columns: number };
  readonly patch: number;
  /** Label ids run from 0 to classes - 1. */
  readonly classes: number;
  /** Ids that are neither learnt nor scored; they may lie beyond the classes. */
  readonly ignore: readonly number[];
  readonly seed: number;
  /** Test sets, opened after every selection is done. */
  readonly tests: readonly { readonly name: string; open(): Promise<PatchRows> }[];
  readonly state?: HeadState;
  readonly signal?: AbortSignal;
  readonly onProgress?: (text: string, share: number) => void;
}

/** A head that is chosen and fitted. */
export interface SelectedHead {
  readonly head: 'knn' | 'logreg' | 'linear';
  readonly selected: Readonly<Record<string, number | string>>;
  /** Grid points with `miou` (the protocol's convention) and `accuracy` on the validation images. */
  readonly grid: readonly Readonly<Record<string, unknown>>[];
  /** Whether it was fitted again on all training images after selection. */
  readonly refit: boolean;
  readonly notes: readonly string[];
  /** Labels of every pixel of every image, in order: [patches * patch * patch] in patch order. */
  predict(set: PatchRows): AsyncGenerator<Uint8Array>;
}

/** Pixels of a test set by truth and prediction. */
export interface TestCounts {
  readonly counts: ImageCounts;
  readonly confusion: ConfusionMatrix;
}

/** One head's selection and what it said of each test set, by name. */
export interface SegmentationResult extends Omit<SelectedHead, 'predict'> {
  readonly tests: Readonly<Record<string, TestCounts>>;
}
