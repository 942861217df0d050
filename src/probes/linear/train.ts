// Trains a stack of linear heads on the patches of stored images, resumably, and asks its heads image by image.

import type { Engine, Program, Values } from '../../engine/program.js';
import { InterruptedError } from '../../errors.js';
import type { RowSource } from '../../features/rows.js';
import { type AdamwOptions, adamwCorrections } from '../../optim/adamw.js';
import { scheduleShape } from '../../optim/schedule.js';
import { sampler } from '../split.js';
import type { EvaluationState } from '../state.js';
import { type LinearProtocol, linearGrid } from './protocol.js';

/** Time between two saved states. */
const SAVE_EVERY_MS = 60_000;

export interface StackTraining {
  readonly engine: Engine;
  /** Training images to draw batches from. */
  readonly images: Int32Array;
  readonly seed: number;
  readonly state?: EvaluationState | undefined;
  readonly signal?: AbortSignal | undefined;
  /** What is being done and the share of it that is done, in [0, 1]. */
  readonly onProgress?: ((text: string, share: number) => void) | undefined;
  /** The head in short, for progress and the name of the state; and the heads in full, for errors. */
  readonly head: string;
  readonly heads: string;
}

/**
 * All grid points of a protocol trained on the same batches, by one program. Batches depend on seed and step alone; the state is saved once a
 * minute, so that a killed training goes on and ends in the same bytes. The tensors are the program's state and `losses` [G] of the last step.
 * @throws InterruptedError when `signal` stops it (after saving)
 */
export async function trainStack(
  { engine, images, seed, state, signal, onProgress, head, heads }: StackTraining,
  protocol: LinearProtocol,
  parts: {
    /** The step of all heads (see stackStepProgram). */
    program(optimiser: AdamwOptions): Program;
    initial(): Record<string, Float32Array>;
    /** What the program reads of the images of a batch, `step` counted from 0. */
    inputs(batch: Int32Array, step: number): Promise<Record<string, Values>>;
  },
): Promise<Record<string, Float32Array>> {
  const { batch, steps, betas, eps } = protocol;
  const points = linearGrid(protocol);
  const name = `${head}/training`;
  const saved = await state?.load(name);
  const start = saved?.tensors ?? { ...parts.initial(), losses: new Float32Array(points.length) };
  const first = saved ? Number(saved.values.step) : 0;
  if (first === steps) return start;
  const optimiser = { beta1: betas[0], beta2: betas[1], eps };
  const draw = sampler(images.length, batch, seed);
  const decay = Float32Array.from(points, (p) => p.weightDecay);
  const executable = await engine.load(parts.program(optimiser));
  let { losses, ...tensors } = start as { losses: Float32Array } & Record<string, Float32Array>;
  const save = async (step: number): Promise<Record<string, Float32Array>> => {
    const now = { ...(await executable.getState()), losses };
    await state?.save(name, { values: { step }, tensors: now });
    return now;
  };
  try {
    executable.setState(tensors);
    let savedAt = performance.now();
    for (let step = first; step < steps; step++) {
      if (signal?.aborted) {
        await save(step);
        throw new InterruptedError(`the ${heads} stopped after ${step} of ${steps} steps`);
      }
      const chosen = draw(step).map((i) => images[i]!);
      const shape = scheduleShape(step, steps, protocol.warmup_steps, 0);
      const { correction1, rootCorrection2 } = adamwCorrections(step + 1, optimiser);
      const outputs = await executable.run({
        ...(await parts.inputs(chosen, step)),
        lr: Float32Array.from(points, (p) => p.learningRate * shape),
        decay,
        correction1: Float32Array.of(correction1),
        root_correction2: Float32Array.of(rootCorrection2),
      });
      losses = outputs.losses as Float32Array;
      onProgress?.(`${head}: training`, (step + 1) / steps);
      if (performance.now() - savedAt > SAVE_EVERY_MS) {
        await save(step + 1);
        savedAt = performance.now();
      }
    }
    return await save(steps);
  } finally {
    await executable.dispose();
  }
}

/** The rows of some images, `patches` each, one image after another; into `into`, where there is one of their size. */
export async function gatherImages<T extends Float32Array | Uint8Array>(
  source: RowSource<T>,
  images: Int32Array,
  patches: number,
  into?: T,
): Promise<T> {
  const size = patches * source.width;
  let out = into;
  for (let i = 0; i < images.length; i++) {
    const values = await source.read(images[i]! * patches, patches);
    out ??= new (values.constructor as new (length: number) => T)(images.length * size);
    out.set(values, i * size);
  }
  return out!;
}

/**
 * What every head of a stack says of some images, image by image: [points] of the `said` of a stackPredictionProgram, good until the next.
 * `program` is asked for that of so many images, at most `most`.
 */
export async function* askStack(
  engine: Engine,
  features: RowSource,
  images: Int32Array,
  patches: number,
  {
    most,
    points,
    heads,
    program,
  }: {
    most: number;
    points: number;
    heads: Readonly<Record<string, Float32Array>>;
    program(images: number): Program;
  },
): AsyncGenerator<(Float32Array | Int32Array)[]> {
  const count = Math.min(most, images.length);
  if (count === 0) return;
  const executable = await engine.load(program(count));
  try {
    executable.setState(heads);
    for (let first = 0; first < images.length; first += count) {
      const some = images.subarray(first, first + count);
      const read = await gatherImages(features, some, patches);
      let batch = read;
      if (some.length < count) {
        batch = new Float32Array((read.length / some.length) * count);
        batch.set(read);
      }
      const said = (await executable.run({ features: batch })).said!;
      const length = said.length / points / count;
      for (let i = 0; i < some.length; i++) {
        yield Array.from({ length: points }, (_, g) => {
          const from = (g * count + i) * length;
          return said.subarray(from, from + length);
        });
      }
    }
  } finally {
    await executable.dispose();
  }
}
