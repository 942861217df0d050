// capi ablate cell: one run of an ablation and its cells, for the processes that capi ablate and a cluster start.
import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../src/cli/base.js';

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
    const { runCell } = await import('../../src/cli/run_cell.js');
    return runCell({
      out: args.out,
      run: args.run,
      cells: flags.cell,
      attached: flags.attached,
      scheduled: flags.scheduled,
    });
  }
}
