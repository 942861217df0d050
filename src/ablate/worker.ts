// The worker process of an ablation: one run and its cells, or one stage of them. Started by `capi ablate` and by the jobs of a cluster.
import { takeLock } from '../base/files/lock.js';
import { InterruptedError, UsageError } from '../errors.js';
import { isFinished, writeCellFailure } from '../results/cell.js';
import { readRuns, workLock } from './folder.js';
import type { PlannedCell } from './plan.js';
import { requeueSelf } from './slurm.js';
import { evaluateStage, pretrainStage, type Watch } from './stages.js';

/** What a worker is to do. */
export interface Task {
  /** Folder of the ablation. */
  out: string;
  run: string;
  cells: readonly string[];
  /** A task of a scheduler: goes back into the queue on SIGUSR2, and leaves a note where it fails. */
  scheduled: boolean;
}

/** Pretrains the run if it has not ended, then evaluates the named cells. @throws UsageError, InterruptedError */
export async function work(task: Task, watch: Watch): Promise<void> {
  const [out, signal] = [task.out, watch.signal];
  const stored = await readRuns(out);
  const run = stored.runs.find(({ id }) => id === task.run);
  if (!run) throw new UsageError(`${out} has no run ${task.run}`);
  const cells = task.cells.map((id) => {
    const cell = stored.cells.find((c) => c.id === id && c.run === run.id);
    if (!cell) throw new UsageError(`${out} has no cell ${id} of run ${run.id}`);
    return cell;
  });
  const locked = async (id: string, stage: () => Promise<unknown>): Promise<void> => {
    const lock = await takeLock(workLock(out, id), { doing: 'capi ablate', signal });
    try {
      await stage();
    } finally {
      await lock.release();
    }
  };
  try {
    await locked(run.id, () => pretrainStage(out, run, stored, watch));
    for (const cell of cells) {
      if (signal.aborted) throw new InterruptedError(`interrupted by ${signal.reason}`);
      await locked(cell.id, async () => {
        if (!isFinished(out, cell.id)) await evaluateStage(out, run, cell, stored, watch);
      });
    }
  } catch (error) {
    if (task.scheduled) {
      const concerned = cells.length > 0 ? cells : stored.cells.filter((cell) => cell.run === run.id); // without a run, none of its cells
      await leaveQueue(out, concerned, error as Error, String(signal.reason));
    }
    throw error;
  }
}

/** The end of a scheduled task that did not finish: back into the queue when it was asked to make room, else a note beside its cells. */
async function leaveQueue(
  out: string,
  cells: readonly PlannedCell[],
  error: Error,
  signal: string,
): Promise<void> {
  let reason = error.message;
  if (error instanceof InterruptedError) {
    try {
      if (!requeueSelf(signal)) return;
      await new Promise((resolve) => setTimeout(resolve, 120_000)); // Slurm ends this process now
    } catch (refusal) {
      reason = `stopped by ${signal} and not queued again: ${(refusal as Error).message}`;
    }
  }
  for (const { id } of cells) if (!isFinished(out, id)) await writeCellFailure(out, id, reason);
}
