// What `capi bench pretrain` does: whole training steps beside PyTorch's, and how close ours is to its products' own rates.
import { join } from 'node:path';
import type { Config } from '../config/index.js';
import { graphCost } from '../engine/graph/cost.js';
import { optimise } from '../engine/graph/passes/index.js';
import { type ProductShape, productShapes } from '../engine/graph/product_shapes.js';
import { trace } from '../engine/graph/trace.js';
import { EngineError } from '../errors.js';
import { IMAGENET } from '../images/normalise.js';
import { stepProgram } from '../pretrain/step.js';
import { checkAgreement, compare, type Entrant, largestDifference } from './compare.js';
import {
  type Contender,
  deviceOf,
  gpuNote,
  ourCommand,
  PYTHON_FIX,
  pythonCommand,
  type Timed,
} from './contender.js';
import { hasBfloat16, instructionSets } from './machine.js';
import type { Agreement, Comparison } from './record.js';
import { type Bench, type BenchOptions, type BenchResult, runBench } from './run.js';
import { AXES, type Axis } from './scan.js';
import { benchConfig, type SizeOptions, sizesOf } from './sizes.js';
import { beyondPytorch, pytorchRecipe, pytorchSize, writeTrainingWork } from './workload.js';

export interface PretrainOptions extends BenchOptions, SizeOptions {
  size: string;
  perRound?: number | undefined;
  compile: boolean;
  bfloat16: boolean;
  /** Time the step's products one by one. */
  products: boolean;
  scan?: Axis | undefined;
  values?: number[] | undefined;
}

/** Steps before the clock starts; what both sides say of them is compared. */
const WARMUP = 3;
/**
 * Largest relative difference of the losses of those steps. float32 gives 1e-6 or so at first; AdamW's first step divides gradients by
 * their own size, so that rounding of the smallest ones grows.
 */
const SAME_LOSS = 1e-3;

type Steps = Timed & { losses: number[][] };

export function benchPretrain(options: PretrainOptions): Promise<BenchResult> {
  const axis = options.scan;
  return runBench(axis ? `pretrain-${axis}` : 'pretrain', options, async (bench) => {
    if (!axis) return [await comparePretrain(bench, benchConfig(options.size, options), options)];
    const comparisons: Comparison[] = [];
    for (const value of options.values ?? AXES[axis][bench.quick ? 'quick' : 'full']) {
      bench.log(`${axis} ${value}`);
      const set = [...AXES[axis].sets(value), ...options.set];
      const config = benchConfig(options.size, { ...options, set });
      comparisons.push(await comparePretrain(bench, config, options));
      await bench.closeAll();
    }
    return comparisons;
  });
}

async function comparePretrain(bench: Bench, asked: Config, options: PretrainOptions): Promise<Comparison> {
  const perRound = options.perRound ?? (bench.quick ? 1 : 5);
  const own = await bench.start({
    name: 'capi',
    command: ourCommand('pretrain'),
    setup: { config: asked },
  });
  const config = resolved(asked, own);
  const { flop, shapes } = productsOf(config);
  const inBfloat16 = rounded(config);
  const notes = [gpuNote(own)].filter((note) => note !== undefined);
  const contenders = [own];
  const refusal = beyondPytorch(config);
  if (bench.python && refusal) notes.push(`${refusal}: only capi was timed`);
  if (bench.python && !refusal) {
    const work = join(bench.folder, `work-${Date.now()}.safetensors`);
    await writeTrainingWork(work, config, WARMUP + bench.rounds * perRound);
    for (const mode of modesOf(config, options)) {
      try {
        contenders.push(await startPytorch(bench, config, mode, work, deviceOf(own)));
      } catch (error) {
        if (mode === 'eager' || inBfloat16) throw error;
        notes.push(`${MODES[mode].name} is missing: ${(error as Error).message}`);
      }
    }
  }
  bench.log('warming up');
  const agreement: Agreement[] = [];
  const first = await own.ask<Steps>('run', { count: WARMUP });
  const ran: Contender[] = [own];
  for (const c of contenders.slice(1)) {
    try {
      const { losses } = await c.ask<Steps>('run', { count: WARMUP });
      agreement.push(checkAgreement(agreementOf(c.name, first.losses, losses)));
      ran.push(c);
    } catch (error) {
      // A compiler that is missing shows at the first step; a step that computes something else is no rival at all.
      if (c.name !== MODES.compile.name || isDisagreement(error)) throw error;
      notes.push(`${c.name} is missing: ${(error as Error).message}`);
    }
  }
  const products =
    options.products && !gpuNote(own) && !inBfloat16
      ? await bench.products(options.scan ? [] : shapes)
      : undefined;
  return compare({
    work: 'training step, optimisers and EMA included',
    sizes: sizesOf(config),
    rounds: bench.rounds,
    entrants: ran.map((contender): Entrant => {
      const mode = Object.values(MODES).find(({ name }) => name === contender.name);
      return {
        name: contender.name,
        contender,
        run: () => contender.ask<Steps>('run', { count: perRound }),
        ...(mode?.note && !inBfloat16 ? { note: mode.note() } : {}),
      };
    }),
    items: config.train.batch,
    gflop: flop / 1e9,
    ...(products ? { products } : {}),
    rivals: inBfloat16 ? [MODES.bfloat16.name] : [MODES.eager.name, MODES.compile.name],
    memoryOf: inBfloat16 ? MODES.bfloat16.name : MODES.eager.name,
    agreement,
    notes,
    log: bench.log,
  });
}

const emulated = (): string =>
  hasBfloat16(instructionSets()) ? 'other precision' : 'emulated: the processor has no bfloat16 instructions';
const MODES: Record<'eager' | 'compile' | 'bfloat16', { name: string; note?: () => string }> = {
  eager: { name: 'PyTorch eager' },
  compile: { name: 'torch.compile' },
  bfloat16: { name: 'PyTorch eager, bfloat16 autocast', note: emulated },
};
type Mode = keyof typeof MODES;

const rounded = (config: Config): boolean => config.precision.products === 'bfloat16';

const modesOf = (config: Config, options: PretrainOptions): Mode[] =>
  rounded(config)
    ? ['bfloat16']
    : [
        'eager',
        ...(options.compile ? (['compile'] as const) : []),
        ...(options.bfloat16 ? (['bfloat16'] as const) : []),
      ];

const startPytorch = (
  bench: Bench,
  config: Config,
  mode: Mode,
  work: string,
  device: string,
): Promise<Contender> =>
  bench.start({
    name: MODES[mode].name,
    command: pythonCommand(bench.python!, 'train.py'),
    setup: { ...pytorchSize(config), recipe: pytorchRecipe(config), mode, work, device },
    fix: PYTHON_FIX,
  });

/** The config as our contender runs it. */
function resolved(config: Config, own: Contender): Config {
  const { teacher_micro_batches, student_micro_batches } = own.facts as unknown as Config['engine'];
  return { ...config, engine: { ...config.engine, teacher_micro_batches, student_micro_batches } };
}

/** Operations of the step in matrix products, and these products. */
function productsOf(config: Config): { flop: number; shapes: ProductShape[] } {
  const graph = optimise(trace(stepProgram(config, IMAGENET)));
  return { flop: graphCost(graph).productFlop, shapes: productShapes(graph) };
}

function agreementOf(rival: string, ours: number[][], theirs: number[][]): Agreement {
  const column = (losses: number[][], i: number) => losses.map((l) => l[i]!);
  const value = Math.max(...[0, 1, 2].map((i) => largestDifference(column(ours, i), column(theirs, i))));
  return {
    with: rival,
    what: `losses and target entropy of the first ${WARMUP} steps differ by a share of`,
    value,
    tolerance: rival === MODES.bfloat16.name ? null : SAME_LOSS,
  };
}

const isDisagreement = (error: unknown): boolean =>
  error instanceof EngineError && error.message.includes('do not do the same work');
