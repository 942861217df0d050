// The flags of capi eval cls and capi eval seg.
import { Args, Flags } from '@oclif/core';
import { type EngineFlagValues, engineFlags } from './engine_flags.js';

export const evalArgs = {
  encoder: Args.string({ description: 'one or more encoders', required: true, multiple: true }),
};

export const evalFlags = {
  train: Flags.string({
    description: 'labelled source that heads learn from and are selected on',
    helpValue: 'SOURCE',
    required: true,
  }),
  test: Flags.string({
    description: 'labelled source that is read once, at the end (repeatable)',
    helpValue: 'SOURCE',
    required: true,
    multiple: true,
    multipleNonGreedy: true,
  }),
  protocol: Flags.string({
    description: 'official, quick, or a YAML file',
    default: 'quick',
    helpValue: 'NAME|FILE',
  }),
  weights: Flags.option({ options: ['ema', 'student'] as const, default: 'ema' })(),
  floors: Flags.boolean({
    description: "add encoders that learned nothing, of the first encoder's form, and bounds",
  }),
  ...engineFlags,
  memory: Flags.string({ description: 'memory for features in GB (default: a quarter of the machine)' }),
  limit: Flags.integer({ description: 'images of each set at most, spread evenly', min: 2 }),
  seed: Flags.integer({ description: 'seed of heads and batches', min: 0, default: 0 }),
  'dry-run': Flags.boolean({ description: 'print images, vectors, disk, memory and time, and stop' }),
  force: Flags.boolean({ description: 'evaluate again where a finished record exists; the old one stays' }),
  'allow-overlap': Flags.boolean({
    description: 'evaluate although more than 1 % of the test images are among the training images',
  }),
  out: Flags.string({ description: 'folder of the records', default: 'evals', helpValue: 'DIR' }),
  csv: Flags.boolean({ description: 'print CSV instead of the table' }),
};

export interface EvalFlags extends EngineFlagValues {
  encoders: string[];
  train: string;
  test: string[];
  protocol: string;
  weights: 'ema' | 'student';
  floors: boolean;
  memory?: string;
  limit?: number;
  seed: number;
  'dry-run': boolean;
  force: boolean;
  'allow-overlap'?: boolean;
  out: string;
  csv: boolean;
  quiet: boolean;
}
