// What `capi pretrain` does: config, signals, progress, and the object that --json prints.

import { checkWritable } from '../base/files/writable.js';
import { type Config, loadConfig } from '../config/index.js';
import { InterruptedError } from '../errors.js';
import type { StepReport } from '../pretrain/metrics.js';
import { type ConfigFlagValues, overridesOf } from './config_flags.js';
import { duration, Progress } from './progress.js';
import { interruptible } from './signals.js';

export interface PretrainFlags extends ConfigFlagValues {
  preset: string;
  out?: string;
  allowEngineChange: boolean;
  quiet: boolean;
}

/** Runs until done, and returns run, steps, images_per_second, loss, target_entropy, checkpoint, engine, device. */
export async function runPretrain(flags: PretrainFlags): Promise<object> {
  const { config, source } = loadConfig({
    preset: flags.preset,
    sets: flags.set,
    overrides: overridesOf(flags),
  });
  const progress = new Progress<StepReport>(process.stderr, line, jsonLine);
  return interruptible((signal) =>
    train(flags, config, source, progress, signal).finally(() => progress.end()),
  );
}

async function train(
  flags: PretrainFlags,
  config: Config,
  preset: string,
  progress: Progress<StepReport>,
  signal: AbortSignal,
): Promise<object> {
  const { refuseHeld } = await import('../pretrain/run_folder.js');
  if (flags.out !== undefined) {
    await refuseHeld(flags.out); // looking through the images takes minutes
    await checkWritable(flags.out);
  }
  const { defaultRunFolder, prepareRun } = await import('../pretrain/prepare.js');
  const onMessage = (text: string): void => {
    if (!flags.quiet) progress.message(text);
  };
  const prepared = await beforeSignal(prepareRun(config, { onMessage }), signal);
  const folder = flags.out ?? defaultRunFolder(preset, prepared.identity);
  const { sourceNotes } = await import('../images/index.js');
  for (const note of flags.quiet ? [] : sourceNotes(prepared.source)) progress.message(`note: ${note}`);
  if (flags.out === undefined) await checkWritable(folder);
  const { pretrain } = await import('../pretrain/loop.js');
  const { runEvaluations } = await import('../probes/run_evals.js');
  const listed = runEvaluations(prepared.config, folder, prepared.engine, {
    signal,
    onMessage: (text) => {
      if (!flags.quiet) progress.message(text);
    },
    onStage: (stage, done, total) => {
      if (!flags.quiet && process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${stage} ${done}/${total}\r`);
    },
  });
  const evals = await beforeSignal(listed, signal);
  const result = await pretrain({
    ...prepared,
    folder,
    allowEngineChange: flags.allowEngineChange,
    signal,
    ...(evals ? { evals } : {}),
    onMessage: (text) => {
      if (!flags.quiet) progress.message(text);
    },
    onStep: (r) => {
      if (!flags.quiet) progress.report(r, r.step === r.steps);
    },
  });
  progress.end();
  const summary = {
    run: result.run,
    steps: result.step,
    images_per_second: Number(result.imagesPerSecond.toFixed(1)),
    loss: { capi: result.capiLoss, clustering: result.clusteringLoss },
    target_entropy: result.targetEntropy,
    checkpoint: result.checkpoint,
    engine: result.engine,
    device: result.device,
    memory: result.memory,
    resumed_from: result.resumedFrom,
    waiting_share: Number(result.waitingShare.toFixed(4)),
    skipped_images: result.skippedImages,
    ...(result.warnings.length > 0 ? { warnings: result.warnings } : {}),
  };
  if (!flags.quiet) process.stdout.write(closing(summary));
  return summary;
}

/** What `work` gives, unless a signal comes first: looking through a large folder of images takes minutes. */
async function beforeSignal<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const stopped = new Promise<never>((_, reject) => {
    const stop = (): void =>
      reject(
        new InterruptedError(`interrupted by ${signal.reason} before the run began; nothing was written`),
      );
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  stopped.catch(() => {}); // after the work is done nobody waits for it
  return Promise.race([work, stopped]);
}

/** A figure with its name, or nothing where the loss has none. */
const shown = (name: string, value: number | null, digits: number): string =>
  value === null ? '' : `${name}${value.toFixed(digits)}`;

function line(r: StepReport): string {
  const width = 20;
  const filled = Math.round((width * r.step) / r.steps);
  const dead = r.health?.deadShare;
  const health = dead === undefined ? '' : ` dead ${(100 * dead).toFixed(0)}%`;
  return (
    `${'█'.repeat(filled)}${'░'.repeat(width - filled)} ${r.step}/${r.steps} ` +
    `${r.imagesPerSecond.toFixed(0)} img/s ETA ${duration(r.secondsLeft)} ` +
    `loss ${r.capiLoss.toFixed(3)}${shown(' clustering ', r.clusteringLoss, 3)}${shown(' entropy ', r.targetEntropy, 2)}` +
    `${r.waitingShare > 0.02 ? ` waiting ${(100 * r.waitingShare).toFixed(0)}%` : ''}${health}`
  );
}

function jsonLine(r: StepReport): object {
  const round = (x: number): number => Number(x.toPrecision(6));
  return {
    step: r.step,
    steps: r.steps,
    images_per_second: round(r.imagesPerSecond),
    eta_seconds: Math.round(r.secondsLeft),
    capi_loss: round(r.capiLoss),
    ...(r.clusteringLoss === null ? {} : { clustering_loss: round(r.clusteringLoss) }),
    ...(r.targetEntropy === null ? {} : { target_entropy: round(r.targetEntropy) }),
    waiting_share: round(r.waitingShare),
  };
}

function closing(s: {
  run: string;
  steps: number;
  images_per_second: number;
  loss: { capi: number; clustering: number | null };
  target_entropy: number | null;
  checkpoint: string;
  warnings?: readonly string[];
}): string {
  return (
    `trained ${s.steps} steps at ${s.images_per_second} img/s: ${Number.isNaN(s.loss.capi) ? 'loss not known, since the last step gave NaN or has no line in metrics.jsonl' : `loss ${s.loss.capi.toFixed(4)}`}` +
    `${shown(', clustering ', s.loss.clustering, 4)}${shown(', target entropy ', s.target_entropy, 3)}\n` +
    `run        ${s.run}\ncheckpoint ${s.checkpoint}\n${(s.warnings ?? []).map((text) => `warning    ${text}\n`).join('')}`
  );
}
