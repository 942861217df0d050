// The `evals` of a config inside a run: each checked before training, done on the checkpoints of its steps, kept in the run's folder.
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { sealedLine } from '../base/files/seal.js';
import { appendLine } from '../base/files/write.js';
import type { Config, EvaluationEntry } from '../config/index.js';
import type { Engine } from '../engine/program.js';
import { defaultStoreFolder } from '../features/store.js';
import { modelSizes } from '../model/sizes.js';
import { evaluate } from './evaluate.js';
import { loadProtocol } from './protocol.js';
import { openSets } from './sets.js';
import { isBound, TASKS } from './tasks.js';

export interface RunEvaluations {
  due(step: number, last: boolean): boolean;
  run(checkpoint: string, step: number): Promise<void>;
}

/** File of the run's folder with one line an evaluation. */
const LIST = 'evals.jsonl';

/**
 * The evaluations of a run. Opens their sources and protocols now, so that a mistake ends the run before it begins.
 * @throws UsageError, DataError
 */
export async function runEvaluations(
  config: Config,
  folder: string,
  engine: Engine,
  hear: {
    onMessage(text: string): void;
    onStage(stage: string, done: number, total: number): void;
    signal: AbortSignal;
  },
): Promise<RunEvaluations | undefined> {
  if (config.evals.length === 0) return undefined;
  for (const entry of config.evals) {
    const { task } = await loadProtocol(entry.protocol, entry.task);
    const { train, limit, allow_overlap: allowOverlap = false } = entry;
    await openSets(task, { train, tests: testsOf(entry), limit, allowOverlap }, { size: modelSizes(config) });
  }
  const dueAt = (entry: EvaluationEntry, step: number, last: boolean): boolean =>
    last || step % entry.every === 0;
  return {
    due: (step, last) => step > 0 && config.evals.some((entry) => dueAt(entry, step, last)),
    async run(checkpoint, step) {
      for (const entry of config.evals) {
        if (!dueAt(entry, step, step >= config.train.steps)) continue;
        const [done] = await evaluate({
          task: entry.task,
          engine,
          encoders: [checkpoint],
          train: entry.train,
          tests: testsOf(entry),
          protocol: entry.protocol,
          weights: entry.weights,
          floors: false,
          memory: totalmem() / 4,
          limit: entry.limit,
          seed: entry.seed,
          out: join(folder, 'evals'),
          store: defaultStoreFolder(),
          force: false,
          allowOverlap: entry.allow_overlap ?? false,
          watch: {
            signal: hear.signal,
            onStage: (_, stage, done, total) =>
              hear.onStage(`${entry.task} at step ${step}: ${stage}`, done, total),
          },
        });
        const { record, file, fresh } = done!;
        if (!fresh) continue;
        const results = record.results.map(({ source, head, metric, convention, value, interval }) => ({
          source,
          head,
          metric,
          convention,
          value,
          interval,
        }));
        await appendLine(join(folder, LIST), sealedLine({ step, task: entry.task, record: file, results }));
        const usual = ['-', ...TASKS[entry.task].usual];
        const scores = results
          .filter(
            (r) => usual.includes(r.convention) && !/shot$/.test(r.head) && !isBound(entry.task, r.head),
          )
          .map(
            (r) => `${r.head} ${r.source} ${r.metric} ${r.value === null ? '-' : (100 * r.value).toFixed(1)}`,
          );
        hear.onMessage(`step ${step}: ${entry.task} ${scores.join(', ')}`);
      }
    },
  };
}

const testsOf = ({ test }: EvaluationEntry): string[] => (typeof test === 'string' ? [test] : test);
