// capi ablate cell: one run of an ablation and its cells, for the processes that capi ablate and a cluster start.
import { Args, Flags } from '@oclif/core';
import type { JobReport } from '../../src/ablate/pool.js';
import { BaseCommand } from '../../src/cli/base.js';
import { interruptible } from '../../src/cli/signals.js';

export default class AblateCell extends BaseCommand<typeof AblateCell> {
  static override hidden = true;
  static override summary = 'Run one run of a planned ablation and its cells.';
  static override args = {
    out: Args.string({ description: 'folder of the ablation', required: true }),
    run: Args.string({ description: 'run', required: true }),
  };
  static override flags = {
    cell: Flags.string({
      description: 'cell to evaluate (repeatable)',
      multiple: true,
      multipleNonGreedy: true,
      default: [],
    }),
    scheduled: Flags.boolean({ description: 'this is a task of a scheduler' }),
    attached: Flags.boolean({ description: 'end when standard input ends' }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(AblateCell);
    const { out, run } = args;
    const { cell: cells, scheduled, attached } = flags;
    const { work } = await import('../../src/ablate/worker.js');
    const progress = this.progress<JobReport>(
      ({ stage, done, total }) => `${stage} ${done}/${total}`,
      (report) => report,
      2000,
    );
    await interruptible(async (signal) => {
      const stop = new AbortController();
      const end = (reason: string): void => {
        if (!stop.signal.aborted) stop.abort(reason);
      };
      signal.addEventListener('abort', () => end(String(signal.reason)), { once: true });
      if (attached) process.stdin.on('close', () => end('the end of capi ablate')).resume();
      const watch = {
        signal: stop.signal,
        onMessage: (text: string) => progress.message(text),
        onProgress: (stage: string, done: number, total: number, left: number) =>
          progress.report({
            run,
            stage,
            done,
            total,
            seconds_left: Number.isFinite(left) ? Math.round(left) : null,
          }),
      };
      try {
        await work({ out, run, cells, scheduled }, watch);
      } finally {
        if (attached) process.stdin.destroy();
        progress.end();
      }
    });
    return { run, cells };
  }
}
