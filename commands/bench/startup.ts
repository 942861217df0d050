// capi bench startup: from the command line to an answer and to the first step.
import { Args } from '@oclif/core';
import type { BenchResult } from '../../src/bench/run.js';
import { BenchCommand, benchFlags } from '../../src/cli/bench_command.js';
import { configFlags } from '../../src/cli/config_flags.js';

export default class BenchStartup extends BenchCommand<typeof BenchStartup> {
  static override summary =
    'Time capi --help and the way to the first training step, beside Python with torch.';
  static override args = {
    size: Args.string({ description: 'step, vit-s, a preset or a YAML file', default: 'step' }),
  };
  static override flags = { ...benchFlags, set: configFlags.set };

  async run(): Promise<BenchResult> {
    const { args, flags } = await this.parse(BenchStartup);
    const { benchStartup } = await import('../../src/bench/startup.js');
    return this.shown(benchStartup({ ...flags, size: args.size, log: (text) => this.logToStderr(text) }));
  }
}
