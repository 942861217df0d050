// From a config to a run that can start: engine opened, engine settings resolved, data and run identified.
import { basename } from 'node:path';
import { digestMessages } from '../base/files/digests.js';
import { type Config, checkSizes, identity } from '../config/index.js';
import type { Engine } from '../engine/program.js';
import { type ImageSource, openSource } from '../images/index.js';
import { modelSizes, patchCounts } from '../model/sizes.js';
import { checkLearning } from './learning.js';
import type { RunIdentity } from './run_folder.js';

export interface PreparedRun {
  config: Config;
  identity: RunIdentity;
  /** As an older version knew the run, whose images it knew by names and sizes; absent where nothing changed. */
  former?: () => Promise<RunIdentity>;
  source: ImageSource;
  engine: Engine;
}

/** Who hears of a long preparation, and may stop it. */
export interface Hearing {
  onMessage?(text: string): void;
  signal?: AbortSignal;
}

/** Largest divisor of `batch` that is at most `most`. */
function divisor(batch: number, most: number): number {
  for (let d = Math.max(1, Math.min(batch, most)); d > 1; d--) if (batch % d === 0) return d;
  return 1;
}

/**
 * Hidden activations of one micro-batch: what the caches hold with its neighbours. onnxruntime's products are fastest where a thread has about 640
 * rows (measured on two cores: 4 parts of the teacher and 2 of the student at the size of benchmarks/speed/step.yaml).
 */
const MICRO_BATCH_VALUES = 1280 * 768;

/**
 * Micro-batches inside the step, so that the widest activations stay in the cache; one on a GPU and on engines that run op
 * by op, where they only cost. `tokens` are those of one image.
 */
export function microBatches(
  config: Config,
  engine: { name: string; device: string },
  tokens: { teacher: number; student: number },
): { teacher: number; student: number } {
  const { teacher_micro_batches: t, student_micro_batches: st, micro_batch: images } = config.engine;
  const { batch } = config.train;
  const set = images === null ? null : batch / images;
  const hidden = config.model.width * config.model.mlp_ratio;
  const auto = (perImage: number): number =>
    engine.name === 'onnx' && engine.device === 'cpu'
      ? divisor(batch, Math.min(64, Math.round((batch * perImage * hidden) / MICRO_BATCH_VALUES)))
      : 1;
  return { teacher: set ?? t ?? auto(tokens.teacher), student: set ?? st ?? auto(tokens.student) };
}

/**
 * Opens what a run needs. Training images in files are read once for their digest; where that takes long `onMessage` hears of it.
 * @throws UsageError, EngineError or DataError: one line that says what to change
 */
export async function prepareRun(config: Config, hear: Hearing = {}): Promise<PreparedRun> {
  checkSizes(config);
  checkLearning(config);
  const { checkMemory } = await import('./cost.js');
  checkMemory(config);
  const s = modelSizes(config);
  const source = await openSource(config.data.source, { split: 'train', size: Math.max(s.height, s.width) });
  const { openEngine } = await import('../engine/select.js'); // so late that a refusal is quick
  const engine = await openEngine(config.engine);
  const resolved = resolveEngine(config, engine);
  const { onMessage, signal } = hear;
  const dataIdentity = await source.identity({
    signal,
    ...(onMessage ? { onProgress: digestMessages(source.uri, onMessage) } : {}),
  });
  const known = (dataIdentity: string): RunIdentity => identity(resolved, { dataIdentity });
  const { formerIdentity } = source;
  return {
    config: resolved,
    identity: known(dataIdentity),
    ...(formerIdentity ? { former: async () => known(await formerIdentity()) } : {}),
    source,
    engine,
  };
}

/** The config with its engine section as it runs: nothing is left to choose, so that it can be identified. */
export function resolveEngine(
  config: Config,
  engine: Pick<Engine, 'name' | 'device'> & { threads?: number },
): Config {
  const s = modelSizes(config);
  const tokens = {
    teacher: s.registers + s.patches,
    student: s.registers + (s.predictor === 'fused' ? s.patches : patchCounts(config).visible),
  };
  const micro = microBatches(config, engine, tokens);
  return {
    ...config,
    engine: {
      ...config.engine,
      name: engine.name,
      device: engine.device,
      threads: engine.threads ?? null,
      micro_batch: null, // now in the two counts
      teacher_micro_batches: micro.teacher,
      student_micro_batches: micro.student,
    },
  };
}

/** Where a run goes unless --out says otherwise: runs/NAME-IDENTITY, so that the same command finds its run again. */
export function defaultRunFolder(configSource: string, run: RunIdentity): string {
  const name = basename(configSource).replace(/\.ya?ml$/, '') || 'run';
  return `runs/${name}-${run.hash.slice(0, 8)}`;
}
