// An ablation from its grid to its cells: planned and refused as a whole, run on this machine or handed to Slurm.

import { existsSync, readFileSync } from 'node:fs';
import { takeLock } from '../base/files/lock.js';
import { checkWritable } from '../base/files/writable.js';
import { loadConfig, settingOf } from '../config/index.js';
import { flatten, type Mapping } from '../config/keys.js';
import { nearest } from '../config/nearest.js';
import { usableCores } from '../cores.js';
import { InterruptedError, UsageError } from '../errors.js';
import { checkMemory } from '../pretrain/cost.js';
import { isTask } from '../probes/tasks.js';
import { commandLine } from '../shell.js';
import { attempt, refuse } from './faults.js';
import { ablateLock, type CellState, cellStates, checkPlanFolder, mendCells, writePlan } from './folder.js';
import { type Grid, readGrid } from './grid.js';
import { armConfig, type Plan, type PlannedCell, type PlannedRun, planGrid } from './plan.js';
import { type Job, type JobReport, jobsOf, runPool, type Unfinished } from './pool.js';
import { submit, withQueue } from './slurm.js';

/** A grid, as a file or as axes AXIS=V1,V2, and what inline axes need. */
export interface AblationRequest {
  grid: readonly string[];
  base?: string;
  /** KEY=VALUE, in all arms. */
  set: readonly string[];
  design?: 'crossed' | 'one-factor';
  seeds?: number;
  probeSeeds?: number;
  /** Tasks, separated by commas. */
  evals?: string;
  /** Folder of the ablation; default: runs/ablate-NAME. */
  out?: string;
  /** Arms by name; default: all. */
  only?: readonly string[];
}

export interface Ablation {
  readonly out: string;
  readonly plan: Plan;
  /** The command without what changes no number. */
  readonly command: string;
  /** Of the chosen arms. */
  readonly runs: readonly PlannedRun[];
  readonly cells: readonly PlannedCell[];
}

export interface RunOptions {
  executor: 'local' | 'slurm';
  /** Runs at once; default: cores over threads. */
  jobs?: number;
  /** Cells to be run at most. */
  limit?: number;
  /** Node's arguments that start this program again. */
  entry: readonly string[];
  signal: AbortSignal;
  onMessage(line: string): void;
  /** Before the first job of this machine. */
  onJobs(jobs: readonly Job[], atOnce: number): void;
  onReport(report: JobReport): void;
  onEnd(job: Job, unfinished: Unfinished | undefined): void;
}

/**
 * Plans everything that is asked for.
 * @param use `look`: nothing will be written; `estimate`: data may be missing besides
 * @throws UsageError with all faults of the grid, DataError for a folder that cannot be written
 */
export async function planAblation(
  request: AblationRequest,
  use: 'run' | 'look' | 'estimate',
): Promise<Ablation> {
  const grid = gridOf(request);
  const out = request.out ?? `runs/ablate-${grid.name}`;
  const arms = armsOf(grid, request.only);
  if (use === 'run') await checkWritable(out);
  const plan = await planGrid(grid, { mayMiss: use === 'estimate' });
  return {
    out,
    plan,
    command: commandOf(request, out),
    runs: plan.runs.filter(({ arm }) => arms.has(arm)),
    cells: plan.cells.filter(({ arm }) => arms.has(arm)),
  };
}

/** Runs at once on this machine. */
export const jobsAtOnce = ({ plan }: Ablation, jobs: number | undefined): number =>
  jobs ?? Math.max(1, Math.floor(usableCores() / plan.grid.threads));

/**
 * Writes the plan, then does what is not finished as the only such command on the folder; where there is another, says which and waits for it.
 * @throws UsageError, InterruptedError
 */
export async function runAblation(ablation: Ablation, o: RunOptions): Promise<void> {
  const { out, plan, runs, cells } = ablation;
  if (o.executor === 'local') refuseTooLarge(plan, runs);
  const { origin } = plan.grid;
  const text = existsSync(origin) ? readFileSync(origin, 'utf8') : null;
  await checkPlanFolder(out);
  const lock = await takeLock(ablateLock(out), {
    doing: 'capi ablate',
    signal: o.signal,
    onWait: o.onMessage,
  });
  try {
    await writePlan(out, plan, text, ablation.command, o.onMessage);
    await mendCells(out, cells, o.onMessage);
    if (o.executor === 'local') return await runHere(ablation, o);
    const limit = o.limit ?? Number.POSITIVE_INFINITY;
    const jobs = await submit({ out, plan, runs, cells, limit, entry: o.entry });
    o.onMessage(
      jobs.length > 0
        ? `submitted: jobs ${jobs.join(', ')}; the same command shows how they stand`
        : 'nothing left to submit',
    );
  } finally {
    await lock.release();
  }
}

/**
 * How every chosen cell stands.
 * @param queue whether Slurm is asked for those that wait in its queue; `try`: where it is not at hand, what the files say does
 */
export async function statesOf({ out, cells }: Ablation, queue: 'ask' | 'try' | 'no'): Promise<CellState[]> {
  const states = await cellStates(out, cells);
  if (queue === 'no') return states;
  return queue === 'ask' ? withQueue(out, states) : withQueue(out, states).catch(() => states);
}

async function runHere(ablation: Ablation, o: RunOptions): Promise<void> {
  const { out, runs, cells } = ablation;
  const jobs = jobsOf(out, runs, cells, o.limit);
  if (jobs.length === 0) return;
  const atOnce = jobsAtOnce(ablation, o.jobs);
  o.onJobs(jobs, atOnce);
  let stopped = 0;
  await runPool(jobs, {
    ...{ out, jobs: atOnce, signal: o.signal, entry: o.entry, onReport: o.onReport },
    onEnd: (job, unfinished) => {
      if (unfinished?.state === 'stopped') stopped++;
      o.onEnd(job, unfinished);
    },
  });
  if (o.signal.aborted)
    throw new InterruptedError(
      `interrupted by ${o.signal.reason}; finished cells are kept and runs have a checkpoint. The same command goes on`,
    );
  if (stopped > 0)
    throw new InterruptedError(`${stopped} of ${jobs.length} runs were stopped. The same command goes on`);
}

/** Refuses arms that do not fit into this machine, all together. @throws UsageError */
function refuseTooLarge(plan: Plan, runs: readonly PlannedRun[]): void {
  const faults: string[] = [];
  for (const arm of new Set(runs.map((run) => run.arm))) {
    const { config } = runs.find((run) => run.arm === arm)!;
    attempt(faults, () => checkMemory(config), `arm ${plan.grid.arms[arm]!.name}: `);
  }
  refuse(faults);
}

function gridOf(request: AblationRequest): Grid {
  const known = new Map<string, ReadonlyMap<string, unknown>>();
  const baseValue = (base: string, set: Record<string, unknown>, key: string): unknown => {
    const name = JSON.stringify([base, set]);
    const values = known.get(name) ?? flatten(armConfig({ base, set, threads: 1 }, {}) as unknown as Mapping);
    known.set(name, values);
    return values.get(key);
  };
  const tasks = request.evals?.split(',').map((task) => {
    if (isTask(task)) return task;
    throw new UsageError(`--evals ${request.evals}: accepted: cls, seg or cls,seg`);
  });
  return readGrid({
    grids: request.grid,
    base: request.base,
    set: Object.fromEntries(request.set.map((text) => settingOf(text)).map(({ key, value }) => [key, value])),
    design: request.design,
    seeds: request.seeds,
    probeSeeds: request.probeSeeds,
    evals: tasks,
    baseEvals: (base) =>
      loadConfig({ preset: base }).config.evals.map(({ every, seed, ...evaluation }) => evaluation),
    baseValue,
  });
}

/** Places of the arms that --only names; all without it. */
function armsOf(grid: Grid, only: readonly string[] | undefined): Set<number> {
  if (!only || only.length === 0) return new Set(grid.arms.keys());
  const names = grid.arms.map(({ name }) => name);
  return new Set(
    only.map((name) => {
      const at = names.indexOf(name);
      if (at >= 0) return at;
      const guess = nearest(name, names);
      throw new UsageError(
        `--only ${name}: no such arm${guess ? `; did you mean ${guess}?` : ''} (arms: ${names.join(', ')})`,
      );
    }),
  );
}

function commandOf(request: AblationRequest, out: string): string {
  const given = (name: string, value: string | number | undefined): string[] =>
    value === undefined ? [] : [name, `${value}`];
  return commandLine([
    ...['ablate', ...request.grid.flatMap((text) => ['--grid', text])],
    ...[...given('--base', request.base), ...request.set.flatMap((text) => ['--set', text])],
    ...[...given('--design', request.design), ...given('--seeds', request.seeds)],
    ...[...given('--probe-seeds', request.probeSeeds), ...given('--evals', request.evals), '--out', out],
  ]);
}
