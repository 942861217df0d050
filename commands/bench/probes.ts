// capi bench probes: a grid of classification heads, beside PyTorch.
import { Args, Flags } from '@oclif/core';
import type { BenchResult } from '../../src/bench/run.js';
import { BenchCommand, benchFlags } from '../../src/cli/bench_command.js';

export default class BenchProbes extends BenchCommand<typeof BenchProbes> {
  static override summary = 'Time a step of a whole grid of classification heads beside PyTorch.';
  static override description =
    '120 heads, 30 grid points of each of 4 feature sources: stacked in one program, one by one, and in PyTorch both as a stack and as a module a head.';
  static override args = {
    kind: Args.string({
      description: 'stored: features in memory; encoder: ViT-S/14 at 224 px in the loop',
      options: ['stored', 'encoder'],
      default: 'stored',
    }),
  };
  static override flags = {
    ...benchFlags,
    classes: Flags.integer({ description: 'default 10, with the encoder 1000', min: 2 }),
    batch: Flags.integer({ description: 'samples of a step (default 256, with the encoder 32)', min: 1 }),
    'per-round': Flags.integer({ description: 'steps in a round (default 2, with the encoder 1)', min: 1 }),
  };

  async run(): Promise<BenchResult> {
    const { args, flags } = await this.parse(BenchProbes);
    const { benchProbes } = await import('../../src/bench/probes.js');
    return this.shown(
      benchProbes({
        ...flags,
        kind: args.kind as 'stored' | 'encoder',
        perRound: flags['per-round'],
        log: (text) => this.logToStderr(text),
      }),
    );
  }
}
