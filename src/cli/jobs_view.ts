// Progress of an ablation on this machine: one line for all jobs.
import type { Plan } from '../ablate/plan.js';
import type { Job, JobReport, Unfinished } from '../ablate/pool.js';
import { duration, type Progress } from './progress.js';

export interface JobsReport {
  cells: number;
  of: number;
  running: string[];
  secondsLeft: number;
}

/** One progress line for all jobs. A job counts as its share of work done, an evaluation as a tenth of a pretraining until one was seen. */
export class JobsView {
  private readonly begin = performance.now();
  private readonly shares = new Map<string, number>();
  private readonly stages = new Map<string, string>();
  private readonly first = new Map<string, number>();
  private readonly of: number;
  private finished = 0;

  constructor(
    private readonly plan: Plan,
    private readonly jobs: readonly Job[],
    private readonly progress: Progress<JobsReport>,
  ) {
    this.of = jobs.reduce((n, { cells }) => n + cells.length, 0);
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
    this.progress.message(`${this.nameOf(job)}: ${how}`);
    this.show(true);
  }

  private nameOf({ run }: Job): string {
    return `${this.plan.grid.arms[run.arm]!.name}, seed ${run.seed}`;
  }

  private show(last = false): void {
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

export const jobsLine = ({ cells, of, running, secondsLeft }: JobsReport): string =>
  `${cells}/${of} cells ETA ${duration(secondsLeft)} | ${running.join(' | ')}`;

export const jobsJson = ({ secondsLeft, ...report }: JobsReport): object => ({
  ...report,
  eta_seconds: Number.isFinite(secondsLeft) ? Math.round(secondsLeft) : null,
});
