// capi bench pretrain: the speed of the whole training step, beside PyTorch's.
import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../src/cli/base.js';
import { configFlags } from '../../src/cli/config_flags.js';

export default class BenchPretrain extends BaseCommand<typeof BenchPretrain> {
  static override summary =
    'Time whole training steps: img/s, GFLOP/s, share of the GEMM rate, ratio to PyTorch.';
  static override description =
    'Teacher, clustering, student, both optimisers and EMA, on synthetic batches. With --pytorch the same step in PyTorch runs in alternating rounds.';
  static override examples = [
    '<%= config.bin %> bench pretrain',
    '<%= config.bin %> bench pretrain --pytorch .venv/bin/python --rounds 5',
  ];
  static override args = {
    preset: Args.string({ description: 'preset name or YAML file (default: benchmarks/speed/step.yaml)' }),
  };
  static override flags = {
    ...configFlags,
    rounds: Flags.integer({ description: 'alternating rounds', default: 5, min: 1 }),
    'per-round': Flags.integer({ description: 'steps in a round', default: 5, min: 1 }),
    pytorch: Flags.string({
      description: 'python with torch 2.13.0',
      helpValue: 'PYTHON',
      env: 'CAPI_PYTHON',
    }),
    compile: Flags.boolean({ description: 'time torch.compile too' }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(BenchPretrain);
    const { benchPretrain } = await import('../../src/cli/bench_pretrain.js');
    return benchPretrain({
      ...flags,
      ...(args.preset ? { preset: args.preset } : {}),
      perRound: flags['per-round'],
      quiet: this.jsonEnabled(),
    });
  }
}
