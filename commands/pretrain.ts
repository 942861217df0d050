// capi pretrain: images in, a resumable CAPI checkpoint out.
import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../src/cli/base.js';
import { configFlags } from '../src/cli/config_flags.js';

export default class Pretrain extends BaseCommand<typeof Pretrain> {
  static override summary = 'Train CAPI into a run folder, or go on with the run that is there.';
  static override description =
    'PRESET is a name from benchmarks/presets, FILE a YAML file. The same command, in the same folder, resumes exactly where a kill left it. ' +
    'SIGINT, SIGTERM and SIGUSR2 write a checkpoint and end with exit code 130.';
  static override examples = [
    '<%= config.bin %> pretrain quickstart',
    '<%= config.bin %> pretrain fashion --data fashion-scenes:/usr/share/datasets/fashion-mnist --out runs/fashion',
    '<%= config.bin %> pretrain quickstart --steps 50 --set model.registers=0 --set optim.lr=1e-3',
  ];
  static override args = {
    preset: Args.string({ description: 'preset name or YAML file', default: 'quickstart' }),
  };
  static override flags = {
    ...configFlags,
    out: Flags.string({ description: 'run folder (default: runs/NAME-IDENTITY)', helpValue: 'DIR' }),
    'allow-engine-change': Flags.boolean({
      description: 'go on with a run although engine, device or threads differ; the run records it',
    }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(Pretrain);
    const { runPretrain } = await import('../src/cli/run_pretrain.js');
    return runPretrain({
      preset: args.preset,
      ...flags,
      allowEngineChange: flags['allow-engine-change'],
      quiet: this.jsonEnabled(),
    });
  }
}
