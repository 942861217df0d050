// The folder of an ablation: its plan for the processes that run cells and for the report, and where each cell stands.
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { holderText } from '../base/files/holder.js';
import { lockHolder } from '../base/files/lock.js';
import { readSealed, writeSealed } from '../base/files/seal.js';
import { isTorn, readUnlessTorn } from '../base/files/torn.js';
import { makeFolder, writeText } from '../base/files/write.js';
import { parseConfig } from '../config/index.js';
import { DataError, UsageError } from '../errors.js';
import {
  cellFile,
  findCell,
  isFinished,
  type RunSummary,
  readCellFailure,
  readCellStop,
  runStates,
} from '../results/cell.js';
import { type AblationPlan, PLAN, readPlan } from '../results/plan.js';
import type { Plan, PlannedCell, PlannedRun } from './plan.js';

/** Configs of all runs: what a process that runs a cell reads. */
export const RUNS = 'runs.json';

/** Looks whether a folder can be an ablation's before anything is written into it. @throws UsageError */
export async function checkPlanFolder(out: string): Promise<void> {
  const kind = await stat(out).catch((error: NodeJS.ErrnoException) => error.code);
  if (kind === 'ENOENT' || (typeof kind === 'object' && kind.isDirectory())) return;
  throw new UsageError(`${out} is no folder: choose another with --out`);
}

/** Writes plan and runs, and the grid beside them. @throws UsageError when the folder is another ablation's */
export async function writePlan(
  out: string,
  plan: Plan,
  gridText: string | null,
  command: string,
  say?: (line: string) => void,
): Promise<void> {
  const known = existsSync(join(out, PLAN))
    ? await readUnlessTorn(join(out, PLAN), () => readPlan(out), say)
    : undefined;
  if (known && known.name !== plan.grid.name) {
    throw new UsageError(`${out} holds the ablation ${known.name}: choose another folder with --out`);
  }
  await makeFolder(out);
  const { grid } = plan;
  const config = plan.runs[0]!.config;
  const stored: AblationPlan = {
    schema: 2,
    name: grid.name,
    title: grid.title,
    command,
    design: grid.design,
    base: grid.base,
    axes: [...grid.axes],
    baseline: grid.baseline,
    seeds: [...grid.seeds],
    probe_seeds: [...grid.probeSeeds],
    threads: grid.threads,
    scale: {
      steps: config.train.steps,
      batch: config.train.batch,
      data: config.data.source,
      width: config.model.width,
      depth: config.model.depth,
    },
    arms: grid.arms.map((arm, i) => ({
      ...arm,
      values: { ...arm.values },
      settings: { ...arm.settings },
      cells: plan.cells
        .filter((cell) => cell.arm === i)
        .map(({ id, seed, probeSeed, evaluation }) => ({
          id,
          seed,
          probe_seed: probeSeed,
          evaluation: evaluation.name,
        })),
    })),
    evaluations: plan.evals.map(({ name, task }) => ({ name, task })),
    paper: { ...grid.paper },
  };
  await writeSealed(join(out, PLAN), stored);
  await writeSealed(join(out, RUNS), {
    early_stop: grid.earlyStop,
    base: grid.base,
    set: grid.set,
    arms: grid.arms.map(({ settings }) => settings),
    runs: plan.runs,
    cells: plan.cells,
  });
  if (gridText !== null) await writeText(join(out, 'grid.yaml'), gridText);
  await writeText(join(out, '.gitignore'), 'runs/\nwork/\nslurm/\nruns.json\n*.lock\n');
}

export interface StoredRuns {
  readonly early_stop: boolean;
  readonly base: string;
  readonly set: Record<string, unknown>;
  readonly arms: readonly Record<string, unknown>[];
  readonly runs: readonly PlannedRun[];
  readonly cells: readonly PlannedCell[];
}

/** @throws DataError when the folder has no plan */
export async function readRuns(out: string): Promise<StoredRuns> {
  const file = join(out, RUNS);
  try {
    const stored = (await readSealed(file)).value as unknown as StoredRuns;
    return {
      ...stored,
      runs: stored.runs.map((run) => ({ ...run, config: parseConfig(run.config as never, file) })),
    };
  } catch (error) {
    throw new DataError(
      `${file} cannot be read (${(error as Error).message}): run capi ablate --grid FILE --out ${out} again`,
    );
  }
}

/** How a cell stands. */
export interface CellState {
  readonly cell: PlannedCell;
  readonly state: 'waiting' | 'queued' | 'running' | 'stopped' | 'failed' | RunSummary['state'];
  readonly reason: string | null;
}

/** Whether a cell is finished, however its run ended. */
export const hasRecord = ({ state }: CellState): boolean => runStates.some((ended) => ended === state);

/** Held by the command that writes the plan and starts processes. */
export const ablateLock = (out: string): string => workLock(out, 'ablate');

/** Held by the process that pretrains a run, or evaluates a cell. */
export const workLock = (out: string, id: string): string => join(out, 'work', `${id}.lock`);

/** Sets aside the records of cells that are torn, so that they are made again; only for the process that has the ablation's lock. */
export async function mendCells(
  out: string,
  cells: readonly PlannedCell[],
  say: (line: string) => void,
): Promise<void> {
  for (const { id } of cells) {
    if (isFinished(out, id)) await readUnlessTorn(cellFile(out, id), () => findCell(out, id), say);
  }
}

export async function cellStates(out: string, cells: readonly PlannedCell[]): Promise<CellState[]> {
  const states: CellState[] = [];
  for (const cell of cells) {
    const record = await findCell(out, cell.id).catch(async (error) => {
      if (!(await isTorn(error))) throw error;
      states.push({ cell, state: 'stopped', reason: `${error.message}. The same command makes it again` });
    });
    if (states.at(-1)?.cell === cell) continue;
    if (record) {
      states.push({ cell, state: record.run.state, reason: record.run.reason });
      continue;
    }
    const running = (await lockHolder(workLock(out, cell.run))) ?? (await lockHolder(workLock(out, cell.id)));
    const failure = running ? undefined : await readCellFailure(out, cell.id);
    const stop = running ? undefined : await readCellStop(out, cell.id);
    states.push({
      cell,
      state: running ? 'running' : failure ? 'failed' : stop ? 'stopped' : 'waiting',
      reason: running ? holderText(running) : (failure ?? stop ?? null),
    });
  }
  return states;
}
