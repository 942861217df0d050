// What `capi eval cls` and `capi eval seg` do: records of all encoders, one table, and the object that --json prints.

import { totalmem } from 'node:os';
import { checkWritable } from '../base/files/writable.js';
import { engineText } from '../engine/extractor.js';
import { openEngine } from '../engine/select.js';
import { UsageError } from '../errors.js';
import { defaultStoreFolder } from '../features/store.js';
import { type Comparison, compareRecords, NotPaired } from '../probes/compare.js';
import { type EvaluateOptions, type Evaluation, evaluate } from '../probes/evaluate.js';
import { planEvaluation } from '../probes/plan.js';
import type { TaskName } from '../probes/tasks.js';
import { evaluationEngine } from './engine_flags.js';
import type { EvalFlags } from './eval_flags.js';
import { evaluationCsv, evaluationTable, planText } from './eval_table.js';
import { duration, Progress } from './progress.js';
import { interruptible } from './signals.js';

/** Bytes of `--memory`, else a quarter of the machine's. @throws UsageError */
function memoryOf(text: string | undefined): number {
  if (text === undefined) return totalmem() / 4;
  const value = Number(text);
  if (!(value > 0))
    throw new UsageError(`--memory is ${text}; accepted: gigabytes above 0, such as 4 or 0.5`);
  return value * 1e9;
}

/** Evaluates, prints the table, and returns what --json prints. */
export async function runEval(task: TaskName, flags: EvalFlags): Promise<object> {
  const memory = memoryOf(flags.memory);
  if (!flags['dry-run']) await checkWritable(flags.out);
  const engine = await openEngine(evaluationEngine(flags));
  const watch = watcher(flags.quiet);
  if (engine.extractor || engine.device !== 'cpu') watch.onMessage(`on ${engineText(engine)}`);
  const options: EvaluateOptions = {
    task,
    engine,
    encoders: flags.encoders,
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
    allowOverlap: flags['allow-overlap'] ?? false,
  };
  if (flags['dry-run']) {
    const plan = await planEvaluation(options);
    if (!flags.quiet) process.stdout.write(planText(plan));
    return { plan };
  }
  const evaluations = await interruptible(
    (signal) => evaluate({ ...options, watch: { ...watch, signal } }).finally(() => watch.end()),
    { grace: 2000, after: 'what was computed is kept. The same command goes on' },
  );
  const { comparisons, unpaired } = await compareWithFirst(evaluations);
  if (!flags.quiet) {
    process.stdout.write(
      flags.csv
        ? evaluationCsv(evaluations, comparisons, unpaired)
        : evaluationTable(evaluations, comparisons, unpaired),
    );
  }
  return asJson(evaluations, comparisons, unpaired);
}

/** The first encoder against each of the others; where their scores cannot be paired there are none, and `unpaired` says why. */
export async function compareWithFirst(
  evaluations: readonly Evaluation[],
): Promise<{ comparisons: Comparison[][]; unpaired: (string | undefined)[] }> {
  const [first, ...others] = evaluations;
  const comparisons: Comparison[][] = [];
  const unpaired: (string | undefined)[] = [];
  for (const other of others) {
    try {
      comparisons.push(await compareRecords(first!, other));
      unpaired.push(undefined);
    } catch (error) {
      if (!(error instanceof NotPaired)) throw error;
      comparisons.push([]);
      unpaired.push(error.message);
    }
  }
  return { comparisons, unpaired };
}

function asJson(
  evaluations: readonly Evaluation[],
  comparisons: readonly Comparison[][],
  unpaired: readonly (string | undefined)[],
): object {
  const [first] = evaluations;
  return {
    results: evaluations.flatMap(({ label, record }) =>
      record.results.map((r) => ({ encoder: label, ...r })),
    ),
    protocol: { name: first!.record.protocol.name, hash: first!.record.protocol.hash },
    record: first!.file,
    records: evaluations.map(({ label, floor, file, fresh, record }) => ({
      encoder: label,
      floor,
      record: file,
      new: fresh,
      protocol: record.protocol.hash,
      notes: record.notes,
    })),
    comparisons: comparisons.map((list, i) => ({
      a: first!.label,
      b: evaluations[i + 1]!.label,
      scores: list,
      ...(unpaired[i] === undefined ? {} : { unpaired: unpaired[i] }),
    })),
  };
}

interface Stage {
  encoder: string;
  stage: string;
  done: number;
  total: number;
  secondsLeft: number;
}

/** One line on a terminal, a JSON line now and then where output is piped, nothing when quiet. */
function watcher(quiet: boolean) {
  const progress = new Progress<Stage>(
    process.stderr,
    ({ encoder, stage, done, total, secondsLeft }) =>
      `${encoder}: ${stage}${total > 1 ? ` ${done}/${total} ETA ${duration(secondsLeft)}` : ''}`,
    ({ secondsLeft, ...report }) => ({ ...report, eta_seconds: Math.round(secondsLeft) }),
  );
  let current = { name: '', begin: 0, from: 0 };
  return {
    onStage(encoder: string, stage: string, done: number, total: number): void {
      const name = `${encoder} ${stage}`;
      const now = performance.now();
      if (name !== current.name) current = { name, begin: now, from: done };
      const each = (now - current.begin) / 1000 / Math.max(1, done - current.from);
      if (!quiet) progress.report({ encoder, stage, done, total, secondsLeft: each * (total - done) }, false);
    },
    onMessage(text: string): void {
      if (!quiet) progress.message(text);
    },
    end: (): void => progress.end(),
  };
}
