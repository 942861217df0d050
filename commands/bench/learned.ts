// capi bench learned: trained against untrained encoder of one run, on label maps.
import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../src/cli/base.js';

export default class BenchLearned extends BaseCommand<typeof BenchLearned> {
  static override summary = 'Compare the encoder of a run with its untrained self, on patch labels.';
  static override description =
    'Fits L2 logistic regression on frozen, standardised patch features of labelled scenes, C chosen on a tenth of the training scenes, and prints both mIoU with the paired 95 % interval over test images.';
  static override examples = ['<%= config.bin %> bench learned runs/fashion'];
  static override args = { run: Args.string({ required: true, description: 'run folder or checkpoint' }) };
  static override flags = {
    data: Flags.string({ description: "labelled source (default: the run's own)", helpValue: 'SOURCE' }),
    train: Flags.integer({ description: 'training scenes', default: 2000, min: 20 }),
    test: Flags.integer({ description: 'test scenes', default: 2000, min: 10 }),
    weights: Flags.string({ options: ['ema', 'student'], default: 'ema' }),
    picture: Flags.string({
      description: 'write image, labels and both predictions side by side',
      helpValue: 'FILE.png',
    }),
    force: Flags.boolean({ description: 'replace an existing picture' }),
    threads: Flags.integer({ description: 'threads of the engine', min: 1 }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(BenchLearned);
    const { runLearned } = await import('../../src/cli/run_learned.js');
    return runLearned({ run: args.run, ...flags, quiet: this.jsonEnabled() });
  }
}
