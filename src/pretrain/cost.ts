// What a step costs, without running it: its graph traced and counted.
import type { Config } from '../config/index.js';
import { graphCost } from '../engine/onnx/cost.js';
import { optimise } from '../engine/onnx/passes/index.js';
import { trace } from '../engine/onnx/trace.js';
import { elements } from '../engine/program.js';
import { IMAGENET } from '../images/index.js';
import { isRope, studentShapes } from '../model/parameters.js';
import { modelSizes } from '../model/sizes.js';
import { stateShapes } from './state.js';
import { stepProgram } from './step.js';

/** Floating-point operations of one training step, optimisers and teacher included. The pixel statistics change constants, not the graph. */
export function stepFlop(config: Config): number {
  return graphCost(optimise(trace(stepProgram(config, IMAGENET)))).flop;
}

/** Trained parameters of the student: encoder, predictor and head. */
export function parameterCount(config: Config): number {
  return Object.entries(studentShapes(modelSizes(config)))
    .filter(([name]) => !isRope(name))
    .reduce((n, [, shape]) => n + elements(shape), 0);
}

/** Bytes of a checkpoint. */
export function checkpointBytes(config: Config): number {
  return 4 * Object.values(stateShapes(config)).reduce((n, shape) => n + elements(shape), 0);
}
