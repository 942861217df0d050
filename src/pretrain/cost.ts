// What a step costs, without running it: its graph traced and counted.
import { type Config, inParts } from '../config/index.js';
import { graphCost } from '../engine/graph/cost.js';
import { optimise } from '../engine/graph/passes/index.js';
import { trace } from '../engine/graph/trace.js';
import { elements, type Program } from '../engine/program.js';
import { UsageError } from '../errors.js';
import { IMAGENET } from '../images/index.js';
import { gib, machineMemory } from '../model/memory.js';
import { isRope, studentShapes } from '../model/parameters.js';
import { modelSizes } from '../model/sizes.js';
import { stateShapes } from './state.js';
import { stepProgram } from './step.js';

/** Floating-point operations of one training step, optimisers and teacher included. The pixel statistics change constants, not the graph. */
export function stepFlop(config: Config): number {
  return graphCost(optimise(trace(stepProgram(inParts(config, 1), IMAGENET)))).flop;
}

/** Trained parameters of the student: encoder, predictor and head. */
export function parameterCount(config: Config): number {
  return Object.entries(studentShapes(modelSizes(config)))
    .filter(([name]) => !isRope(name))
    .reduce((n, [, shape]) => n + elements(shape), 0);
}

/** What a training step keeps in memory, in MiB. */
export interface StepMemory {
  parameters_mib: number;
  /** Parameters, teacher and moments, before and after a step. */
  state_mib: number;
  /** The most of what lies between, where the engine knows it beforehand. */
  activations_mib: number | null;
}

export function stepMemory(
  config: Config,
  program: Program,
  activationBytes: number | undefined,
): StepMemory {
  const mib = (bytes: number): number => Number((bytes / 2 ** 20).toPrecision(4));
  const state = program.state.reduce((n, name) => n + 4 * elements(program.inputs[name]!.shape), 0);
  return {
    parameters_mib: mib(4 * parameterCount(config)),
    state_mib: mib(2 * state),
    activations_mib: activationBytes === undefined ? null : mib(activationBytes),
  };
}

/** The line that a run begins with. */
export function memoryLine(m: StepMemory, program: Program): string {
  const { images = 0, atOnce = 0 } = program.batch ?? {};
  const activations =
    m.activations_mib === null
      ? 'activations not known beforehand'
      : `activations ${m.activations_mib} MiB at their peak (${atOnce === images ? 'the whole batch' : `${atOnce} of ${images} images`} at a time)`;
  return `memory: parameters ${m.parameters_mib} MiB, state ${m.state_mib} MiB (before and after a step), ${activations}`;
}

/**
 * Refuses a run that cannot fit: what it holds at the very least is its state (parameters, teacher, moments) and the pixels of one batch.
 * @throws UsageError naming both and the machine's memory
 */
export function checkMemory(config: Config, machine = machineMemory()): void {
  const s = modelSizes(config);
  const state = checkpointBytes(config);
  const pixels = 3 * config.train.batch * s.height * s.width;
  if (state + pixels <= machine) return;
  throw new UsageError(
    `the run needs at least ${gib(state + pixels)} of memory (${gib(state)} of state at model.width ${config.model.width}, depth ${config.model.depth} and clustering.prototypes ${config.clustering.prototypes}; ${gib(pixels)} for the pixels of train.batch ${config.train.batch}), and this machine has ${gib(machine)}: lower them`,
  );
}

/** Bytes of a checkpoint. */
export function checkpointBytes(config: Config): number {
  return 4 * Object.values(stateShapes(config)).reduce((n, shape) => n + elements(shape), 0);
}
