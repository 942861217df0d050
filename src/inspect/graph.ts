// What `capi inspect graph` does: traces a program of a config, and prints its cost by kernel or its text.
import { existsSync } from 'node:fs';
import Table from 'cli-table3';
import { writeText } from '../base/files/write.js';
import { type Config, checkSizes, loadConfig, patchCounts } from '../config/index.js';
import { encoderProgram } from '../encoder/program.js';
import { type GraphCost, graphCost } from '../engine/onnx/cost.js';
import { printGraph } from '../engine/onnx/ir.js';
import { activationBytes } from '../engine/onnx/memory.js';
import { optimise } from '../engine/onnx/passes/index.js';
import { trace } from '../engine/onnx/trace.js';
import { elements, type Program } from '../engine/program.js';
import { UsageError } from '../errors.js';
import { isRope, studentShapes } from '../model/parameters.js';
import { modelSizes } from '../model/sizes.js';
import { microBatches } from '../pretrain/prepare.js';
import { stepProgram } from '../pretrain/step.js';
import { type ConfigFlagValues, overridesOf } from '../cli/config_flags.js';

export interface InspectFlags extends ConfigFlagValues {
  preset: string;
  program: 'step' | 'encoder';
  batch?: number;
  raw: boolean;
  ir: boolean;
  out?: string;
  force: boolean;
  log(text: string): void;
}

/** Micro-batches repeat the same nodes: more than these add nothing to read, and a large batch would be cut into 64. */
const MOST_PARTS = 4;
/** Any values do: they change constants, not the graph. */
const PIXELS = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

interface Parts {
  teacher: number;
  student: number;
}

/** What --json prints. MB are 10^6 bytes. */
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
  /** The text of the graph, or the file that holds it. */
  ir?: string;
}

/** @throws UsageError for a config that cannot run, or a file that exists */
export async function inspectGraph(flags: InspectFlags): Promise<GraphReport> {
  if (flags.out && !flags.force && existsSync(flags.out)) {
    throw new UsageError(`${flags.out} exists: name another file with --out, or overwrite it with --force`);
  }
  const { program, config, source, batch, parts } = inspectedProgram(flags);
  const traced = trace(program);
  const graph = flags.raw ? traced : optimise(traced);
  const text = flags.ir ? printGraph(graph) : undefined;
  if (text !== undefined && flags.out) await writeText(flags.out, text);
  const report: GraphReport = {
    program: program.name,
    config: source,
    batch,
    ...(parts ? { micro_batches: parts } : {}),
    passes: !flags.raw,
    parameters: count(
      Object.entries(studentShapes(modelSizes(config))).flatMap(([name, shape]) =>
        isRope(name) ? [] : [shape],
      ),
    ),
    state_mb: (4 * count(program.state.map((name) => program.inputs[name]!.shape))) / 1e6,
    activations_mb: activationBytes(graph) / 1e6,
    ...costOf(graphCost(graph)),
    ...(text === undefined ? {} : { ir: flags.out ?? text }),
  };
  if (text !== undefined && !flags.out) flags.log(text.trimEnd());
  else flags.log(reportText(report, program));
  return report;
}

/** The program that the flags of `capi inspect` name, with the config that it is of. @throws UsageError for a config that cannot run */
export function inspectedProgram(
  flags: ConfigFlagValues & { preset: string; program: 'step' | 'encoder'; batch?: number },
): {
  program: Program;
  config: Config;
  source: string;
  batch: number;
  parts: { shown: Parts; run: Parts } | undefined;
} {
  const step = flags.program === 'step';
  const { config, source } = loadConfig({
    preset: flags.preset,
    sets: flags.set,
    overrides: { ...overridesOf(flags), ...(step ? { 'train.batch': flags.batch } : {}) },
  });
  checkSizes(config);
  const batch = step ? config.train.batch : (flags.batch ?? 1);
  const parts = step ? partsOf(config) : undefined;
  const program = step
    ? stepProgram(config, {
        ...PIXELS,
        teacherMicroBatches: parts!.shown.teacher,
        studentMicroBatches: parts!.shown.student,
      })
    : encoderProgram(modelSizes(config), { batch, ...PIXELS });
  return { program, config, source, batch, parts };
}

const count = (shapes: number[][]): number => shapes.reduce((n, shape) => n + elements(shape), 0);

/** The micro-batches that a run would take, and those of the graph to show. */
function partsOf(config: Config): { shown: Parts; run: Parts } {
  const s = modelSizes(config);
  const { name, device } = config.engine;
  const engine = { name: name === 'auto' ? 'onnx' : name, device: device === 'auto' ? 'cpu' : device };
  const run = microBatches(config, engine, {
    teacher: s.registers + s.patches,
    student: s.registers + patchCounts(config).visible,
  });
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

/** Three significant digits, and whole numbers in groups of three. */
function short(x: number): string {
  if (x >= 100) return Math.round(x).toLocaleString('en-US');
  if (x === 0) return '0';
  return x < 0.001 ? '<0.001' : x.toPrecision(3).slice(0, 5).replace(/\.$/, '');
}

function reportText(r: GraphReport, program: Program): string {
  const table = new Table({
    head: ['kernel', 'nodes', 'GFLOP', '%', 'MB'],
    colAligns: ['left', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
    chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' }, // no rules between rows
  });
  const share = (gflop: number): string => ((100 * gflop) / (r.gflop || 1)).toFixed(1);
  for (const k of r.kernels) {
    table.push([k.kernel, k.nodes.toLocaleString('en-US'), short(k.gflop), share(k.gflop), short(k.mb)]);
  }
  table.push(['total', r.nodes.toLocaleString('en-US'), short(r.gflop), share(r.gflop), short(r.mb)]);
  const lines = [
    `${program.name} of ${r.config}, ${r.batch.toLocaleString('en-US')} image${r.batch === 1 ? '' : 's'} at once`,
    ...(r.micro_batches ? [microBatchLine(r.micro_batches)] : []),
    `${short(r.parameters / 1e6)} M parameters, ${short(r.state_mb)} MB of state, ${short(r.activations_mb)} MB of activations at their peak; ${r.passes ? 'after the passes of the onnx engine' : 'as traced, before any pass'}`,
    table.toString(),
    `${short(r.gflop / r.batch)} GFLOP an image, ${share(r.product_gflop)} % of them in matrix products`,
    ...(r.ir === undefined ? [] : [`graph written to ${r.ir}`]),
  ];
  return lines.join('\n');
}

function microBatchLine({ shown, run }: { shown: Parts; run: Parts }): string {
  const same = shown.teacher === run.teacher && shown.student === run.student;
  const rest = same ? '' : ` (a run would take ${run.teacher} and ${run.student})`;
  return `micro-batches: ${shown.teacher} of the teacher, ${shown.student} of the student${rest}`;
}
