// capi bench logreg: logistic regression, beside PyTorch and scikit-learn.
import { Flags } from '@oclif/core';
import type { BenchResult } from '../../src/bench/run.js';
import { BenchCommand, benchFlags } from '../../src/cli/bench_command.js';

export default class BenchLogreg extends BenchCommand<typeof BenchLogreg> {
  static override summary = 'Time the logistic regression of the probes beside PyTorch and scikit-learn.';
  static override description =
    'To the same objective: within 0.1 % of its minimum, judged in float64 by NumPy, each library at the loosest tolerance that gets there.';
  static override flags = {
    ...benchFlags,
    samples: Flags.integer({ description: 'default 100000; 2000 with --quick', min: 100 }),
    width: Flags.integer({ description: 'channels (default 384; 16 with --quick)', min: 1 }),
    classes: Flags.integer({ description: 'default 150; 5 with --quick', min: 2, max: 255 }),
    c: Flags.custom<number>({ parse: async (text) => Number(text) })({
      description: 'inverse strength of the penalty',
      default: 0.1,
    }),
  };

  async run(): Promise<BenchResult> {
    const { flags } = await this.parse(BenchLogreg);
    const { benchLogreg } = await import('../../src/bench/logreg.js');
    return this.shown(benchLogreg({ ...flags, log: (text) => this.logToStderr(text) }));
  }
}
