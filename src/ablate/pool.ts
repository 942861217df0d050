// Runs the cells of an ablation on this machine: one process a run, several at once, each started again where it stood.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pLimit from 'p-limit';
import { makeFolder } from '../base/files/write.js';
import { EXIT } from '../errors.js';
import { isFinished, writeCellFailure, writeCellStop } from '../results/cell.js';
import type { PlannedCell, PlannedRun } from './plan.js';

/** A run with those of its cells that are not finished. */
export interface Job {
  readonly run: PlannedRun;
  readonly cells: readonly PlannedCell[];
}

/** What a job's process says of its progress; also one line of its stderr. */
export interface JobReport {
  readonly run: string;
  readonly stage: string;
  readonly done: number;
  readonly total: number;
  readonly seconds_left: number | null;
}

export interface PoolOptions {
  readonly out: string;
  /** Processes at once. */
  readonly jobs: number;
  readonly signal: AbortSignal;
  /** Node's arguments before those of capi. */
  readonly entry: readonly string[];
  onReport(report: JobReport): void;
  /** A job's process has ended; where cells of it are not finished, as what and why in words. */
  onEnd(job: Job, unfinished: Unfinished | undefined): void;
}

export interface Unfinished {
  readonly state: 'failed' | 'stopped';
  readonly reason: string;
}

/** Runs with work left, in the order of the plan, until `limit` cells are taken. */
export function jobsOf(
  out: string,
  runs: readonly PlannedRun[],
  cells: readonly PlannedCell[],
  limit = Infinity,
): Job[] {
  const jobs: Job[] = [];
  let taken = 0;
  for (const run of runs) {
    const own = cells
      .filter((cell) => cell.run === run.id && !isFinished(out, cell.id))
      .slice(0, limit - taken);
    if (own.length === 0) continue;
    taken += own.length;
    jobs.push({ run, cells: own });
  }
  return jobs;
}

/**
 * Runs all jobs; those that fail are reported and stop no other. Resolves when every process that was started has ended; cells without a
 * record then have a note that says why, but those of jobs that were not begun.
 */
export async function runPool(jobs: readonly Job[], o: PoolOptions): Promise<void> {
  await makeFolder(join(o.out, 'work'));
  const limit = pLimit(o.jobs);
  await Promise.all(
    jobs.map((job) =>
      limit(async () => {
        if (o.signal.aborted) return;
        o.onEnd(job, await runJob(job, o));
      }),
    ),
  );
}

async function runJob(job: Job, o: PoolOptions): Promise<Unfinished | undefined> {
  const args = [
    ...o.entry,
    'ablate',
    'cell',
    o.out,
    job.run.id,
    ...job.cells.flatMap(({ id }) => ['--cell', id]),
  ];
  // Its standard input tells it that this process lives: a killed parent must not leave orphans that go on writing.
  const child = spawn(process.execPath, [...args, '--attached'], { stdio: ['pipe', 'ignore', 'pipe'] });
  const stop = (): void => void child.kill('SIGTERM');
  o.signal.addEventListener('abort', stop, { once: true });
  let last = '';
  createInterface({ input: child.stderr }).on('line', (line) => {
    const report = reportOf(line);
    if (report === undefined) last = line;
    else if (report !== 'message') o.onReport(report);
  });
  const code = await new Promise<number | string>((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (code, signal) => resolve(signal ?? code ?? EXIT.unexpected));
  });
  o.signal.removeEventListener('abort', stop);
  if (code === 0) return undefined;
  const ended = o.signal.aborted ? `interrupted by ${o.signal.reason}` : `its process ended with ${code}`;
  const reason = last.replace(/^error: /, '') || ended;
  // Once it was asked to stop, by this process or by somebody else, whatever ended it is a stop: the same command goes on.
  const state = code === EXIT.interrupted || o.signal.aborted ? 'stopped' : 'failed';
  const note = state === 'stopped' ? writeCellStop : writeCellFailure;
  for (const { id } of job.cells) if (!isFinished(o.out, id)) await note(o.out, id, reason);
  return { state, reason };
}

function reportOf(line: string): JobReport | 'message' | undefined {
  try {
    const value = JSON.parse(line) as Partial<JobReport> & { message?: string };
    if (typeof value.message === 'string') return 'message';
    return typeof value.stage === 'string' ? (value as JobReport) : undefined;
  } catch {
    return undefined;
  }
}
