// capi ablate: every arm, seed and evaluation of a grid, resumable, on this machine or a cluster.
import { Flags } from '@oclif/core';
import type { CellState } from '../../src/ablate/folder.js';
import type { Ablation } from '../../src/ablate/run.js';
import { BaseCommand } from '../../src/cli/base.js';
import { estimateText } from '../../src/cli/estimate_text.js';
import { JobsView, jobsJson, jobsLine } from '../../src/cli/jobs_view.js';
import { interruptible } from '../../src/cli/signals.js';
import { columns } from '../../src/cli/table.js';
import { EXIT } from '../../src/errors.js';
import { quoted } from '../../src/shell.js';

export default class Ablate extends BaseCommand<typeof Ablate> {
  static override summary = 'Pretrain and evaluate every arm and seed of a grid, or go on with it.';
  static override description =
    'A grid is a file (benchmarks/ablations has one for each table of the paper), or axes on the command line: predictor, masking (each value with an ' +
    'optional @RATIO), registers, loss, sinkhorn, positions, or any config key. Cells are named by their contents: the same command goes on where ' +
    'it was stopped, and another arm runs nothing again. `capi report` makes tables of the folder.';
  static override examples = [
    '<%= config.bin %> ablate --grid benchmarks/ablations/small/table1.yaml --dry-run',
    '<%= config.bin %> ablate --grid predictor=fused,self,cross --base quickstart --evals seg',
    '<%= config.bin %> ablate --grid masking=random,random@0.9,inverse+roll --grid registers=0,4 --design one-factor --seeds 3',
  ];
  static override flags = {
    grid: Flags.string({
      description: 'a grid file, or AXIS=V1,V2 (repeatable)',
      helpValue: 'FILE|AXIS=V1,V2',
      required: true,
      multiple: true,
      multipleNonGreedy: true,
    }),
    base: Flags.string({
      description: 'preset or file that inline arms start from (default: quickstart)',
      helpValue: 'PRESET',
    }),
    set: Flags.string({
      description: 'change a config key in all arms (repeatable)',
      helpValue: 'KEY=VALUE',
      multiple: true,
      multipleNonGreedy: true,
      default: [],
    }),
    design: Flags.option({
      description: 'of inline axes (default: crossed)',
      options: ['crossed', 'one-factor'] as const,
    })(),
    seeds: Flags.integer({ description: 'pretraining seeds of inline grids (default: 3)', min: 1 }),
    'probe-seeds': Flags.integer({ description: 'probe seeds of inline grids (default: 1)', min: 1 }),
    evals: Flags.string({
      description:
        'evaluations of inline grids, on the data of the base (default: those of the preset, else cls,seg)',
      helpValue: 'cls,seg',
    }),
    out: Flags.string({
      description: 'folder of the ablation (default: runs/ablate-NAME)',
      helpValue: 'DIR',
    }),
    jobs: Flags.integer({ description: 'runs at once (default: cores over threads)', min: 1 }),
    executor: Flags.option({
      description: 'where cells run; slurm: arrays of sbatch, resources from the grid file',
      options: ['local', 'slurm'] as const,
      default: 'local',
    })(),
    only: Flags.string({
      description: 'run the cells of one arm (repeatable)',
      helpValue: 'ARM',
      multiple: true,
      multipleNonGreedy: true,
    }),
    limit: Flags.integer({ description: 'run the first N cells that are not finished', min: 1 }),
    status: Flags.boolean({ description: 'show where every cell stands, and run nothing' }),
    'dry-run': Flags.boolean({
      description: 'show cells, cost and disk, and run nothing',
      exclusive: ['status'],
    }),
  };

  async run(): Promise<object> {
    const { flags } = await this.parse(Ablate);
    const { jobsAtOnce, planAblation, runAblation, statesOf } = await import('../../src/ablate/run.js');
    const slurm = flags.executor === 'slurm';
    const use = flags['dry-run'] ? 'estimate' : flags.status ? 'look' : 'run';
    const ablation = await planAblation({ ...flags, probeSeeds: flags['probe-seeds'] }, use);
    if (use === 'estimate') {
      const { estimate } = await import('../../src/ablate/estimate.js');
      const found = await estimate(ablation, jobsAtOnce(ablation, flags.jobs));
      this.log(estimateText(found));
      return found;
    }
    if (use === 'run') {
      const progress = this.progress(jobsLine, jobsJson);
      let view: JobsView | undefined;
      await interruptible((signal) =>
        runAblation(ablation, {
          ...flags,
          signal,
          entry: [process.argv[1]!],
          onMessage: (line) => this.logToStderr(line),
          onJobs: (jobs, atOnce) => {
            view = new JobsView(ablation.plan, jobs, progress);
            const cells = jobs.reduce((n, job) => n + job.cells.length, 0);
            progress.message(
              `${ablation.out}: ${cells} cells of ${jobs.length} runs to do, ${Math.min(atOnce, jobs.length)} at once`,
            );
          },
          onReport: (report) => view?.report(report),
          onEnd: (job, unfinished) => view?.end(job, unfinished),
        }),
      ).finally(() => progress.end());
    }
    const states = await statesOf(ablation, slurm ? 'ask' : flags.status ? 'try' : 'no');
    this.log(statusText(ablation, states, flags.status || slurm));
    if (!flags.status && states.some(({ state }) => state === 'failed')) process.exitCode = EXIT.unexpected;
    const { grid } = ablation.plan;
    return {
      out: ablation.out,
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
}

/** @param all cells; else those that are neither finished nor waiting */
function statusText({ out, plan }: Ablation, states: readonly CellState[], all: boolean): string {
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
  return `${table}${out}: ${summary} of ${states.length} cells\nreport: capi report ${quoted(out)}`;
}
