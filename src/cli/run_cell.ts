// What the processes of an ablation do: one run and its cells, or one stage of them. Started by `capi ablate` and by the jobs of a cluster.
import { readRuns, workLock } from '../ablate/folder.js';
import type { PlannedCell } from '../ablate/plan.js';
import type { JobReport } from '../ablate/pool.js';
import { requeueSelf } from '../ablate/slurm.js';
import { evaluateStage, pretrainStage } from '../ablate/stages.js';
import { takeLock } from '../base/files/lock.js';
import { InterruptedError, UsageError } from '../errors.js';
import { isFinished, writeCellFailure } from '../results/cell.js';
import { Progress } from './progress.js';
import { interruptible } from './signals.js';

export interface CellFlags {
  out: string;
  run: string;
  cells: readonly string[];
  /** End when standard input ends: the process that started this one is gone. */
  attached: boolean;
  /** A task of a scheduler: goes back into the queue on SIGUSR2, and leaves a note where it fails. */
  scheduled: boolean;
}

/** Pretrains the run if it has not ended, then evaluates the named cells. */
export async function runCell(flags: CellFlags): Promise<{ run: string; cells: string[] }> {
  const stored = await readRuns(flags.out);
  const run = stored.runs.find(({ id }) => id === flags.run);
  if (!run) throw new UsageError(`${flags.out} has no run ${flags.run}`);
  const cells = flags.cells.map((id) => {
    const cell = stored.cells.find((c) => c.id === id && c.run === run.id);
    if (!cell) throw new UsageError(`${flags.out} has no cell ${id} of run ${run.id}`);
    return cell;
  });
  return interruptible(async (signal) => {
    const stop = new AbortController();
    const end = (reason: string): void => {
      if (!stop.signal.aborted) stop.abort(reason);
    };
    signal.addEventListener('abort', () => end(String(signal.reason)), { once: true });
    if (flags.attached) process.stdin.on('close', () => end('the end of capi ablate')).resume();
    const progress = new Progress<JobReport>(
      process.stderr,
      ({ stage, done, total }) => `${stage} ${done}/${total}`,
      (report) => report,
      2000,
    );
    const watch = {
      signal: stop.signal,
      onMessage: (text: string) => progress.message(text),
      onProgress: (stage: string, done: number, total: number, left: number) =>
        progress.report({
          run: run.id,
          stage,
          done,
          total,
          seconds_left: Number.isFinite(left) ? Math.round(left) : null,
        }),
    };
    const locked = async (id: string, work: () => Promise<unknown>): Promise<void> => {
      const lock = await takeLock(workLock(flags.out, id), { doing: 'capi ablate', signal: stop.signal });
      try {
        await work();
      } finally {
        await lock.release();
      }
    };
    try {
      await locked(run.id, () => pretrainStage(flags.out, run, stored, watch));
      for (const cell of cells) {
        if (stop.signal.aborted) throw new InterruptedError(`interrupted by ${stop.signal.reason}`);
        await locked(cell.id, async () => {
          if (!isFinished(flags.out, cell.id)) await evaluateStage(flags.out, run, cell, stored, watch);
        });
      }
    } catch (error) {
      if (flags.scheduled) {
        const concerned = cells.length > 0 ? cells : stored.cells.filter((cell) => cell.run === run.id); // without a run, none of its cells
        await leaveQueue(flags.out, concerned, error as Error, String(stop.signal.reason));
      }
      throw error;
    } finally {
      if (flags.attached) process.stdin.destroy();
      progress.end();
    }
    return { run: run.id, cells: cells.map(({ id }) => id) };
  });
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
