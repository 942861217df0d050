// capi ablate: every arm, seed and evaluation of a grid, resumable, on this machine or a cluster.
import { Flags } from '@oclif/core';
import { BaseCommand } from '../../src/cli/base.js';

export default class Ablate extends BaseCommand<typeof Ablate> {
  static override summary = 'Pretrain and evaluate every arm and seed of a grid, or go on with it.';
  static override description =
    'A grid is a file (benchmarks/ablations has one for each table of the paper), or axes on the command line: predictor, masking (each value with an ' +
    'optional @RATIO), registers, loss, sinkhorn, positions, or any config key. Cells are named by their contents: the same command goes on where ' +
    'it was stopped, and another arm runs nothing again. `capi report` makes tables of the folder.';
  static override examples = [
    '<%= config.bin %> ablate --grid benchmarks/ablations/small/table1.yaml --dry-run',
    '<%= config.bin %> ablate --grid predictor=fused,self,cross --base quickstart --evals seg',
    '<%= config.bin %> ablate --grid masking=random,random@0.9,inverse+roll --grid registers=0,4 --design one-factor --seeds 3',
  ];
  static override flags = {
    grid: Flags.string({
      description: 'a grid file, or AXIS=V1,V2 (repeatable)',
      helpValue: 'FILE|AXIS=V1,V2',
      required: true,
      multiple: true,
      multipleNonGreedy: true,
    }),
    base: Flags.string({
      description: 'preset or file that inline arms start from (default: quickstart)',
      helpValue: 'PRESET',
    }),
    set: Flags.string({
      description: 'change a config key in all arms (repeatable)',
      helpValue: 'KEY=VALUE',
      multiple: true,
      multipleNonGreedy: true,
      default: [],
    }),
    design: Flags.string({
      description: 'of inline axes (default: crossed)',
      options: ['crossed', 'one-factor'],
    }),
    seeds: Flags.integer({ description: 'pretraining seeds of inline grids (default: 3)', min: 1 }),
    'probe-seeds': Flags.integer({ description: 'probe seeds of inline grids (default: 1)', min: 1 }),
    evals: Flags.string({
      description:
        'evaluations of inline grids, on the data of the base (default: those of the preset, else cls,seg)',
      helpValue: 'cls,seg',
    }),
    out: Flags.string({
      description: 'folder of the ablation (default: runs/ablate-NAME)',
      helpValue: 'DIR',
    }),
    jobs: Flags.integer({ description: 'runs at once (default: cores over threads)', min: 1 }),
    executor: Flags.string({
      description: 'where cells run; slurm: arrays of sbatch, resources from the grid file',
      options: ['local', 'slurm'],
      default: 'local',
    }),
    only: Flags.string({
      description: 'run the cells of one arm (repeatable)',
      helpValue: 'ARM',
      multiple: true,
      multipleNonGreedy: true,
    }),
    limit: Flags.integer({ description: 'run the first N cells that are not finished', min: 1 }),
    status: Flags.boolean({ description: 'show where every cell stands, and run nothing' }),
    'dry-run': Flags.boolean({
      description: 'show cells, cost and disk, and run nothing',
      exclusive: ['status'],
    }),
  };

  async run(): Promise<object> {
    const { flags } = await this.parse(Ablate);
    const { runAblate } = await import('../../src/cli/run_ablate.js');
    return runAblate({ ...flags, quiet: this.jsonEnabled(), entry: [process.argv[1]!] });
  }
}
