// capi bench pretrain: the speed of the whole training step, beside PyTorch's.
import { Args, Flags } from '@oclif/core';
import type { BenchResult } from '../../src/bench/run.js';
import { BenchCommand, benchFlags } from '../../src/cli/bench_command.js';
import { configFlags, overridesOf } from '../../src/cli/config_flags.js';

export default class BenchPretrain extends BenchCommand<typeof BenchPretrain> {
  static override summary = 'Time whole training steps beside PyTorch, and each of their matrix products.';
  static override description =
    'Teacher, clustering, student, both optimisers and EMA, on the same weights, images and masks in every contender. Prints the ratio to the faster of ' +
    'PyTorch eager and torch.compile in each round; T*/T, the share of the step that its matrix products alone would take at the rates of the better library; and peak memory.';
  static override examples = [
    '<%= config.bin %> bench pretrain step',
    '<%= config.bin %> bench pretrain vit-s --pytorch .venv/bin/python',
    '<%= config.bin %> bench pretrain step --scan batch',
  ];
  static override args = {
    size: Args.string({ description: 'step, vit-s, a preset or a YAML file', default: 'step' }),
  };
  static override flags = {
    ...benchFlags,
    'per-round': Flags.integer({ description: 'steps in a round (default 5; 1 with --quick)', min: 1 }),
    compile: Flags.boolean({
      description: 'time torch.compile too (it compiles for minutes); with --scan only if asked',
      allowNo: true,
    }),
    bfloat16: Flags.boolean({ description: 'time PyTorch under bfloat16 autocast too', allowNo: true }),
    products: Flags.boolean({
      description: 'time the matrix products of the step one by one',
      allowNo: true,
      default: true,
    }),
    scan: Flags.option({
      description: 'how cost grows along one axis',
      options: ['batch', 'tokens', 'width', 'prototypes'] as const,
    })(),
    values: Flags.string({ description: 'values of the axis, e.g. 16,32,64', dependsOn: ['scan'] }),
    engine: configFlags.engine,
    device: configFlags.device,
    set: configFlags.set,
  };

  async run(): Promise<BenchResult> {
    const { args, flags } = await this.parse(BenchPretrain);
    const { benchPretrain } = await import('../../src/bench/pretrain.js');
    const { valuesOf } = await import('../../src/bench/scan.js');
    return this.shown(
      benchPretrain({
        ...flags,
        size: args.size,
        overrides: overridesOf(flags),
        perRound: flags['per-round'],
        compile: flags.compile ?? !flags.scan,
        bfloat16: flags.bfloat16 ?? !flags.scan,
        values: flags.values === undefined ? undefined : valuesOf(flags.values),
        log: (text) => this.logToStderr(text),
      }),
    );
  }
}
