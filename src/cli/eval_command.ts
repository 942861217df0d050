// What every command of `capi eval` that makes records has: its flags, the evaluation, its table, and the object that --json prints.
import { totalmem } from 'node:os';
import { Args, type Command, Flags, type Interfaces } from '@oclif/core';
import { UsageError } from '../errors.js';
import type { EvaluateOptions } from '../probes/evaluate.js';
import type { TaskName } from '../probes/tasks.js';
import { BaseCommand } from './base.js';
import { engineFlags, evaluationEngine } from './engine_flags.js';
import { interruptible } from './signals.js';
import { stageProgress } from './stages.js';

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

type EvalFlags = Interfaces.InferredFlags<typeof evalFlags>;

export abstract class EvalCommand<T extends typeof Command> extends BaseCommand<T> {
  /** Evaluates the encoders, or plans it, and prints a table. */
  protected async evaluate(task: TaskName, encoders: string[], flags: EvalFlags): Promise<object> {
    const { engineText } = await import('../engine/extractor.js');
    const { openEngine } = await import('../engine/select.js');
    const { defaultStoreFolder } = await import('../features/store.js');
    const { checkWritable } = await import('../base/files/writable.js');
    const tables = await import('./eval_table.js');
    const memory = memoryOf(flags.memory);
    if (!flags['dry-run']) await checkWritable(flags.out);
    const engine = await openEngine(evaluationEngine(flags));
    const progress = stageProgress(this.jsonEnabled());
    if (engine.extractor || engine.device !== 'cpu') progress.message(`on ${engineText(engine)}`);
    const options: EvaluateOptions = {
      task,
      engine,
      encoders,
      train: flags.train,
      tests: flags.test,
      protocol: flags.protocol,
      weights: flags.weights,
      floors: flags.floors,
      memory,
      limit: flags.limit ?? null,
      seed: flags.seed,
      out: flags.out,
      store: defaultStoreFolder(),
      force: flags.force,
      allowOverlap: flags['allow-overlap'],
    };
    if (flags['dry-run']) {
      const { planEvaluation } = await import('../probes/plan.js');
      const plan = await planEvaluation(options);
      this.log(tables.planText(plan).trimEnd());
      return { plan };
    }
    const { evaluate } = await import('../probes/evaluate.js');
    const { compareWithFirst } = await import('../probes/compare.js');
    const watch = { onStage: progress.stage, onMessage: progress.message };
    const evaluations = await interruptible(
      (signal) => evaluate({ ...options, watch: { ...watch, signal } }).finally(() => progress.end()),
      { grace: 2000, after: 'what was computed is kept. The same command goes on' },
    );
    const comparisons = await compareWithFirst(evaluations);
    if (!this.jsonEnabled())
      process.stdout.write(
        (flags.csv ? tables.evaluationCsv : tables.evaluationTable)(evaluations, comparisons),
      );
    return tables.evaluationJson(evaluations, comparisons);
  }
}

/** Bytes of `--memory`, else a quarter of the machine's. @throws UsageError */
function memoryOf(text: string | undefined): number {
  if (text === undefined) return totalmem() / 4;
  const value = Number(text);
  if (!(value > 0))
    throw new UsageError(`--memory is ${text}; accepted: gigabytes above 0, such as 4 or 0.5`);
  return value * 1e9;
}
