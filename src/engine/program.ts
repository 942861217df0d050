// The engine contract: a program is a pure function of named tensors; an engine loads it and runs it.
import type { DEVICE_NAMES, ENGINE_NAMES } from '../config/engines.js';
import type { NamedTensorMap } from '../tensor/tf.js';

export type ProgramDType = 'float32' | 'int32' | 'uint8';
export type Values = Float32Array | Int32Array | Uint8Array;

/** Shape and type of one named tensor that crosses into or out of a program. */
export interface TensorSpec {
  shape: number[];
  dtype: ProgramDType;
}

/**
 * A pure function of named tensors, written in TensorFlow.js ops. No variables, no randomness, no control flow that
 * depends on data: masks, indices, drop-path choices, learning rate and momentum are inputs.
 * `uint8` inputs reach `run` as float32 tensors that hold whole numbers.
 */
export interface Program {
  name: string;
  inputs: Record<string, TensorSpec>;
  /** Inputs that stay inside the engine between runs. An output of the same name is their next value; without one they stay as set. */
  state: string[];
  /** Of a training step: images of the batch, and the most that go through the model at a time. */
  batch?: { images: number; atOnce: number };
  /** Matrix products on factors and with results rounded to it, where not to float32: an engine that cannot refuses. */
  products?: 'bfloat16';
  /** Runs that its user starts at once, where no output is a next state. An engine on the CPU may give each a share of its threads. */
  streams?: number;
  run(inputs: NamedTensorMap): NamedTensorMap;
}

export type Outputs = Record<string, Float32Array | Int32Array>;

/** A program loaded on an engine. Inputs and outputs are flat row-major arrays. */
export interface Executable {
  /** The most bytes that a run holds at once between inputs and outputs, where the engine knows. */
  readonly activationBytes?: number;
  /** Sets state tensors (all of them before the first step). The values are copied. */
  setState(values: Record<string, Values>): void;
  /** A copy of the state tensors named, or of all. */
  getState(names?: string[]): Promise<Record<string, Float32Array>>;
  /**
   * One step: takes the inputs that are not state, returns the outputs that are not state. The new state takes effect
   * unless `accept` looks at the outputs and says no: then the step never happened.
   * @throws EngineError that names the batch when memory runs out
   */
  run(inputs: Record<string, Values>, accept?: (outputs: Outputs) => boolean): Promise<Outputs>;
  dispose(): Promise<void>;
}

export type EngineName = Exclude<(typeof ENGINE_NAMES)[number], 'auto'>;
export type DeviceName = Exclude<(typeof DEVICE_NAMES)[number], 'auto'>;

export interface Engine {
  readonly name: EngineName;
  readonly device: DeviceName;
  /** Threads that one program uses; undefined where the engine does not say. */
  readonly threads?: number;
  readonly version: string;
  /** The engine that runs programs with `fixed` state, where it is another one. */
  readonly extractor?: Pick<Engine, 'name' | 'device' | 'version'>;
  /**
   * `fixed` holds state that never changes, such as the weights of a frozen encoder: the engine may build it into the
   * program, and it can be neither set nor read afterwards.
   */
  load(program: Program, fixed?: Record<string, Values>): Promise<Executable>;
}

export function elements(shape: number[]): number {
  let n = 1;
  for (const d of shape) n *= d;
  return n;
}

/** @throws Error naming program and input when the values are not as many as its shape holds. */
export function checkValues(program: Program, name: string, values: Values): void {
  const { shape } = program.inputs[name]!;
  const n = elements(shape);
  if (values.length === n) return;
  throw new Error(
    `program ${program.name}: ${name} holds ${values.length} values, expected ${n} for shape [${shape}]`,
  );
}

export const neverSet = (program: Program, name: string): Error =>
  new Error(`program ${program.name}: state ${name} was never set`);
