// From a config to a run that can start: engine opened, engine settings resolved, data and run identified.
import { basename } from 'node:path';
import { digestMessages } from '../base/files/digests.js';
import { batchParts, type Config, checkSizes, identity, inParts, patchCounts } from '../config/index.js';
import type { Engine } from '../engine/program.js';
import { type ImageSource, openSource } from '../images/index.js';
import { modelSizes } from '../model/sizes.js';
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

/** A long preparation reports its progress, and may be stopped. */
export interface PrepareOptions {
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
 * The config with the micro-batches of its step, where it leaves them open: so many that the widest activations stay in the cache; one on a GPU and on
 * engines that run op by op, where they only cost.
 */
export function withMicroBatches(config: Config, engine: { name: string; device: string }): Config {
  const { batch } = config.train;
  const { registers } = config.model;
  const { patches, visible } = patchCounts(config);
  const hidden = config.model.width * config.model.mlp_ratio;
  const auto = (tokens: number): number =>
    engine.name === 'onnx' && engine.device === 'cpu'
      ? divisor(batch, Math.min(64, Math.round((batch * tokens * hidden) / MICRO_BATCH_VALUES)))
      : 1;
  const student = config.model.predictor.type === 'fused' ? patches : visible;
  const parts = batchParts(config, {
    teacher: auto(registers + patches),
    student: auto(registers + student),
  });
  return inParts(config, parts.teacher, parts.student);
}

/**
 * Opens what a run needs. Training images in files are read once for their digest; where that takes long, progress goes to `onMessage`.
 * @throws UsageError, EngineError or DataError: one line that says what to change
 */
export async function prepareRun(config: Config, options: PrepareOptions = {}): Promise<PreparedRun> {
  checkSizes(config);
  checkLearning(config);
  const { checkMemory } = await import('./cost.js');
  checkMemory(config);
  const s = modelSizes(config);
  const source = await openSource(config.data.source, { split: 'train', size: Math.max(s.height, s.width) });
  const { openEngine } = await import('../engine/select.js'); // so late that a refusal is quick
  const engine = await openEngine(config.engine);
  const resolved = resolveEngine(config, engine);
  const { onMessage, signal } = options;
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
  { name, device, threads = null }: Pick<Engine, 'name' | 'device'> & { threads?: number | null },
): Config {
  const cut = withMicroBatches(config, { name, device });
  return { ...cut, engine: { ...cut.engine, name, device, threads } };
}

/** Where a run goes unless --out says otherwise: runs/NAME-IDENTITY, so that the same command finds its run again. */
export function defaultRunFolder(configSource: string, run: RunIdentity): string {
  const name = basename(configSource).replace(/\.ya?ml$/, '') || 'run';
  return `runs/${name}-${run.hash.slice(0, 8)}`;
}
