// capi bench extract: images to features of a frozen encoder, beside PyTorch.
import { Args, Flags } from '@oclif/core';
import type { BenchResult } from '../../src/bench/run.js';
import { BenchCommand, benchFlags } from '../../src/cli/bench_command.js';
import { configFlags, overridesOf } from '../../src/cli/config_flags.js';

export default class BenchExtract extends BenchCommand<typeof BenchExtract> {
  static override summary = 'Time feature extraction of a frozen encoder beside PyTorch eager.';
  static override description =
    'Bytes in; global vector, registers and patch features out, the same to 1e-4 on both sides. Weights are untrained: they cost the same.';
  static override examples = [
    '<%= config.bin %> bench extract step',
    '<%= config.bin %> bench extract vit-s',
  ];
  static override args = {
    size: Args.string({ description: 'step, vit-s, a preset or a YAML file', default: 'step' }),
  };
  static override flags = {
    ...benchFlags,
    batch: Flags.integer({ description: "images at once (default: the size's training batch)", min: 1 }),
    'per-round': Flags.integer({ description: 'batches in a round (default 5; 1 with --quick)', min: 1 }),
    engine: configFlags.engine,
    device: configFlags.device,
    set: configFlags.set,
  };

  async run(): Promise<BenchResult> {
    const { args, flags } = await this.parse(BenchExtract);
    const { benchExtract } = await import('../../src/bench/extract.js');
    return this.shown(
      benchExtract({
        ...flags,
        size: args.size,
        perRound: flags['per-round'],
        overrides: overridesOf(flags),
        log: (text) => this.logToStderr(text),
      }),
    );
  }
}
