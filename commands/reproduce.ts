// capi reproduce: whether a recorded number comes out again.
import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base.js';
import { interruptible } from '../src/cli/signals.js';
import { stageProgress } from '../src/cli/stages.js';

export default class Reproduce extends BaseCommand<typeof Reproduce> {
  static override summary =
    'Run a record again in a new folder, and judge the scores by the intervals of the record.';
  static override description =
    'RECORD is the cell.json of an ablation (it is pretrained and evaluated again) or the record.json of capi eval (its encoder is evaluated again). ' +
    'A score is judged by half the width of its recorded 95 % interval; ends with exit code 1 where one lies outside.';
  static override examples = ['<%= config.bin %> reproduce results/table1-small/cells/ID/cell.json'];
  static override args = { record: Args.string({ description: 'cell.json or record.json', required: true }) };
  static override flags = {
    out: Flags.string({ description: 'new folder (default: runs/reproduce-ID)', helpValue: 'DIR' }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(Reproduce);
    const { reproduce } = await import('../src/reproduce/reproduce.js');
    const { judgedText } = await import('../src/cli/reproduce_text.js');
    const { EXIT } = await import('../src/errors.js');
    const progress = stageProgress(this.jsonEnabled());
    const { known: onProgress, message: onMessage } = progress;
    const result = await interruptible((signal) =>
      reproduce({ record: args.record, out: flags.out, signal, onProgress, onMessage }),
    ).finally(progress.end);
    if (!result.reproduced) process.exitCode = EXIT.unexpected;
    this.log(judgedText(result).trimEnd());
    return result;
  }
}
