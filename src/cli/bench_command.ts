// What every command of `capi bench` has: flags for rounds, threads, the python beside us, small sizes and the record; and its tables.
import { type Command, Flags } from '@oclif/core';
import type { BenchResult } from '../bench/run.js';
import { BaseCommand } from './base.js';

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

export abstract class BenchCommand<T extends typeof Command> extends BaseCommand<T> {
  /** Waits for a benchmark, prints its tables, and returns its record for --json. */
  protected async shown(bench: Promise<BenchResult>): Promise<BenchResult> {
    const result = await bench;
    const { benchText } = await import('./bench_table.js');
    this.log(benchText(result));
    return result;
  }
}
