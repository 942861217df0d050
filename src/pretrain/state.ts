// The state of a run: its first values, what a checkpoint holds of it, and reading that back.

import type { StoredTensor } from '../base/safetensors.js';
import { readCheckpoint } from '../checkpoint/file.js';
import type { CheckpointFile } from '../checkpoint/folder.js';
import { type Config, identityDifferences } from '../config/index.js';
import { type Executable, elements, type Program } from '../engine/program.js';
import { DataError, UsageError } from '../errors.js';
import { allShapes, initialTensors, isRope, optimiserShapes, ropeFrequencies } from '../model/parameters.js';
import { modelSizes } from '../model/sizes.js';
import { isEngineSetting, type RunIdentity } from './run_folder.js';

/** Parameters (student, EMA, clustering layer) and optimiser moments by name, row-major. */
export type RunState = Record<string, Float32Array>;

/** Shapes of everything that a checkpoint holds. */
export function stateShapes(config: Config): Record<string, number[]> {
  const s = modelSizes(config);
  return { ...allShapes(s), ...optimiserShapes(s) };
}

/** The state before the first step, tensor by tensor: the official initialisation, moments of zero. */
export function* startTensors(config: Config): Generator<[name: string, values: Float32Array]> {
  yield* initialTensors(modelSizes(config), config.seed);
  for (const [name, shape] of Object.entries(optimiserShapes(modelSizes(config))))
    yield [name, new Float32Array(elements(shape))];
}

/** All of `startTensors`. */
export const startState = (config: Config): RunState => Object.fromEntries(startTensors(config));

/**
 * Hands `tensors` to a program one by one, so that none is held twice for long, and the event loop turns between them: a large model has
 * billions of values. Returns those that are none of its state.
 */
export async function setTensors(
  executable: Executable,
  program: Program,
  tensors: Iterable<[name: string, values: Float32Array]>,
): Promise<RunState> {
  const others: RunState = {};
  const own = new Set(program.state);
  for (const [name, values] of tensors) {
    if (own.has(name)) executable.setState({ [name]: values });
    else others[name] = values;
    await new Promise(setImmediate);
  }
  return others;
}

/**
 * The state of a checkpoint of this run.
 * @throws DataError when the file is damaged or does not fit the model, UsageError naming the keys that differ when it is of another run
 */
export async function readState(file: CheckpointFile, config: Config, run: RunIdentity): Promise<RunState> {
  const { path } = file;
  const { tensors, step, meta } = await readCheckpoint(path);
  if (step !== file.step) {
    throw new DataError(`${path} holds step ${step}, not what its name says: give it its own name back`);
  }
  const differences = identityDifferences((meta.config ?? {}) as RunIdentity['canonical'], run.canonical);
  const others = differences.filter((d) => !isEngineSetting(d));
  if (others.length > 0) {
    throw new UsageError(
      `${path} is of another run; what differs: ${others.join('; ')}. Take it out of this folder, or choose another folder with --out`,
      { differences: others },
    );
  }
  const { ropeMin, ropeMax } = modelSizes(config);
  const state: RunState = {};
  for (const [name, shape] of Object.entries(stateShapes(config))) {
    const t = tensors.get(name);
    if (!t || t.shape.join() !== shape.join() || !(t.data instanceof Float32Array)) {
      throw new DataError(
        `${path} does not fit the model: ${name} should be float32 [${shape}], it is ${t ? `${t.dtype} [${t.shape}]` : 'missing'}`,
      );
    }
    const values = t.data;
    const fixed = isRope(name) ? ropeFrequencies(shape[1]!, ropeMin, ropeMax) : [];
    if (fixed.some((v, i) => Math.abs(v - values[i]!) > 1e-4 * Math.abs(v))) {
      throw new DataError(
        `${path}: ${name} differs from the frequencies that model.rope_min and rope_max give`,
      );
    }
    state[name] = values;
  }
  return state;
}

/**
 * What a checkpoint of this state holds: its bytes depend on the state and the identity alone. `pixels` are the statistics of the
 * training images, where those normalise.
 */
export function checkpointOf(
  state: RunState,
  config: Config,
  run: RunIdentity,
  pixels?: { mean: number[]; std: number[] },
): { tensors: Map<string, StoredTensor>; meta: Record<string, unknown> } {
  const tensors = new Map<string, StoredTensor>();
  for (const [name, shape] of Object.entries(stateShapes(config))) {
    tensors.set(name, { dtype: 'F32', shape, data: state[name]! });
  }
  const meta = {
    identity: run.hash,
    config: run.canonical,
    seed: config.seed,
    ...(pixels ? { pixels } : {}),
  };
  return { tensors, meta };
}

/** The first tensor that holds NaN or infinity: such a state must not become a checkpoint. */
export function notFinite(state: RunState): string | undefined {
  return Object.keys(state).find((name) => !state[name]!.every(Number.isFinite));
}
