// A program of a config, traced without running it: its cost by kernel, and its text.
import { batchParts, type Config, checkSizes, inParts, loadConfig } from '../config/index.js';
import type { ConfigRequest } from '../config/load.js';
import { encoderProgram } from '../encoder/program.js';
import { type GraphCost, graphCost } from '../engine/graph/cost.js';
import { printGraph } from '../engine/graph/ir.js';
import { activationBytes } from '../engine/graph/memory.js';
import { optimise } from '../engine/graph/passes/index.js';
import { trace } from '../engine/graph/trace.js';
import { elements, type Program } from '../engine/program.js';
import { isRope, studentShapes } from '../model/parameters.js';
import { modelSizes } from '../model/sizes.js';
import { withMicroBatches } from '../pretrain/prepare.js';
import { stepProgram } from '../pretrain/step.js';

/** Which program of a config, and for how many images: by default train.batch for the step, 1 for the encoder. */
export interface ProgramChoice {
  program: 'step' | 'encoder';
  batch?: number;
}

/** Micro-batches repeat the same nodes: more than these add nothing to read, and a large batch would be cut into 64. */
const MOST_PARTS = 4;
/** Any values do: they change constants, not the graph. */
const PIXELS = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

interface Parts {
  teacher: number;
  student: number;
}

/** What a program takes. MB are 10^6 bytes. */
export interface GraphReport {
  program: string;
  config: string;
  /** Images in one run of the program. */
  batch: number;
  /** Of the step: as shown, and as a run would take them. */
  micro_batches?: { shown: Parts; run: Parts };
  passes: boolean;
  /** Of the student: encoder, predictor and head, without the fixed rotary frequencies. */
  parameters: number;
  /** What stays inside the engine between runs. */
  state_mb: number;
  /** The most that a run holds at once between inputs and outputs, node after node. */
  activations_mb: number;
  nodes: number;
  gflop: number;
  product_gflop: number;
  mb: number;
  kernels: { kernel: string; nodes: number; gflop: number; mb: number }[];
}

/**
 * @param options `raw`: the graph as traced, before any pass
 * @returns what it costs, and its text
 * @throws UsageError for a config that cannot run
 */
export function inspectGraph(
  request: ConfigRequest,
  options: ProgramChoice & { raw: boolean },
): { report: GraphReport; ir: string } {
  const { program, config, source, batch, parts } = inspectedProgram(request, options);
  const traced = trace(program);
  const graph = options.raw ? traced : optimise(traced);
  const report: GraphReport = {
    program: program.name,
    config: source,
    batch,
    ...(parts ? { micro_batches: parts } : {}),
    passes: !options.raw,
    parameters: count(
      Object.entries(studentShapes(modelSizes(config))).flatMap(([name, shape]) =>
        isRope(name) ? [] : [shape],
      ),
    ),
    state_mb: (4 * count(program.state.map((name) => program.inputs[name]!.shape))) / 1e6,
    activations_mb: activationBytes(graph) / 1e6,
    ...costOf(graphCost(graph)),
  };
  return { report, ir: printGraph(graph) };
}

/** The program that is chosen, with the config that it is of. @throws UsageError for a config that cannot run */
export function inspectedProgram(
  request: ConfigRequest,
  choice: ProgramChoice,
): {
  program: Program;
  config: Config;
  source: string;
  batch: number;
  parts: { shown: Parts; run: Parts } | undefined;
} {
  const step = choice.program === 'step';
  const { config, source } = loadConfig({
    ...request,
    overrides: { ...request.overrides, ...(step ? { 'train.batch': choice.batch } : {}) },
  });
  checkSizes(config);
  const batch = step ? config.train.batch : (choice.batch ?? 1);
  const parts = step ? partsOf(config) : undefined;
  const program = step
    ? stepProgram(inParts(config, parts!.shown.teacher, parts!.shown.student), PIXELS)
    : encoderProgram(modelSizes(config), { batch, ...PIXELS });
  return { program, config, source, batch, parts };
}

const count = (shapes: number[][]): number => shapes.reduce((n, shape) => n + elements(shape), 0);

/** The micro-batches that a run would take, and those of the graph to show. */
function partsOf(config: Config): { shown: Parts; run: Parts } {
  const { name, device } = config.engine;
  const engine = { name: name === 'auto' ? 'onnx' : name, device: device === 'auto' ? 'cpu' : device };
  const run = batchParts(withMicroBatches(config, engine));
  const fewer = (set: number | null, parts: number): number => {
    if (set !== null || parts <= MOST_PARTS) return parts;
    for (let n = MOST_PARTS; n > 1; n--) if (config.train.batch % n === 0) return n;
    return 1;
  };
  const {
    micro_batch: images,
    teacher_micro_batches: teacher,
    student_micro_batches: student,
  } = config.engine;
  return {
    shown: { teacher: fewer(images ?? teacher, run.teacher), student: fewer(images ?? student, run.student) },
    run,
  };
}

const costOf = (
  cost: GraphCost,
): Pick<GraphReport, 'nodes' | 'gflop' | 'product_gflop' | 'mb' | 'kernels'> => ({
  nodes: cost.nodes,
  gflop: cost.flop / 1e9,
  product_gflop: cost.productFlop / 1e9,
  mb: cost.bytes / 1e6,
  kernels: cost.kernels.map(({ kernel, nodes, flop, bytes }) => ({
    kernel,
    nodes,
    gflop: flop / 1e9,
    mb: bytes / 1e6,
  })),
});
