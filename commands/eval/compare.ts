// capi eval compare: do two records differ?
import { Args } from '@oclif/core';
import { BaseCommand } from '../../src/cli/base.js';

export default class EvalCompare extends BaseCommand<typeof EvalCompare> {
  static override summary = 'Say whether two results differ: paired differences over the same test images.';
  static override description =
    'RECORD is a record.json of capi eval, or the folder that holds it. Every head and metric that both have is compared by a paired bootstrap over test images (95 %).';
  static override examples = ['<%= config.bin %> eval compare evals/0123456789abcdef evals/fedcba9876543210'];
  static override args = {
    a: Args.string({ description: 'a record', required: true }),
    b: Args.string({ description: 'another record', required: true }),
  };

  async run(): Promise<object> {
    const { args } = await this.parse(EvalCompare);
    const { runCompare } = await import('../../src/cli/run_compare.js');
    return runCompare(args.a, args.b, (line) => this.log(line));
  }
}
