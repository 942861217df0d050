// capi verify: is everything that is stored here what was written?
import { Args } from '@oclif/core';
import { BaseCommand } from '../src/cli/base.js';

export default class Verify extends BaseCommand<typeof Verify> {
  static override summary =
    'Check everything that capi stored below a folder, and say what to do about what is wrong.';
  static override description =
    'Compares every file with its digest, every record and cell with its id, its folder and its counts, and computes scores and intervals again. Takes folders of runs, ' +
    'evaluations, ablations, exports and the feature store. Files of older versions have no digest: they are counted as unsealed. Ends with exit code 4 where something is wrong.';
  static override examples = [
    '<%= config.bin %> verify runs/first',
    '<%= config.bin %> verify results evals ~/.cache/capi --json',
  ];
  static override strict = false;
  static override args = {
    folders: Args.string({ description: 'folders that capi wrote', required: true }),
  };

  async run(): Promise<object> {
    const { argv } = await this.parse(Verify);
    const { runVerify } = await import('../src/cli/run_verify.js');
    return runVerify({ folders: argv as string[], quiet: this.jsonEnabled() });
  }
}
