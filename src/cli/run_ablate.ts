// What `capi ablate` does: plan, show, run on this machine, and say where every cell stands.

import { existsSync, readFileSync } from 'node:fs';
import { attempt, refuse } from '../ablate/faults.js';
import { ablateLock, cellStates, checkPlanFolder, mendCells, writePlan } from '../ablate/folder.js';
import { type Grid, readGrid } from '../ablate/grid.js';
import { armConfig, type Plan, type PlannedCell, type PlannedRun, planGrid } from '../ablate/plan.js';
import { type Job, type JobReport, jobsOf, runPool, type Unfinished } from '../ablate/pool.js';
import { takeLock } from '../base/files/lock.js';
import { checkWritable } from '../base/files/writable.js';
import { loadConfig, settingOf } from '../config/index.js';
import { flatten, type Mapping } from '../config/keys.js';
import { nearest } from '../config/nearest.js';
import { usableCores } from '../cores.js';
import { InterruptedError, UsageError } from '../errors.js';
import { isTask } from '../probes/tasks.js';
import { commandLine, quoted } from '../shell.js';
import { duration, Progress } from './progress.js';
import { interruptible } from './signals.js';
import { columns } from './table.js';

export interface AblateFlags {
  grid: string[];
  base?: string;
  set: string[];
  design?: string;
  seeds?: number;
  'probe-seeds'?: number;
  evals?: string;
  out?: string;
  jobs?: number;
  executor: string;
  only?: string[];
  limit?: number;
  status: boolean;
  'dry-run': boolean;
  quiet: boolean;
  /** Node's arguments that start this program again. */
  entry: readonly string[];
}

/** Returns the state of every cell. @throws UsageError with all faults of the grid; InterruptedError */
export async function runAblate(flags: AblateFlags): Promise<object> {
  const grid = gridOf(flags);
  const out = flags.out ?? `runs/ablate-${grid.name}`;
  const arms = armsOf(grid, flags.only);
  if (!flags['dry-run'] && !flags.status) await checkWritable(out);
  const plan = await planGrid(grid, { mayMiss: flags['dry-run'] });
  const chosen = {
    runs: plan.runs.filter(({ arm }) => arms.has(arm)),
    cells: plan.cells.filter(({ arm }) => arms.has(arm)),
  };
  if (flags['dry-run']) {
    const { estimate } = await import('../ablate/estimate.js');
    const { estimateText } = await import('./estimate_text.js');
    const found = await estimate(out, plan, chosen, jobsAtOnce(flags, grid));
    if (!flags.quiet) process.stdout.write(estimateText(found));
    return found;
  }
  if (!flags.status) {
    if (flags.executor === 'local') await refuseTooLarge(plan, chosen.runs);
    const text = existsSync(grid.origin) ? readFileSync(grid.origin, 'utf8') : null;
    await alone(out, flags.quiet, async (signal) => {
      const say = (line: string): void => {
        if (!flags.quiet) process.stderr.write(`${line}\n`);
      };
      await writePlan(out, plan, text, commandOf(flags, out), say);
      await mendCells(out, chosen.cells, say);
      if (flags.executor === 'slurm') await submitAll(out, plan, chosen, flags);
      else await runLocally(out, plan, chosen, flags, signal);
    });
  }
  const { withQueue } = await import('../ablate/slurm.js');
  const found = await cellStates(out, chosen.cells);
  // Where Slurm is not at hand, --status shows what the files say.
  const states =
    flags.executor === 'slurm'
      ? await withQueue(out, found)
      : flags.status
        ? await withQueue(out, found).catch(() => found)
        : found;
  if (!flags.quiet)
    process.stdout.write(statusText(out, plan, states, flags.status || flags.executor === 'slurm'));
  const failed = states.filter(({ state }) => state === 'failed').length;
  if (failed > 0 && !flags.status) process.exitCode = 1;
  return {
    out,
    name: grid.name,
    cells: states.map(({ cell, state, reason }) => ({
      id: cell.id,
      arm: grid.arms[cell.arm]!.name,
      seed: cell.seed,
      probe_seed: cell.probeSeed,
      evaluation: cell.evaluation.name,
      state,
      reason,
    })),
  };
}

/** Refuses arms that do not fit into this machine, all together. @throws UsageError */
async function refuseTooLarge(plan: Plan, runs: readonly PlannedRun[]): Promise<void> {
  const { checkMemory } = await import('../pretrain/cost.js');
  const faults: string[] = [];
  for (const arm of new Set(runs.map((run) => run.arm))) {
    const { config } = runs.find((run) => run.arm === arm)!;
    attempt(faults, () => checkMemory(config), `arm ${plan.grid.arms[arm]!.name}: `);
  }
  refuse(faults);
}

function gridOf(flags: AblateFlags): Grid {
  const known = new Map<string, ReadonlyMap<string, unknown>>();
  const baseValue = (base: string, set: Record<string, unknown>, key: string): unknown => {
    const name = JSON.stringify([base, set]);
    const values = known.get(name) ?? flatten(armConfig({ base, set, threads: 1 }, {}) as unknown as Mapping);
    known.set(name, values);
    return values.get(key);
  };
  const tasks = flags.evals?.split(',').map((task) => {
    if (isTask(task)) return task;
    throw new UsageError(`--evals ${flags.evals}: accepted: cls, seg or cls,seg`);
  });
  return readGrid({
    grids: flags.grid,
    base: flags.base,
    set: Object.fromEntries(flags.set.map((text) => settingOf(text)).map(({ key, value }) => [key, value])),
    design: flags.design as 'crossed' | 'one-factor' | undefined,
    seeds: flags.seeds,
    probeSeeds: flags['probe-seeds'],
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

const jobsAtOnce = (flags: AblateFlags, grid: Grid): number =>
  flags.jobs ?? Math.max(1, Math.floor(usableCores() / grid.threads));

/** The command without what changes no number. */
function commandOf(flags: AblateFlags, out: string): string {
  const given = (name: string, value: string | number | undefined): string[] =>
    value === undefined ? [] : [name, `${value}`];
  return commandLine([
    ...['ablate', ...flags.grid.flatMap((text) => ['--grid', text])],
    ...[...given('--base', flags.base), ...flags.set.flatMap((text) => ['--set', text])],
    ...[...given('--design', flags.design), ...given('--seeds', flags.seeds)],
    ...[...given('--probe-seeds', flags['probe-seeds']), ...given('--evals', flags.evals), '--out', out],
  ]);
}

/** Runs `work` as the only such command on the folder; where there is another, says which and waits for it. */
async function alone(
  out: string,
  quiet: boolean,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  await checkPlanFolder(out);
  await interruptible(async (signal) => {
    const lock = await takeLock(ablateLock(out), {
      doing: 'capi ablate',
      signal,
      onWait: (line) => {
        if (!quiet) process.stderr.write(`${line}\n`);
      },
    });
    try {
      await work(signal);
    } finally {
      await lock.release();
    }
  });
}

async function submitAll(
  out: string,
  plan: Plan,
  chosen: { runs: readonly PlannedRun[]; cells: readonly PlannedCell[] },
  flags: AblateFlags,
): Promise<void> {
  const { submit } = await import('../ablate/slurm.js');
  const jobs = await submit({
    out,
    plan,
    ...chosen,
    limit: flags.limit ?? Number.POSITIVE_INFINITY,
    entry: flags.entry,
  });
  if (flags.quiet) return;
  process.stderr.write(
    jobs.length > 0
      ? `submitted: jobs ${jobs.join(', ')}; the same command shows how they stand\n`
      : 'nothing left to submit\n',
  );
}

async function runLocally(
  out: string,
  plan: Plan,
  chosen: { runs: readonly PlannedRun[]; cells: readonly PlannedCell[] },
  flags: AblateFlags,
  signal: AbortSignal,
): Promise<void> {
  const jobs = jobsOf(out, chosen.runs, chosen.cells, flags.limit);
  if (jobs.length === 0) return;
  const view = new PoolView(plan, jobs, flags.quiet);
  const atOnce = jobsAtOnce(flags, plan.grid);
  view.message(
    `${out}: ${jobs.reduce((n, { cells }) => n + cells.length, 0)} cells of ${jobs.length} runs to do, ${Math.min(atOnce, jobs.length)} at once`,
  );
  let stopped = 0;
  try {
    await runPool(jobs, {
      out,
      jobs: atOnce,
      signal,
      entry: flags.entry,
      onReport: (report) => view.report(report),
      onEnd: (job, unfinished) => {
        if (unfinished?.state === 'stopped') stopped++;
        view.end(job, unfinished);
      },
    });
  } finally {
    view.close();
  }
  if (signal.aborted)
    throw new InterruptedError(
      `interrupted by ${signal.reason}; finished cells are kept and runs have a checkpoint. The same command goes on`,
    );
  if (stopped > 0)
    throw new InterruptedError(`${stopped} of ${jobs.length} runs were stopped. The same command goes on`);
}

interface ViewReport {
  cells: number;
  of: number;
  running: string[];
  secondsLeft: number;
}

/** One progress line for all jobs. A job counts as its share of work done, an evaluation as a tenth of a pretraining until one was seen. */
class PoolView {
  private readonly progress: Progress<ViewReport>;
  private readonly begin = performance.now();
  private readonly shares = new Map<string, number>();
  private readonly stages = new Map<string, string>();
  private readonly first = new Map<string, number>();
  private readonly of: number;
  private finished = 0;

  constructor(
    private readonly plan: Plan,
    private readonly jobs: readonly Job[],
    private readonly quiet: boolean,
  ) {
    this.of = jobs.reduce((n, { cells }) => n + cells.length, 0);
    this.progress = new Progress(
      process.stderr,
      ({ cells, of, running, secondsLeft }) =>
        `${cells}/${of} cells ETA ${duration(secondsLeft)} | ${running.join(' | ')}`,
      ({ secondsLeft, ...report }) => ({
        ...report,
        eta_seconds: Number.isFinite(secondsLeft) ? Math.round(secondsLeft) : null,
      }),
    );
  }

  message(text: string): void {
    if (!this.quiet) this.progress.message(text);
  }

  report(r: JobReport): void {
    const job = this.jobs.find(({ run }) => run.id === r.run);
    if (!job) return;
    const part = r.done / Math.max(1, r.total);
    const share = r.stage === 'pretrain' ? 0.85 * part : Math.max(0.85, this.shares.get(r.run) ?? 0);
    if (!this.first.has(r.run)) this.first.set(r.run, share); // where it stood when it was taken up
    this.shares.set(r.run, share);
    this.stages.set(r.run, `${this.nameOf(job)}: ${r.stage} ${Math.round(100 * part)} %`);
    this.show();
  }

  end(job: Job, unfinished: Unfinished | undefined): void {
    this.stages.delete(job.run.id);
    if (!this.first.has(job.run.id)) this.first.set(job.run.id, 0);
    this.shares.set(job.run.id, 1);
    this.finished += unfinished ? 0 : job.cells.length;
    const how = unfinished ? `${unfinished.state}: ${unfinished.reason}` : 'done';
    this.message(`${this.nameOf(job)}: ${how}`);
    this.show(true);
  }

  close(): void {
    this.progress.end();
  }

  private nameOf({ run }: Job): string {
    return `${this.plan.grid.arms[run.arm]!.name}, seed ${run.seed}`;
  }

  private show(last = false): void {
    if (this.quiet) return;
    let [done, left] = [0, 0];
    for (const { run } of this.jobs) {
      const [share, from] = [this.shares.get(run.id) ?? 0, this.first.get(run.id) ?? 0];
      done += share - from;
      left += 1 - share;
    }
    const elapsed = (performance.now() - this.begin) / 1000;
    this.progress.report(
      {
        cells: this.finished,
        of: this.of,
        running: [...this.stages.values()],
        secondsLeft: done > 0 ? (elapsed * left) / done : Number.NaN,
      },
      last,
    );
  }
}

function statusText(
  out: string,
  plan: Plan,
  states: Awaited<ReturnType<typeof cellStates>>,
  all: boolean,
): string {
  const counts = new Map<string, number>();
  for (const { state } of states) counts.set(state, (counts.get(state) ?? 0) + 1);
  const summary = [...counts].map(([state, n]) => `${n} ${state}`).join(', ');
  const shown = states.filter(({ state }) => all || (state !== 'done' && state !== 'waiting'));
  const rows = shown.map(({ cell, state, reason }) => [
    cell.id,
    plan.grid.arms[cell.arm]!.name,
    `${cell.seed}`,
    `${cell.probeSeed}`,
    cell.evaluation.name,
    state,
    reason ?? '',
  ]);
  const table =
    rows.length > 0
      ? `${columns([['cell', 'arm', 'seed', 'probe seed', 'evaluation', 'state', 'reason'], ...rows])}\n`
      : '';
  return `${table}${out}: ${summary} of ${states.length} cells\nreport: capi report ${quoted(out)}\n`;
}
