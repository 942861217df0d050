// The training loop, read from top to bottom: open the run, step, watch, checkpoint, stop.
import { join } from 'node:path';
import { readCheckpoint, writeCheckpoint } from '../checkpoint/file.js';
import { latestCheckpoint, prepareCheckpointFolder } from '../checkpoint/folder.js';
import { type Config, resolvedYaml } from '../config/index.js';
import type { Engine, Outputs, Values } from '../engine/program.js';
import { DataError, DivergedError, InterruptedError } from '../errors.js';
import { type ImageSource, openBatches, pixelStatistics } from '../images/index.js';
import { allShapes, initialParameters, isRope } from '../model/parameters.js';
import { modelSizes } from '../model/sizes.js';
import type { StoredTensor } from '../tensor/safetensors.js';
import { clusterHealth, type Health } from './health.js';
import { stepInputs } from './inputs.js';
import {
  claimRunFolder,
  environment,
  openMetrics,
  RUN,
  type RunIdentity,
  writeJson,
  writeText,
} from './run_folder.js';
import { optimiserShapes, stepProgram } from './step.js';

/** What the loop reports after a step. */
export interface StepReport {
  /** Steps done so far. */
  step: number;
  steps: number;
  capiLoss: number;
  clusteringLoss: number;
  targetEntropy: number;
  gradientNorm: number;
  /** Over the steps since the start or the resume, without the first. */
  imagesPerSecond: number;
  /** Share of the wall time spent waiting for images. */
  waitingShare: number;
  secondsLeft: number;
  health?: Health;
}

export interface PretrainResult extends Omit<StepReport, 'health' | 'secondsLeft'> {
  run: string;
  checkpoint: string;
  engine: string;
  device: string;
  resumedFrom: number | null;
  skippedImages: number;
}

export interface PretrainOptions {
  /** Complete config, engine section resolved (name, device, threads, micro-batches). */
  config: Config;
  identity: RunIdentity;
  source: ImageSource;
  engine: Engine;
  folder: string;
  allowEngineChange?: boolean;
  /** Aborting it writes a checkpoint and ends the run with InterruptedError. */
  signal?: AbortSignal;
  onStep?(report: StepReport): void;
  onMessage?(message: string): void;
}

/**
 * Trains CAPI into a run folder, or goes on with the run that is there, to its last step.
 * @throws UsageError (another run's folder), DataError (images, checkpoint, disk), DivergedError, InterruptedError
 */
export async function pretrain(o: PretrainOptions): Promise<PretrainResult> {
  const { config, folder, engine } = o;
  const say = (message: string): void => o.onMessage?.(message);
  const s = modelSizes(config);
  const { steps, batch } = config.train;
  const checkpoints = join(folder, RUN.checkpoints);
  const latest = await latestCheckpoint(checkpoints);
  const start = latest?.step ?? 0;
  const claim = await claimRunFolder(folder, o.identity, {
    allowEngineChange: o.allowEngineChange ?? false,
    resumedStep: start,
  });
  await prepareCheckpointFolder(checkpoints);
  if (claim.engineChanges.length > 0)
    say(`engine changed at step ${start}: ${claim.engineChanges.join('; ')}`);

  const shapes: Record<string, number[]> = { ...allShapes(s), ...optimiserShapes(s) };
  const initial = latest ? await resume(latest.path, shapes, config) : startValues(config, shapes);
  await writeText(join(folder, RUN.config), `# identity ${o.identity.hash}\n${resolvedYaml(config)}`);
  await writeJson(join(folder, RUN.environment), environment(engine));
  if (latest) say(`resuming ${folder} at step ${start} of ${steps}`);
  const result = (report: StepReport | undefined, path: string, skipped: number): PretrainResult => ({
    run: folder,
    step: report?.step ?? start,
    steps,
    capiLoss: report?.capiLoss ?? Number.NaN,
    clusteringLoss: report?.clusteringLoss ?? Number.NaN,
    targetEntropy: report?.targetEntropy ?? Number.NaN,
    gradientNorm: report?.gradientNorm ?? Number.NaN,
    imagesPerSecond: report?.imagesPerSecond ?? 0,
    waitingShare: report?.waitingShare ?? 0,
    checkpoint: path,
    engine: engine.name,
    device: engine.device,
    resumedFrom: latest ? start : null,
    skippedImages: skipped,
  });
  if (latest && start >= steps) {
    say(`${folder} is complete: ${steps} steps`);
    return result(await lastReport(folder, steps), latest.path, 0);
  }

  const { mean, std } = await pixelStatistics(config.data.normalise, o.source);
  const studentParts = config.engine.student_micro_batches ?? 1;
  const program = stepProgram(config, {
    mean,
    std,
    teacherMicroBatches: config.engine.teacher_micro_batches ?? 1,
    studentMicroBatches: studentParts,
  });
  const executable = await engine.load(program);
  executable.setState(Object.fromEntries(program.state.map((n) => [n, initial[n]!])));
  const save = async (step: number): Promise<string> => {
    const state = await executable.getState();
    const { path } = await writeCheckpoint(
      checkpoints,
      step,
      checkpointState(state, initial, shapes, o),
      config.checkpoint.keep,
    );
    return path;
  };
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
    ...(config.engine.workers === null ? {} : { workers: config.engine.workers }),
  });
  const metrics = await openMetrics(folder, start);

  let report: StepReport | undefined;
  let saved = latest ? { step: start, path: latest.path } : { step: 0, path: '' };
  let bad = 0;
  let warned = 0;
  let clock = performance.now();
  let done = 0;
  try {
    for (let step = start; step < steps; step++) {
      const { pixels } = await batches.next(step);
      const { inputs, rates } = stepInputs(config, s, step, studentParts);
      const out = await executable.run({ ...inputs, images: pixels as Values }, finite);
      if (finite(out)) {
        bad = 0;
      } else if (++bad > config.health.max_bad_steps) {
        throw new DivergedError(
          `training diverged: NaN or infinity in ${bad} steps in a row, up to step ${step + 1}; last good checkpoint: ${saved.path || 'none'}. Lower optim.lr or set optim.clip_norm`,
          { step: step + 1, checkpoint: saved.path || null },
        );
      }
      if (done++ === 0) clock = performance.now(); // the first step also warms up the engine
      const { waitSeconds, skipped } = batches.stats();
      const elapsed = (performance.now() - clock) / 1000;
      const rate = done > 1 ? ((done - 1) * batch) / elapsed : 0;
      const looked = (step + 1) % config.health.every === 0 || step + 1 === steps;
      report = {
        step: step + 1,
        steps,
        capiLoss: out.capi_loss![0]!,
        clusteringLoss: out.clustering_loss![0]!,
        targetEntropy: out.target_entropy![0]!,
        gradientNorm: out.gradient_norm![0]!,
        imagesPerSecond: rate,
        waitingShare: elapsed > 0 ? Math.min(1, waitSeconds / elapsed) : 0,
        secondsLeft: rate > 0 ? ((steps - step - 1) * batch) / rate : Number.NaN,
        ...(looked ? { health: clusterHealth(out.position_use!, s.patches) } : {}),
      };
      metrics.write(`${JSON.stringify(metricsLine(report, rates))}\n`);
      o.onStep?.(report);
      for (const image of skipped.slice(warned))
        say(`skipped unreadable image ${image.name}: ${image.reason}`);
      warned = skipped.length;
      if (report.health && report.health.deadShare >= config.health.dead_share_warning) {
        say(`step ${step + 1}: ${Math.round(100 * report.health.deadShare)} % of the prototypes are dead`);
      }
      const last = step + 1 === steps;
      if (last || (step + 1) % config.checkpoint.every === 0)
        saved = { step: step + 1, path: await save(step + 1) };
      if (o.signal?.aborted && !last) {
        if (saved.step !== step + 1) saved = { step: step + 1, path: await save(step + 1) };
        throw new InterruptedError(
          `interrupted at step ${step + 1} of ${steps}; checkpoint: ${saved.path}. The same command goes on`,
          {
            step: step + 1,
            checkpoint: saved.path,
          },
        );
      }
    }
    return result(report, saved.path, batches.stats().skipped.length);
  } finally {
    await batches.close();
    await new Promise<void>((resolve) => metrics.end(() => resolve()));
    await executable.dispose();
  }
}

/** A step counts when its losses and its gradient are numbers. */
function finite(out: Outputs): boolean {
  return ['capi_loss', 'clustering_loss', 'gradient_norm'].every((n) => Number.isFinite(out[n]![0]!));
}

function startValues(config: Config, shapes: Record<string, number[]>): Record<string, Float32Array> {
  const values = initialParameters(modelSizes(config), config.seed);
  for (const [name, shape] of Object.entries(shapes)) {
    values[name] ??= new Float32Array(shape.reduce((a, b) => a * b, 1));
  }
  return values;
}

/** All state of a checkpoint, checked against the shapes of the model. */
async function resume(
  path: string,
  shapes: Record<string, number[]>,
  config: Config,
): Promise<Record<string, Float32Array>> {
  const { tensors } = await readCheckpoint(path);
  const fixed = initialParametersOfRope(config);
  const out: Record<string, Float32Array> = {};
  for (const [name, shape] of Object.entries(shapes)) {
    const t = tensors.get(name);
    if (!t || t.shape.join() !== shape.join() || !(t.data instanceof Float32Array)) {
      throw new DataError(
        `${path} does not fit the model: ${name} should be float32 [${shape}], it is ${t ? `[${t.shape}]` : 'missing'}`,
      );
    }
    const want = fixed[name];
    if (want?.some((v, i) => Math.abs(v - (t.data as Float32Array)[i]!) > 1e-4 * Math.abs(v))) {
      throw new DataError(
        `${path}: ${name} differs from the frequencies that model.rope_min and rope_max give`,
      );
    }
    out[name] = t.data;
  }
  return out;
}

function initialParametersOfRope(config: Config): Record<string, Float32Array> {
  return Object.fromEntries(
    Object.entries(initialParameters(modelSizes(config), 0)).filter(([n]) => isRope(n)),
  );
}

/** Everything that a checkpoint holds: bytes depend on the state and the identity alone. */
function checkpointState(
  state: Record<string, Float32Array>,
  initial: Record<string, Float32Array>,
  shapes: Record<string, number[]>,
  o: PretrainOptions,
): { tensors: Map<string, StoredTensor>; meta: Record<string, unknown> } {
  const tensors = new Map<string, StoredTensor>();
  for (const [name, shape] of Object.entries(shapes)) {
    tensors.set(name, { dtype: 'F32', shape, data: state[name] ?? initial[name]! });
  }
  return { tensors, meta: { identity: o.identity.hash, config: o.identity.canonical, seed: o.config.seed } };
}

function metricsLine(r: StepReport, rates: { lr: number; clusteringLr: number; momentum: number }): object {
  const round = (x: number): number => Number(x.toPrecision(6));
  return {
    step: r.step,
    capi_loss: r.capiLoss,
    clustering_loss: r.clusteringLoss,
    target_entropy: r.targetEntropy,
    gradient_norm: r.gradientNorm,
    lr: round(rates.lr),
    clustering_lr: round(rates.clusteringLr),
    momentum: round(rates.momentum),
    images_per_second: round(r.imagesPerSecond),
    waiting_share: round(r.waitingShare),
    ...(r.health
      ? {
          dead_share: round(r.health.deadShare),
          dominance: round(r.health.dominance),
          position_information: round(r.health.positionInformation),
        }
      : {}),
  };
}

/** The last line of a finished run's metrics, so that repeating the command reports what it reported. */
async function lastReport(folder: string, steps: number): Promise<StepReport | undefined> {
  const { readFile } = await import('node:fs/promises');
  try {
    const line = (await readFile(join(folder, RUN.metrics), 'utf8')).trimEnd().split('\n').at(-1)!;
    const m = JSON.parse(line) as Record<string, number>;
    return {
      step: m.step!,
      steps,
      capiLoss: m.capi_loss!,
      clusteringLoss: m.clustering_loss!,
      targetEntropy: m.target_entropy!,
      gradientNorm: m.gradient_norm!,
      imagesPerSecond: m.images_per_second!,
      waitingShare: m.waiting_share!,
      secondsLeft: 0,
    };
  } catch {
    return undefined;
  }
}
