// What `capi doctor --gpu` does: the steps to a GPU, then a small conformance run and a speed figure on every GPU engine that loads.
import { platform } from 'node:os';
import { stream } from '../base/random.js';
import { parseConfig } from '../config/index.js';
import { encoderParameters, encoderProgram } from '../encoder/program.js';
import { engineText } from '../engine/extractor.js';
import type { Machine } from '../engine/gpu/machine.js';
import { gpuSteps, type Packages, type Step } from '../engine/gpu/steps.js';
import { type Adapter, vulkanAdapters } from '../engine/onnx/adapters.js';
import { cudaLibraries } from '../engine/onnx/session.js';
import {
  type DeviceName,
  type Engine,
  type EngineName,
  elements,
  type Outputs,
  type Program,
  type Values,
} from '../engine/program.js';
import { referenceEngine } from '../engine/reference.js';
import { enginesOnDevices, openEngine, reasonOf } from '../engine/select.js';
import { loadTensorflow, TENSORFLOW_FIX } from '../engine/tensorflow.js';
import { EMA, FIRST_MOMENT, initialParameters } from '../model/parameters.js';
import { modelSizes } from '../model/sizes.js';
import { stepInputs } from '../pretrain/inputs.js';
import { startState } from '../pretrain/state.js';
import { stepProgram } from '../pretrain/step.js';
import { gelu, rmsNorm } from '../tensor/ops/index.js';
import { tf } from '../tensor/tf.js';

/** Two float32 engines differ by some 1e-6; a product in TF32 or float16 by some 1e-3. */
const TOLERANCE = 1e-4;

/** Largest deviations of an engine from the reference engine, each relative to the largest magnitude of its tensor. */
export interface Conformance {
  ops: number;
  /** Losses and gradients of one training step of a tiny CAPI, and the features of its encoder. */
  model: number;
  ok: boolean;
}

export interface GpuRun extends Partial<Conformance> {
  engine: string;
  device: string;
  loads: boolean;
  /** Why it does not load or failed. */
  failure?: string;
  /** The GPUs that WebGPU can take, where Vulkan's own tool is there to name them. */
  adapters?: Adapter[];
  /** Rate of float32 products of `size` x `size` matrices that stay on the device. */
  gflops?: number;
  size?: number;
}

/** What --json prints. */
export interface GpuReport {
  steps: Step[];
  runs: GpuRun[];
  auto: string;
}

/** @param machine another than this one: then nothing is run on it */
export async function doctorGpu(log: (text: string) => void, machine?: Machine): Promise<GpuReport> {
  const packages: Packages = { tensorflow: loadTensorflow(), onnxruntime: cudaLibraries() };
  const steps =
    machine || platform() === 'linux' ? gpuSteps(machine ?? { root: '/', env: process.env }, packages) : [];
  log(stepsText(steps));
  const runs: GpuRun[] = [];
  for (const wanted of enginesOnDevices().reverse()) {
    if (wanted.device === 'cpu') continue;
    const run = await runOn(wanted);
    runs.push(run);
    log(runText(run));
  }
  const auto = engineText(await openEngine({ name: 'auto', device: 'auto', threads: null }));
  log(`\n--engine auto takes ${auto}.`);
  return { steps, runs, auto };
}

/** The steps as text: what was found, and below what is missing the line to type next. */
export function stepsText(steps: readonly Step[]): string {
  if (steps.length === 0)
    return 'The steps are those of Linux; elsewhere the onnx engine runs on WebGPU as it is installed.\n';
  const lines = steps.flatMap(({ step, for: purpose, ok, found, next }, i) => [
    `${i + 1}. ${ok ? 'yes' : 'NO '}  ${step}, for ${purpose}: ${found}`,
    ...(next === undefined ? [] : [`        next: ${next}`]),
  ]);
  return `${lines.join('\n')}\n`;
}

function runText(run: GpuRun): string {
  const { engine, device, loads, failure, adapters, ops, model, ok, gflops, size } = run;
  const name = `${engine} on ${device}`;
  if (!loads || failure !== undefined) return `${name}: ${loads ? 'fails' : 'does not load'}: ${failure}`;
  const deviation = `largest deviation from the reference engine ${ops!.toExponential(1)} (ops), ${model!.toExponential(1)} (training step and encoder)`;
  const judged = ok ? `within ${TOLERANCE}` : `ABOVE ${TOLERANCE}`;
  const devices = adapters ? ` (Vulkan lists ${adapters.map((a) => `${a.name}, ${a.kind}`).join('; ')})` : '';
  return `${name}${devices}: ${deviation}, ${judged}; products of ${size} x ${size}: ${gflops!.toPrecision(3)} GFLOP/s`;
}

async function runOn(wanted: { engine: EngineName; device: DeviceName }): Promise<GpuRun> {
  let loads = false;
  try {
    const engine = await openOn(wanted);
    loads = true;
    const conformance = await conformanceOf(engine);
    const adapters = wanted.device === 'webgpu' ? vulkanAdapters() : undefined;
    return {
      ...wanted,
      loads,
      ...(adapters ? { adapters } : {}),
      ...conformance,
      ...(await residentRate(engine)),
    };
  } catch (error) {
    const fix = wanted.engine === 'tensorflow' ? { fix: TENSORFLOW_FIX } : {};
    return { ...wanted, loads, failure: reasonOf({ detail: (error as Error).message, ...fix }) };
  }
}

async function openOn({ engine, device }: Parameters<typeof runOn>[0]): Promise<Engine> {
  const opened = await openEngine({ name: engine, device, threads: null });
  await (await opened.load(products(8))).dispose(); // opening alone asks no device
  return opened;
}

const config = parseConfig({
  model: {
    image_size: 16,
    patch_size: 4,
    width: 16,
    heads: 2,
    depth: 2,
    registers: 4,
    drop_path: 0,
    predictor: { depth: 1 },
  },
  masking: { predict: 0.5 },
  clustering: { prototypes: 16 },
  train: { batch: 4, steps: 10 },
});
const pixels = { mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3] };

/** A few ops, and one training step and the encoder of a tiny CAPI, on the engine and on the reference engine. */
export async function conformanceOf(engine: Engine): Promise<Conformance> {
  const against = async (task: Task): Promise<number> =>
    deviation(await resultsOf(engine, task), await resultsOf(referenceEngine(), task));
  const ops = await against({ program: opsProgram, state: {}, inputs: opsInputs() });
  const model = Math.max(await against(trainingStep()), await against(encoderRun()));
  return { ops, model, ok: ops < TOLERANCE && model < TOLERANCE };
}

/** A program with what it is run on; the engine may build `fixed` state into it. */
interface Task {
  program: Program;
  state: Record<string, Values>;
  inputs: Record<string, Values>;
  fixed?: boolean;
}

/** What one run gives: outputs, and of the state the first moments, which are a tenth of the gradients after the first step. */
async function resultsOf(engine: Engine, { program, state, inputs, fixed = false }: Task): Promise<Outputs> {
  const executable = await (fixed ? engine.load(program, state) : engine.load(program));
  try {
    if (!fixed) executable.setState(state);
    const outputs = await executable.run(inputs);
    const moments = fixed ? [] : program.state.filter((name) => name.endsWith(FIRST_MOMENT));
    return { ...outputs, ...(moments.length > 0 ? await executable.getState(moments) : {}) };
  } finally {
    await executable.dispose();
  }
}

/** Largest |a - b| over the largest |b| of its tensor; infinity where a is no number. */
function deviation(results: Outputs, wanted: Outputs): number {
  let worst = 0;
  for (const [name, b] of Object.entries(wanted)) {
    const a = results[name]!;
    let [difference, largest] = [0, 1e-12];
    for (let i = 0; i < b.length; i++) {
      const d = Math.abs(a[i]! - b[i]!);
      difference = Number.isNaN(d) ? Number.POSITIVE_INFINITY : Math.max(difference, d);
      largest = Math.max(largest, Math.abs(b[i]!));
    }
    worst = Math.max(worst, difference / largest);
  }
  return worst;
}

const opsProgram: Program = {
  name: 'doctor_ops',
  inputs: {
    x: { shape: [33, 96], dtype: 'float32' },
    w: { shape: [96, 64], dtype: 'float32' },
    i: { shape: [7], dtype: 'int32' },
  },
  state: [],
  run: ({ x, w, i }) => {
    const product = tf.matMul(x as never, w as never);
    return {
      product,
      softmax: tf.softmax(product),
      norm: rmsNorm(x!, 1e-5),
      gelu: gelu(x!),
      sum: tf.sum(tf.square(x!), 1),
      rows: tf.gather(tf.transpose(x!), i as never),
    };
  },
};

function opsInputs(): Record<string, Values> {
  const random = stream(0, 'doctor');
  const normal = (n: number) => Float32Array.from({ length: n }, () => random.normal());
  return { x: normal(33 * 96), w: normal(96 * 64), i: Int32Array.from([5, 0, 95, 5, 17, 64, 1]) };
}

function images(program: Program): Uint8Array {
  const random = stream(1, 'doctor');
  return new Uint8Array(elements(program.inputs.images!.shape)).map(() => random.int(256));
}

function trainingStep(): Task {
  const program = stepProgram(config, pixels);
  const all = startState(config);
  const state = Object.fromEntries(program.state.map((name) => [name, all[name]!]));
  const { inputs } = stepInputs(config, 3);
  return { program, state, inputs: { ...inputs, images: images(program) } };
}

function encoderRun(): Task {
  const s = modelSizes(config);
  const program = encoderProgram(s, { batch: 2, ...pixels });
  const all = initialParameters(s, 0);
  const names = Object.keys(encoderParameters(s));
  const state = Object.fromEntries(names.map((name) => [name, all[EMA + name]!]));
  return { program, state, inputs: { images: images(program) }, fixed: true };
}

const CHAIN = 16;
/** A chain of products x b b b ...: one matrix in, one number out, and everything else stays on the device. */
const products = (n: number): Program => ({
  name: `products_${n}`,
  inputs: { x: { shape: [n, n], dtype: 'float32' }, b: { shape: [n, n], dtype: 'float32' } },
  state: ['b'],
  run: ({ x, b }) => {
    let y = x!;
    for (let i = 0; i < CHAIN; i++) y = tf.matMul(y as never, b as never);
    return { sum: tf.sum(y) };
  },
});

/** Seconds that one run should last, so that its start and the copy of one matrix weigh little. */
const LONG_ENOUGH = 0.2;
const LARGEST = 8192;

/** GFLOP/s of float32 products, at the smallest size whose run lasts long enough; the best of three runs after the first. */
export async function residentRate(
  engine: Engine,
  largest = LARGEST,
): Promise<{ gflops: number; size: number }> {
  for (let n = 256; ; n *= 2) {
    const random = stream(2, 'doctor');
    const values = new Float32Array(n * n).map(() => random.uniform(-1, 1) / Math.sqrt(n));
    const executable = await engine.load(products(n));
    executable.setState({ b: values });
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 4; i++) {
      const begin = performance.now();
      await executable.run({ x: values });
      if (i > 0) best = Math.min(best, (performance.now() - begin) / 1000);
    }
    await executable.dispose();
    if (best >= LONG_ENOUGH || n >= largest) return { gflops: (CHAIN * 2 * n ** 3) / best / 1e9, size: n };
  }
}
