// What an ablation will cost: cells, floating-point operations, time from a measured step, disk.
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { type Config, inParts, loadConfig } from '../config/index.js';
import type { Engine } from '../engine/program.js';
import { openEngine } from '../engine/select.js';
import { modelSizes } from '../model/sizes.js';
import { checkpointBytes, parameterCount, stepFlop } from '../pretrain/cost.js';
import { stepInputs } from '../pretrain/inputs.js';
import { setTensors, startTensors } from '../pretrain/state.js';
import { stepProgram } from '../pretrain/step.js';
import { planEvaluation } from '../probes/plan.js';
import { cellStates, hasRecord } from './folder.js';
import type { Plan, PlannedCell } from './plan.js';
import type { Ablation } from './run.js';

export interface ArmEstimate {
  arm: string;
  cells: number;
  finished: number;
  parameters: number;
  /** 10^9 floating-point operations of a step, and 10^18 of all runs that are left. */
  gflop_per_step: number;
  exaflop: number;
  /** Of one pretraining, on this machine. */
  seconds_per_run: number;
}

export interface Estimate {
  out: string;
  arms: ArmEstimate[];
  cells: number;
  left: number;
  /** Pretraining of all runs that are left, jobs side by side. */
  seconds: number;
  /** Evaluating all cells that are left, jobs side by side, at the rate of a large product (small ones are slower); null where the data is not here or the encoder is too large to try. */
  evaluation_seconds: number | null;
  jobs: number;
  disk_bytes: number;
  /** What was measured. */
  measured: string;
  /** Data that an actual run would be refused for. */
  missing: readonly string[];
}

/** A step of more than this is not run for an estimate. */
const MOST_FLOP = 4e11;
/** Steps that are timed, whatever the length of the run. */
const TIMED = 4;

/** @param jobs runs at once */
export async function estimate({ out, plan, ...chosen }: Ablation, jobs: number): Promise<Estimate> {
  const states = await cellStates(out, chosen.cells);
  const finished = new Set(states.filter(hasRecord).map(({ cell }) => cell.id));
  const base = plan.runs[plan.grid.baseline]!.config;
  const rate = await measuredRate(base);
  const arms: ArmEstimate[] = [];
  let [seconds, disk] = [0, 0];
  const open = chosen.cells.filter(({ id }) => !finished.has(id));
  const tried = rate.own && plan.missing.length === 0;
  const probing = tried ? await probingSeconds(out, plan, open, rate.engine) : null;
  for (const [i, { name }] of plan.grid.arms.entries()) {
    const runs = chosen.runs.filter(({ arm }) => arm === i);
    if (runs.length === 0) continue;
    const own = chosen.cells.filter(({ arm }) => arm === i);
    const left = runs.filter((run) => own.some((cell) => cell.run === run.id && !finished.has(cell.id)));
    const { config } = runs[0]!;
    const flop = oneImage(config) * config.train.batch;
    const each = (flop * config.train.steps) / rate.flopPerSecond;
    seconds += left.length * each;
    const kept = Math.min(config.checkpoint.keep, Math.ceil(config.train.steps / config.checkpoint.every));
    disk += left.length * kept * checkpointBytes(config);
    arms.push({
      arm: name,
      cells: own.length,
      finished: own.filter(({ id }) => finished.has(id)).length,
      parameters: parameterCount(config),
      gflop_per_step: flop / 1e9,
      exaflop: (left.length * flop * config.train.steps) / 1e18,
      seconds_per_run: each,
    });
  }
  return {
    out,
    arms,
    cells: chosen.cells.length,
    left: chosen.cells.length - finished.size,
    seconds: seconds / jobs,
    evaluation_seconds: probing === null ? null : probing / jobs,
    jobs,
    disk_bytes: disk,
    measured: rate.words,
    missing: [...new Set(plan.missing)],
  };
}

/** Seconds that the evaluations of `cells` take one after another, each as long as that of the base preset's encoder, untrained. */
async function probingSeconds(
  out: string,
  plan: Plan,
  cells: readonly PlannedCell[],
  engine: Engine,
): Promise<number> {
  let seconds = 0;
  for (const { name, ...evaluation } of plan.evals) {
    const count = cells.filter((cell) => cell.evaluation.name === name).length;
    if (count === 0) continue;
    const { encoders } = await planEvaluation({
      ...evaluation,
      engine,
      encoders: [`random:${plan.grid.base}`],
      weights: 'ema',
      floors: false,
      memory: totalmem() / 4,
      seed: 0,
      out,
      store: join(out, 'work', 'features'),
      force: false,
    });
    seconds += count * encoders.reduce((sum, e) => sum + e.seconds, 0);
  }
  return seconds;
}

/** Operations an image: from a traced step of few images, so that a batch of 16,384 need not be traced. */
function oneImage(config: Config): number {
  const batch = Math.min(config.train.batch, 8);
  const engine = { ...config.engine, teacher_micro_batches: 1, student_micro_batches: 1 };
  const at = (batch: number): number => stepFlop({ ...config, engine, train: { ...config.train, batch } });
  if (batch === 1) return at(1);
  // The optimisers cost the same for any batch: what is left grows with it.
  const [one, all] = [at(Math.floor(batch / 2)), at(batch)];
  const each = (all - one) / (batch - Math.floor(batch / 2));
  return each + (all - each * batch) / config.train.batch;
}

/** Operations a second of a real training step: the base's own, or that of a smaller model where it would take too long or too much memory. */
async function measuredRate(
  base: Config,
): Promise<{ flopPerSecond: number; words: string; own: boolean; engine: Engine }> {
  const own = oneImage(base) * base.train.batch <= MOST_FLOP;
  const config = own
    ? base
    : inParts({ ...loadConfig({ preset: 'fashion' }).config, engine: base.engine }, 2);
  const s = modelSizes(config);
  const engine = await openEngine(config.engine);
  const program = stepProgram(config, { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] });
  const executable = await engine.load(program);
  await setTensors(executable, program, startTensors(config));
  const images = new Uint8Array(config.train.batch * s.height * s.width * 3).map(
    (_, i) => (i * 2654435761) >>> 24,
  );
  const longer = { ...config, train: { ...config.train, steps: Math.max(TIMED, config.train.steps) } };
  const times: number[] = [];
  for (let step = 0; step < TIMED; step++) {
    const begin = performance.now();
    await executable.run({ ...stepInputs(longer, step).inputs, images });
    times.push((performance.now() - begin) / 1000);
  }
  await executable.dispose();
  const median = times.slice(1).sort((a, b) => a - b)[1]!; // the first step warms up
  const flopPerSecond = (oneImage(config) * config.train.batch) / median;
  const what = own
    ? "the baseline's own step"
    : 'a step of the preset fashion, scaled by floating-point operations: a large model runs at another rate';
  return {
    flopPerSecond,
    own,
    engine,
    words: `${what}: ${(1000 * median).toFixed(0)} ms on ${engine.name} (${engine.device}, ${engine.threads ?? 1} threads), ${(flopPerSecond / 1e9).toFixed(1)} GFLOP/s`,
  };
}
