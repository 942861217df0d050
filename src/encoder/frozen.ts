// A frozen encoder, whoever trained it: what probes and pictures read, and nothing else of a model. Opened by open_frozen.ts.

/** Features of one batch of images, row-major copies. */
export interface FrozenFeatures {
  /** [batch, globalWidth]; absent where the encoder has no global vector. */
  readonly global?: Float32Array;
  /** [batch, registers.count, registers.width]; absent where it has none. */
  readonly registers?: Float32Array;
  /** [batch, rows * columns, patchWidth], patches row by row. */
  readonly patches: Float32Array;
}

/** A frozen encoder at one input size. */
export interface FrozenEncoder {
  /** Canonical text that opens it again: a path, `random:PRESET`, `pixels:`… */
  readonly name: string;
  readonly kind: 'capi' | 'onnx' | 'random' | 'pixels' | 'position';
  /** SHA-256 over everything that decides its features but the images: weights, adapter, seed. */
  readonly weightsHash: string;
  /** Input in pixels. */
  readonly size: { readonly height: number; readonly width: number };
  readonly patch: number;
  readonly grid: { readonly rows: number; readonly columns: number };
  /** Channel mean and standard deviation (scale 0 to 1) that it applies itself: callers hand over bytes. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly patchWidth: number;
  /** null where there is no global vector. */
  readonly globalWidth: number | null;
  /** null where there are no registers. */
  readonly registers: { readonly count: number; readonly width: number } | null;
  /** Images that one call of `run` takes. */
  readonly batch: number;
  /** Threads of the processor that `run` keeps busy; absent where the work is done elsewhere, or hardly any. */
  readonly threads?: number;
  /** What to say of it beside its scores, such as which model of its file was taken. */
  readonly notes?: readonly string[];
  /** RGB bytes [batch, height, width, 3] to features. */
  run(images: Uint8Array): Promise<FrozenFeatures>;
  close(): Promise<void>;
}
