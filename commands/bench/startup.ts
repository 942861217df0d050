// capi bench startup: from the command line to an answer and to the first step.
import { Args } from '@oclif/core';
import { BaseCommand } from '../../src/cli/base.js';
import { benchFlags } from '../../src/cli/bench_flags.js';
import { configFlags } from '../../src/cli/config_flags.js';

export default class BenchStartup extends BaseCommand<typeof BenchStartup> {
  static override summary =
    'Time capi --help and the way to the first training step, beside Python with torch.';
  static override args = {
    size: Args.string({ description: 'step, vit-s, a preset or a YAML file', default: 'step' }),
  };
  static override flags = { ...benchFlags, set: configFlags.set };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(BenchStartup);
    const { benchStartup } = await import('../../src/bench/startup.js');
    return benchStartup({ ...flags, size: args.size, quiet: this.jsonEnabled() });
  }
}
