// The training loop, read from top to bottom: open the run, step, watch, checkpoint, stop.
import { join } from 'node:path';
import { writeSealed } from '../base/files/seal.js';
import { writeText } from '../base/files/write.js';
import { writeCheckpoint } from '../checkpoint/file.js';
import {
  checkpointPath,
  latestCheckpoint,
  prepareCheckpointFolder,
  previousCheckpoint,
} from '../checkpoint/folder.js';
import { type Config, resolvedYaml } from '../config/index.js';
import { decodingThreads } from '../cores.js';
import type { Engine, Executable, Values } from '../engine/program.js';
import { DivergedError, InterruptedError } from '../errors.js';
import { type ImageSource, openBatches, pixelStatistics } from '../images/index.js';
import { modelSizes } from '../model/sizes.js';
import { environment } from '../results/environment.js';
import { memoryLine, type StepMemory, stepMemory } from './cost.js';
import { healthOf } from './health.js';
import { stepInputs } from './inputs.js';
import { learningWarnings, poorTargets } from './learning.js';
import { isFiniteStep, Metrics, metricsFaults, reportAt, type StepReport } from './metrics.js';
import {
  checkRunFolder,
  claimRunFolder,
  holdRunFolder,
  isReadOnly,
  RUN,
  type RunIdentity,
  RunLog,
} from './run_folder.js';
import { checkpointOf, notFinite, type RunState, readState, setTensors, startTensors } from './state.js';
import { stepProgram } from './step.js';

export interface PretrainResult extends Omit<StepReport, 'health' | 'secondsLeft'> {
  run: string;
  checkpoint: string;
  engine: string;
  device: string;
  resumedFrom: number | null;
  skippedImages: number;
  /** Why the run ended before its last step, if stopWhen ended it. */
  stopped: string | null;
  /** null where no step was taken. */
  memory: StepMemory | null;
  /** Why it may have learnt little, and what would help. */
  warnings: string[];
}

export interface PretrainOptions {
  /** Complete config, engine section resolved (name, device, threads, micro-batches). */
  config: Config;
  identity: RunIdentity;
  /** See PreparedRun. */
  former?: () => Promise<RunIdentity>;
  source: ImageSource;
  engine: Engine;
  folder: string;
  allowEngineChange?: boolean;
  /** Aborting it writes a checkpoint and ends the run with InterruptedError, which names the reason if that is a word. */
  signal?: AbortSignal;
  /** Evaluations of checkpoints; they see files alone, and the run does not see them. */
  evals?: {
    due(step: number, last: boolean): boolean;
    /** Done once for each step, however often it is called. */
    run(checkpoint: string, step: number): Promise<void>;
  };
  /** Why the run should end after a look at its health, if it should: it is saved as it stands. A pure function of the report. */
  stopWhen?(report: StepReport): string | undefined;
  onStep?(report: StepReport): void;
  onMessage?(message: string): void;
}

/**
 * Trains CAPI into a run folder, or goes on with the run that is there, to its last step.
 * @throws UsageError (another run's folder), DataError (images, checkpoint, disk), DivergedError, InterruptedError
 */
export async function pretrain(o: PretrainOptions): Promise<PretrainResult> {
  const log = new RunLog((message) => o.onMessage?.(message));
  await checkRunFolder(o.folder, o.identity, allowed(o)); // another run's is refused, and untouched
  const lock = await holdRunFolder(o.folder).catch((error) => {
    if (isReadOnly(error)) return undefined; // a run that is complete can be looked at all the same
    throw error;
  });
  try {
    return await train(o, log);
  } catch (error) {
    log.debug(`stopped: ${(error as Error).message}`);
    throw error;
  } finally {
    await lock?.release();
  }
}

/** Under which other names a folder may hold the run. */
const allowed = ({ allowEngineChange = false, former }: PretrainOptions) => ({ allowEngineChange, former });

/** How long a run that is asked to stop may take to its first step, from which on it can be saved. */
const GRACE_MS = 2000;

async function train(o: PretrainOptions, log: RunLog): Promise<PretrainResult> {
  const { config, folder, engine } = o;
  const { steps, batch } = config.train;
  const s = modelSizes(config);

  // What is there: nothing, or this run up to its newest checkpoint. Another run is refused; nothing is written yet.
  const found = await checkRunFolder(folder, o.identity, allowed(o));
  const { identity } = found;
  const checkpoints = join(folder, RUN.checkpoints);
  const latest = found.known ? await latestCheckpoint(checkpoints) : undefined;
  const start = latest?.step ?? 0;
  let state = latest ? Object.entries(await readState(latest, config, identity)) : startTensors(config);
  const claim = (): Promise<void> => claimRunFolder(folder, found, start, (line) => log.info(line));
  const mended = found.torn && latest !== undefined;
  if (mended) await claim(); // the checkpoint is this run's, so the folder is
  let memory: StepMemory | null = null;
  const result = (report: StepReport | undefined, checkpoint: string, skipped: number): PretrainResult => ({
    run: folder,
    step: report?.step ?? start,
    steps,
    capiLoss: report?.capiLoss ?? Number.NaN,
    clusteringLoss: report ? report.clusteringLoss : null,
    targetEntropy: report ? report.targetEntropy : null,
    gradientNorm: report?.gradientNorm ?? Number.NaN,
    imagesPerSecond: report?.imagesPerSecond ?? 0,
    waitingShare: report?.waitingShare ?? 0,
    checkpoint,
    engine: engine.name,
    device: engine.device,
    resumedFrom: latest ? start : null,
    skippedImages: skipped,
    stopped: null,
    memory,
    warnings: [...learningWarnings(config), ...(report ? [poorTargets(config, report)] : [])].filter(
      (text) => text !== undefined,
    ),
  });
  const evaluate = async (path: string, step: number): Promise<void> => {
    if (!o.evals?.due(step, step >= steps)) return;
    const stopped = (): InterruptedError =>
      new InterruptedError(
        `interrupted by ${reasonOf(o)} in an evaluation of step ${step} of ${steps}; checkpoint: ${path}. The same command goes on`,
        { step, checkpoint: path },
      );
    await unlessGivenUp(o.evals.run(path, step), o.signal, stopped); // which loses nothing by it
  };
  if (latest) await evaluate(latest.path, start); // the run may have been killed while it was evaluated
  if (latest && start >= steps) {
    for (const fault of (await metricsFaults(folder)).faults) o.onMessage?.(`warning: ${fault}`);
    o.onMessage?.(`${folder} is complete: ${steps} steps`);
    return result(await reportAt(folder, steps, steps), latest.path, 0);
  }
  const before = latest && o.stopWhen ? await reportAt(folder, start, steps) : undefined;
  const why = before && o.stopWhen?.(before); // killed after its last checkpoint
  if (latest && why) return { ...result(before, latest.path, 0), stopped: why };
  log.info(
    `${found.known ? `resuming ${folder} at step ${start} of` : `${folder}:`} ${steps} steps of ${batch} images ` +
      `from ${o.source.uri} on ${engine.name} (${engine.device}, ${engine.threads ?? 1} threads)`,
  );
  for (const text of learningWarnings(config)) log.info(`warning: ${text}`);
  if (found.engineChanges.length > 0)
    log.info(`engine changed at step ${start}: ${found.engineChanges.join('; ')}`);
  if (found.contents !== undefined && found.known?.contents === undefined) {
    log.info(
      'warning: this run was begun by a version that knew its images by names and sizes; that their pixels are the same cannot be checked before today',
    );
  }

  const { mean, std } = await pixelStatistics(config.data.normalise, o.source);
  const pixels = config.data.normalise === 'dataset' ? { mean, std } : undefined;
  const batches = await openBatches(o.source, {
    height: s.height,
    width: s.width,
    batch,
    seed: config.seed,
    cropScale: config.data.crop_scale,
    cropRatio: config.data.crop_ratio,
    flip: config.data.flip,
    maxBadShare: config.data.max_bad_share,
    startStep: start,
    workers: config.engine.workers ?? decodingThreads(engine.threads),
  });
  let executable: Executable | undefined;
  let metrics: Metrics | undefined;
  try {
    const program = stepProgram(config, { mean, std });
    const early = (): InterruptedError =>
      new InterruptedError(
        latest
          ? `interrupted by ${reasonOf(o)} before step ${start + 1} of ${steps}; checkpoint: ${latest.path}. The same command goes on`
          : `interrupted by ${reasonOf(o)} before the first of ${steps} steps; nothing was written. The same command starts again`,
      );
    const loading = engine.load(program);
    executable = await unlessGivenUp(loading, o.signal, early);
    memory = stepMemory(config, program, executable.activationBytes);
    log.info(memoryLine(memory, program));
    const { products } = config.precision;
    if (products !== 'float32')
      log.info(`matrix products in ${products}: losses may differ from those in float32`);
    const fixed = await unlessGivenUp(setTensors(executable, program, state), o.signal, early);
    state = []; // the engine has its own copy
    let drawn = await unlessStopped(batches.next(start), o.signal); // data that is refused leaves no folder behind

    if (!mended) await claim();
    log.open(folder);
    await prepareCheckpointFolder(checkpoints);
    await writeText(join(folder, RUN.config), `# identity ${identity.hash}\n${resolvedYaml(config)}`);
    const made = environment(engine);
    await writeSealed(join(folder, RUN.environment), made);
    log.debug(`environment: ${JSON.stringify(made)}`);
    metrics = await Metrics.open(folder, start);
    for (const fault of metrics.faults)
      log.info(`warning: ${fault}; the run goes on, the file as it was is kept beside it`);

    let saved = latest ? { step: start, path: latest.path } : undefined;
    const save = async (step: number): Promise<string> => {
      if (saved?.step === step) return saved.path;
      const now: RunState = { ...fixed, ...(await executable!.getState()) };
      const broken = notFinite(now);
      if (broken) throw await diverged(`${broken} holds NaN or infinity`, checkpoints, step);
      await metrics!.sync(step);
      const { path } = await writeCheckpoint(
        checkpoints,
        step,
        checkpointOf(now, config, identity, pixels),
        config.checkpoint.keep,
      );
      saved = { step, path };
      return path;
    };

    let report: StepReport | undefined;
    let badSteps = metrics.badSteps;
    let named = 0;
    let dying = false;
    let warned = false;
    let clock = { begin: 0, waited: 0 };
    for (let step = start; step < steps; step++) {
      if (step > start) drawn = await unlessStopped(batches.next(step), o.signal);
      if (!drawn) {
        const path = await save(step);
        throw new InterruptedError(
          `interrupted by ${reasonOf(o)} at step ${step} of ${steps}; checkpoint: ${path}. The same command goes on`,
          { step, checkpoint: path },
        );
      }
      const { inputs, rates } = stepInputs(config, step);
      const out = await executable.run({ ...inputs, images: drawn.pixels as Values }, (outputs) =>
        isFiniteStep(readings(outputs)),
      );

      const { waitSeconds, skipped } = batches.stats();
      if (step === start) clock = { begin: performance.now(), waited: waitSeconds }; // the first step warms up
      const elapsed = (performance.now() - clock.begin) / 1000;
      const rate = step > start ? ((step - start) * batch) / elapsed : 0;
      const last = step + 1 === steps;
      const looked = last || (step + 1) % config.health.every === 0;
      const health = looked ? healthOf(out, s.patches) : undefined;
      report = {
        step: step + 1,
        steps,
        ...readings(out),
        targetEntropy: out.target_entropy?.[0] ?? null,
        imagesPerSecond: rate,
        waitingShare: elapsed > 0 ? Math.min(1, (waitSeconds - clock.waited) / elapsed) : 0,
        secondsLeft: rate > 0 ? ((steps - step - 1) * batch) / rate : Number.NaN,
        ...(health ? { health } : {}),
      };
      metrics.write(report, rates);
      o.onStep?.(report);
      for (const { reason } of skipped.slice(named)) log.info(`skipped an unreadable image: ${reason}`);
      named = skipped.length;
      if (report.health?.deadShare !== undefined) {
        const { deadShare } = report.health;
        const many = deadShare >= config.health.dead_share_warning;
        if (many && !dying)
          log.info(`step ${step + 1}: ${Math.round(100 * deadShare)} % of the prototypes are dead`);
        dying = many;
      }

      const poor = looked ? poorTargets(config, report) : undefined;
      if (poor !== undefined && !warned) log.info(`warning: step ${step + 1}: ${poor}`);
      warned ||= poor !== undefined;

      badSteps = isFiniteStep(report) ? 0 : badSteps + 1;
      if (badSteps > 0) log.info(`step ${step + 1} had no effect: NaN or infinity in loss or gradient`);
      // a run that ends among such steps has no more of them to wait for
      if (badSteps > config.health.max_bad_steps || (last && badSteps > 1)) {
        throw await diverged(
          `NaN or infinity in ${badSteps} steps in a row, up to step ${step + 1}`,
          checkpoints,
          step + 1 - badSteps,
        );
      }
      const why = report.health ? o.stopWhen?.(report) : undefined;
      if (why !== undefined) {
        log.info(`stopped at step ${step + 1}: ${why}`);
        const path = await save(step + 1);
        return { ...result(report, path, batches.stats().skipped.length), stopped: why };
      }
      const due = (step + 1) % config.checkpoint.every === 0 || o.evals?.due(step + 1, last);
      if (last || (due && badSteps === 0)) {
        const path = await save(step + 1);
        const begin = performance.now();
        await evaluate(path, step + 1);
        clock.begin += performance.now() - begin; // not part of the rate
      }
    }
    const done = result(report, saved!.path, batches.stats().skipped.length);
    log.debug(`finished ${steps} steps; checkpoint: ${done.checkpoint}; ${named} unreadable images`);
    return done;
  } finally {
    await batches.close();
    metrics?.close();
    await executable?.dispose();
  }
}

/** The outputs that say whether a step counts. */
function readings(out: Record<string, ArrayLike<number>>) {
  return {
    capiLoss: out.capi_loss![0]!,
    clusteringLoss: out.clustering_loss?.[0] ?? null,
    gradientNorm: out.gradient_norm![0]!,
  };
}

/** The error of a run whose state after `step` steps is spoilt: names the newest checkpoint from before. */
async function diverged(what: string, checkpoints: string, step: number): Promise<DivergedError> {
  const good = (await previousCheckpoint(checkpointPath(checkpoints, step)))?.path ?? null;
  return new DivergedError(
    `training diverged: ${what}; last good checkpoint: ${good ?? 'none'}. Lower optim.lr or set optim.clip_norm`,
    { step, checkpoint: good },
  );
}

const reasonOf = ({ signal }: PretrainOptions): string =>
  typeof signal?.reason === 'string' ? signal.reason : 'its caller';

/** What `work` gives; where it takes longer than some seconds once the signal is aborted, the error instead. */
async function unlessGivenUp<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  error: () => Error,
): Promise<T> {
  if (!signal) return work;
  let timer: NodeJS.Timeout | undefined;
  let begin = (): void => {};
  const givenUp = new Promise<never>((_, reject) => {
    begin = () => {
      timer ??= setTimeout(() => reject(error()), GRACE_MS);
    };
    if (signal.aborted) begin();
    else signal.addEventListener('abort', begin, { once: true });
  });
  work.catch(() => {}); // nobody looks at it once it is given up
  try {
    return await Promise.race([work, givenUp]);
  } finally {
    signal.removeEventListener('abort', begin);
    clearTimeout(timer);
  }
}

/** What `work` gives, or undefined as soon as the signal is aborted. */
async function unlessStopped<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T | undefined> {
  if (!signal) return work;
  work.catch(() => {}); // nobody looks at it once the run stops
  await new Promise(setImmediate); // a signal that came during a long native call is delivered now
  if (signal.aborted) return undefined;
  return new Promise((resolve, reject) => {
    const stop = (): void => resolve(undefined);
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
