// The contract of a probe task: all that classification, segmentation and every other evaluation of a frozen encoder say of themselves.
import type { z } from 'zod';
import type { FrozenEncoder } from '../encoder/frozen.js';
import type { Engine } from '../engine/program.js';
import type { ImageSource } from '../images/index.js';
import type { EvaluationRecord } from '../results/record.js';
import type { EvaluationData, InputTransform, MapKind, Watch } from './dataset.js';
import type { Entries } from './entries.js';
import type { Predictions } from './predictions.js';
import type { EvaluationState } from './state.js';
import { TASKS, type TaskName } from './tasks.js';

/** What every part of a protocol file has. */
export interface TaskSettings {
  /** Input side in pixels; null: the encoder's own size. */
  readonly transform: { readonly image_size: number | null };
}

/** The images of an evaluation: the same for all encoders, generated ones at the first one's size. */
export interface Sets {
  readonly train: EvaluationData;
  readonly tests: readonly { readonly name: string; readonly data: EvaluationData }[];
}

/** Places of the training images, both ascending: those to learn from while a setting is chosen, and those it is chosen on. */
export interface Split {
  readonly train: Int32Array;
  readonly validation: Int32Array;
  /** Seed of the choice. */
  readonly seed: number;
}

/** A probe task; its folder exports one as `task`. */
export interface ProbeTask<S extends TaskSettings> {
  /** Its part of a protocol file. Nothing in it has a default: a file says all that its numbers depend on. */
  readonly settings: z.ZodType<S>;
  /** Maps of pixels that it reads beside the images. */
  readonly maps?: MapKind;
  /** What it does with test images that are among the training images, in words, where they do not tell it the answer: they are refused otherwise. */
  readonly overlap?: string;
  /** Throws DataError where a source lacks what the task learns from or is scored by. */
  checkSource?(source: ImageSource): void;
  /** Throws DataError where sets do not mean the same, as far as is known without reading their files. */
  checkSets?(sets: Sets): void;
  /** The same where files have to be read. */
  checkFiles?(sets: Sets): Promise<void>;
  /** What is said of its labels beside every score. */
  notes?(sets: Sets): string[];
  /** How an image becomes the input of an encoder. */
  transform(settings: S): InputTransform;
  /** Chooses the images of selection. @throws UsageError for too few, DataError for labels that nothing learns from */
  split(train: EvaluationData, settings: S): Split;
  /** What the protocol card says beside the settings, in words: everything that decides its numbers. */
  card(
    settings: S,
    encoder: FrozenEncoder,
  ): {
    readonly transform: string;
    readonly features: readonly string[];
    readonly selection: string;
    readonly metrics: readonly string[];
  };
  /** What its heads will take. */
  cost(request: CostRequest<S>): Cost;
  /** Selects every head before any test set is opened, then scores each test set once. @throws DataError, InterruptedError; the same request goes on */
  run(request: ProbeRequest<S>): Promise<Entries>;
  /** What else the scores of a test set are counted by, in words; two records are paired where it is equal. */
  countedBy(record: EvaluationRecord, predictions: Predictions, test: number): Record<string, string>;
}

export interface CostRequest<S> {
  readonly settings: S;
  readonly encoder: FrozenEncoder;
  readonly sets: Sets;
  /** Bytes that features may take. */
  readonly memory: number;
}

export interface Cost {
  /** Multiplications and additions of the heads. */
  readonly operations: number;
  /** At their peak. */
  readonly bytes: number;
  /** Images that go through the encoder beside those of the store: crops. */
  readonly crops?: number;
}

/** A named set of images; `reading` is called once, before its first image is scored. */
export interface TestData {
  readonly name: string;
  readonly data: EvaluationData;
  reading(): Promise<void>;
}

export interface ProbeRequest<S> {
  readonly engine: Engine;
  readonly encoder: FrozenEncoder;
  readonly protocol: S;
  readonly train: EvaluationData;
  readonly tests: readonly TestData[];
  readonly split: Pick<Split, 'train' | 'validation'>;
  readonly seed: number;
  /** Folder of the feature store. */
  readonly store: string;
  /** Bytes of features that may be held. */
  readonly memory: number;
  readonly state: EvaluationState;
  readonly watch?: Watch & { onStage?: (stage: string, done: number, total: number) => void };
}

/** Loads a task. */
export async function loadTask(name: TaskName): Promise<ProbeTask<TaskSettings>> {
  return (await TASKS[name].load()).task;
}
