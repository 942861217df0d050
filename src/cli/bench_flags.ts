// The flags that every benchmark has: rounds, threads, the python beside us, small sizes, where the record goes.
import { Flags } from '@oclif/core';

export const benchFlags = {
  rounds: Flags.integer({ description: 'alternating rounds (default 5; 2 with --quick)', min: 1 }),
  threads: Flags.integer({ description: 'threads of every contender', min: 1 }),
  pytorch: Flags.string({
    description:
      'python with benchmarks/speed/pytorch/requirements.txt, or none (default: .venv/bin/python where there is one)',
    helpValue: 'PYTHON',
    env: 'CAPI_PYTHON',
  }),
  quick: Flags.boolean({
    description: 'small sizes and few rounds: shows that it works, not how fast',
    default: false,
  }),
  out: Flags.string({ description: 'folder of records', default: 'results/bench', helpValue: 'DIR' }),
};

export interface BenchFlags {
  rounds?: number | undefined;
  threads?: number | undefined;
  pytorch?: string | undefined;
  quick: boolean;
  out: string;
  /** Under --json nothing but the record is printed. */
  quiet: boolean;
}
