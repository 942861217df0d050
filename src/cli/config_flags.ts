// The flags that choose and change a config: the same on every command that takes one.
import { Flags, type Interfaces } from '@oclif/core';
import type { Mapping } from '../config/keys.js';
import { engineFlags } from './engine_flags.js';

/** Which program of a config a command looks at. */
export const programFlags = {
  program: Flags.option({
    description: 'which program',
    options: ['step', 'encoder'] as const,
    default: 'step',
  })(),
  batch: Flags.integer({
    description: 'images at once (default: train.batch for the step, 1 for the encoder)',
    min: 1,
  }),
};

export const configFlags = {
  data: Flags.string({ description: 'image source, e.g. folder:DIR', helpValue: 'SOURCE' }),
  steps: Flags.integer({ description: 'length of the run; schedules are shares of it', min: 1 }),
  seed: Flags.integer({ description: 'seed of everything random', min: 0 }),
  ...engineFlags,
  'micro-batch': Flags.integer({
    description:
      'images at a time through the model, a divisor of the batch: less memory, the loss of the full batch',
    min: 1,
  }),
  set: Flags.string({
    description: 'change a config key, e.g. optim.lr=1e-3 (repeatable)',
    helpValue: 'KEY=VALUE',
    multiple: true,
    multipleNonGreedy: true,
    default: [],
  }),
};

type ConfigFlags = Interfaces.InferredFlags<typeof configFlags>;

/** The part of a config that the flags set, for loadConfig's `overrides`. */
export function overridesOf(flags: Partial<ConfigFlags>): Mapping {
  const defined = (values: Mapping): Mapping =>
    Object.fromEntries(Object.entries(values).filter(([, v]) => v !== undefined));
  return defined({
    seed: flags.seed,
    data: flags.data === undefined ? undefined : { source: flags.data },
    train: flags.steps === undefined ? undefined : { steps: flags.steps },
    engine: defined({
      name: flags.engine,
      device: flags.device,
      gpu: flags.gpu,
      threads: flags.threads,
      micro_batch: flags['micro-batch'],
    }),
  });
}

/** The config that `preset` and the flags ask for. */
export const configRequest = (preset: string, flags: ConfigFlags) => ({
  preset,
  sets: flags.set,
  overrides: overridesOf(flags),
});
