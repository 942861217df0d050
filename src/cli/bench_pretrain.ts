// What `capi bench pretrain` does: times whole training steps, alternating with PyTorch when it is there.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import Table from 'cli-table3';
import { type Config, checkSizes, loadConfig, patchCounts } from '../config/index.js';
import { graphCost } from '../engine/onnx/cost.js';
import { optimise } from '../engine/onnx/passes/index.js';
import { trace } from '../engine/onnx/trace.js';
import type { Values } from '../engine/program.js';
import { openEngine, productRate } from '../engine/select.js';
import { EngineError } from '../errors.js';
import { initialParameters } from '../model/parameters.js';
import { modelSizes } from '../model/sizes.js';
import { stepInputs } from '../pretrain/inputs.js';
import { microBatches } from '../pretrain/prepare.js';
import { stepProgram } from '../pretrain/step.js';
import { stream } from '../tensor/random.js';
import { type ConfigFlagValues, overridesOf } from './config_flags.js';

export interface BenchFlags extends ConfigFlagValues {
  preset?: string;
  rounds: number;
  perRound: number;
  pytorch?: string;
  compile: boolean;
  quiet: boolean;
}

/** Times of one contender: milliseconds a step, round by round. */
interface Contender {
  name: string;
  rounds: number[][];
  run(steps: number): Promise<number[]>;
  close(): Promise<void>;
}

const packageRoot = join(import.meta.dirname, '../../..');

const median = (values: number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
};

/** Our engine on synthetic batches that are made before the clock starts; losses are read after every step. */
async function capiContender(
  config: Config,
): Promise<Contender & { gflop: number; rate: number; threads: number }> {
  const engine = await openEngine({
    name: config.engine.name,
    device: config.engine.device,
    threads: config.engine.threads,
  });
  const s = modelSizes(config);
  const micro = microBatches(config, engine.name, {
    teacher: s.registers + s.patches,
    student: s.registers + patchCounts(config).visible,
  });
  const program = stepProgram(config, {
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
    teacherMicroBatches: micro.teacher,
    studentMicroBatches: micro.student,
  });
  const cost = graphCost(optimise(trace(program)));
  const rate = await productRate(engine, 2048);
  const executable = await engine.load(program);
  const initial = initialParameters(s, 0);
  executable.setState(
    Object.fromEntries(
      program.state.map((n) => [
        n,
        initial[n] ?? new Float32Array(program.inputs[n]!.shape.reduce((a, b) => a * b, 1)),
      ]),
    ),
  );
  const random = stream(0, 'bench images');
  const batches = Array.from({ length: 4 }, (_, i) => {
    const images = new Uint8Array(config.train.batch * s.height * s.width * 3).map(() => random.int(256));
    return { ...stepInputs(config, s, i, micro.student).inputs, images } as Record<string, Values>;
  });
  let done = 0;
  return {
    name: `capi (${engine.name}, ${engine.device})`,
    gflop: cost.flop / 1e9,
    rate,
    threads: engine.threads ?? 1,
    rounds: [],
    run: async (steps) => {
      const times: number[] = [];
      for (let i = 0; i < steps; i++) {
        const inputs = batches[done++ % batches.length]!;
        const start = performance.now();
        await executable.run(inputs);
        times.push(performance.now() - start);
      }
      return times;
    },
    close: () => executable.dispose(),
  };
}

/** The PyTorch step in a process of its own, which waits between rounds. */
async function torchContender(
  config: Config,
  python: string,
  threads: number,
  compile: boolean,
): Promise<Contender> {
  const [s, counts] = [modelSizes(config), patchCounts(config)];
  const sizes: Record<string, number> = {
    'image-size': s.height,
    patch: s.patch,
    width: s.dim,
    heads: s.heads,
    depth: s.depth,
    'predictor-depth': s.predictorDepth,
    registers: s.registers,
    prototypes: s.prototypes,
    predicted: counts.predicted,
    'mask-ratio': config.masking.ratio,
    batch: config.train.batch,
    'drop-path': config.model.drop_path,
    threads,
  };
  const script = join(packageRoot, 'benchmarks/speed/pytorch/bench.py');
  const flags = Object.entries(sizes).flatMap(([k, v]) => [`--${k}`, String(v)]);
  const child: ChildProcess = spawn(
    python,
    [script, ...flags, '--serve', ...(compile ? ['--compile'] : [])],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const failed = Promise.race([
    once(child, 'error').then(([e]) => `${(e as Error).message}`),
    once(child, 'exit').then(([code]) => `it ended with code ${code}`),
  ]);
  const answer = async (): Promise<Record<string, unknown>> => {
    const line = await Promise.race([lines.next(), failed]);
    if (typeof line === 'string' || line.done) {
      throw new EngineError(
        `the PyTorch step did not run with ${python} (${typeof line === 'string' ? line : 'no answer'}): install benchmarks/speed/pytorch/requirements.txt there`,
      );
    }
    return JSON.parse(line.value) as Record<string, unknown>;
  };
  const ready = await answer();
  return {
    name: `PyTorch ${ready.version} ${compile ? 'torch.compile' : 'eager'}`,
    rounds: [],
    run: async (steps) => {
      child.stdin!.write(`run ${steps}\n`);
      return (await answer()).ms as number[];
    },
    close: async () => {
      child.stdin!.end();
      child.kill();
    },
  };
}

/** Alternating rounds; returns medians, rates and the ratio of medians with its range over rounds. */
export async function benchPretrain(flags: BenchFlags): Promise<object> {
  const file = flags.preset ?? join(packageRoot, 'benchmarks/speed/step.yaml');
  const { config } = loadConfig({ preset: file, sets: flags.set, overrides: overridesOf(flags) });
  checkSizes(config);
  const say = (text: string): void => void (flags.quiet || process.stderr.write(`${text}\n`));
  say('loading');
  const own = await capiContender(config);
  const contenders: Contender[] = [own];
  try {
    if (flags.pytorch) {
      contenders.push(await torchContender(config, flags.pytorch, own.threads, false));
      if (flags.compile) contenders.push(await torchContender(config, flags.pytorch, own.threads, true));
    }
    for (const c of contenders) await c.run(2);
    for (let round = 0; round < flags.rounds; round++) {
      for (const c of contenders) c.rounds.push(await c.run(flags.perRound));
      say(
        `round ${round + 1}/${flags.rounds}: ${contenders.map((c) => `${c.name} ${median(c.rounds.at(-1)!).toFixed(0)} ms`).join(', ')}`,
      );
    }
  } finally {
    for (const c of contenders) await c.close();
  }
  const batch = config.train.batch;
  const rows = contenders.map((c) => {
    const ms = median(c.rounds.flat());
    const ratios = c.rounds.map((r, i) => median(r) / median(own.rounds[i]!));
    return {
      name: c.name,
      median_ms: Number(ms.toFixed(1)),
      images_per_second: Number(((1000 * batch) / ms).toFixed(1)),
      gflop_per_second: Number((own.gflop / (ms / 1000)).toFixed(1)),
      share_of_gemm: Number((own.gflop / (ms / 1000) / own.rate).toFixed(3)),
      /** Its time over ours: above 1, ours is faster. */
      ratio: Number((ms / median(own.rounds.flat())).toFixed(3)),
      ratio_range: [Math.min(...ratios), Math.max(...ratios)].map((x) => Number(x.toFixed(3))),
    };
  });
  const result = {
    batch,
    gflop_per_step: Number(own.gflop.toFixed(1)),
    gemm_gflop_per_second: Number(own.rate.toFixed(1)),
    threads: own.threads,
    rounds: flags.rounds,
    steps_per_round: flags.perRound,
    rows,
  };
  if (!flags.quiet) process.stdout.write(text(result));
  return result;
}

function text(r: {
  gflop_per_step: number;
  gemm_gflop_per_second: number;
  threads: number;
  rows: { [k: string]: unknown }[];
}): string {
  const table = new Table({
    head: ['step', 'median ms', 'img/s', 'GFLOP/s', 'of GEMM rate', 'time / ours', 'range over rounds'],
    style: { head: [], border: [] },
  });
  for (const row of r.rows) {
    table.push([
      String(row.name),
      String(row.median_ms),
      String(row.images_per_second),
      String(row.gflop_per_second),
      `${Math.round(100 * (row.share_of_gemm as number))} %`,
      (row.ratio as number).toFixed(2),
      (row.ratio_range as number[]).map((x) => x.toFixed(2)).join(' - '),
    ]);
  }
  return `${table.toString()}\n${r.gflop_per_step} GFLOP a step; 2048^3 product: ${r.gemm_gflop_per_second} GFLOP/s on ${r.threads} threads\n`;
}
