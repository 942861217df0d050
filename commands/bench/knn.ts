// capi bench knn: nearest neighbours, beside PyTorch and scikit-learn.
import { Flags } from '@oclif/core';
import type { BenchResult } from '../../src/bench/run.js';
import { BenchCommand, benchFlags } from '../../src/cli/bench_command.js';

export default class BenchKnn extends BenchCommand<typeof BenchKnn> {
  static override summary = 'Time the k-NN search of the probes beside PyTorch and scikit-learn.';
  static override description =
    'Exact cosine neighbours, k 20. Each library searches in the way that is its quickest for a tenth of the queries.';
  static override flags = {
    ...benchFlags,
    keys: Flags.integer({ description: 'training vectors (default 200000; 2000 with --quick)', min: 20 }),
    queries: Flags.integer({ description: 'test vectors (default 20000; 200 with --quick)', min: 10 }),
    width: Flags.integer({ description: 'channels (default 384; 32 with --quick)', min: 1 }),
  };

  async run(): Promise<BenchResult> {
    const { flags } = await this.parse(BenchKnn);
    const { benchKnn } = await import('../../src/bench/knn.js');
    return this.shown(benchKnn({ ...flags, log: (text) => this.logToStderr(text) }));
  }
}
