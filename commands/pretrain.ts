// capi pretrain: images in, a resumable CAPI checkpoint out.
import { Args, Flags, type Interfaces } from '@oclif/core';
import { BaseCommand } from '../src/cli/base.js';
import { configFlags, configRequest } from '../src/cli/config_flags.js';
import { duration, type Progress } from '../src/cli/progress.js';
import { beforeSignal, interruptible } from '../src/cli/signals.js';
import type { Config } from '../src/config/index.js';
import type { PretrainResult } from '../src/pretrain/loop.js';
import type { StepReport } from '../src/pretrain/metrics.js';

export default class Pretrain extends BaseCommand<typeof Pretrain> {
  static override summary = 'Train CAPI into a run folder, or go on with the run that is there.';
  static override description =
    'PRESET is a name from benchmarks/presets, FILE a YAML file. The same command, in the same folder, resumes exactly where a kill left it. ' +
    'SIGINT, SIGTERM and SIGUSR2 write a checkpoint and end with exit code 130.';
  static override examples = [
    '<%= config.bin %> pretrain quickstart',
    '<%= config.bin %> pretrain fashion --data fashion-scenes:/usr/share/datasets/fashion-mnist --out runs/fashion',
    '<%= config.bin %> pretrain quickstart --steps 50 --set model.registers=0 --set optim.lr=1e-3',
  ];
  static override args = {
    preset: Args.string({ description: 'preset name or YAML file', default: 'quickstart' }),
  };
  static override flags = {
    ...configFlags,
    out: Flags.string({ description: 'run folder (default: runs/NAME-IDENTITY)', helpValue: 'DIR' }),
    'allow-engine-change': Flags.boolean({
      description: 'go on with a run although engine, device or threads differ; the run records it',
    }),
  };

  async run(): Promise<object> {
    const { args, flags } = await this.parse(Pretrain);
    const { loadConfig } = await import('../src/config/index.js');
    const { config, source: preset } = loadConfig(configRequest(args.preset, flags));
    const progress = this.progress(stepLine, stepJson);
    const result = await interruptible((signal) =>
      this.train(config, preset, flags, progress, signal),
    ).finally(() => progress.end());
    this.log(closing(result));
    return {
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
  }

  private async train(
    config: Config,
    preset: string,
    { out, 'allow-engine-change': allowEngineChange }: Interfaces.InferredFlags<typeof Pretrain.flags>,
    progress: Progress<StepReport>,
    signal: AbortSignal,
  ): Promise<PretrainResult> {
    const { checkWritable } = await import('../src/base/files/writable.js');
    const { refuseHeld } = await import('../src/pretrain/run_folder.js');
    if (out !== undefined) {
      await refuseHeld(out); // looking through the images takes minutes
      await checkWritable(out);
    }
    const { defaultRunFolder, prepareRun } = await import('../src/pretrain/prepare.js');
    const onMessage = (text: string): void => progress.message(text);
    const prepared = await beforeSignal(prepareRun(config, { onMessage }), signal);
    const folder = out ?? defaultRunFolder(preset, prepared.identity);
    const { sourceNotes } = await import('../src/images/index.js');
    for (const note of sourceNotes(prepared.source)) progress.message(`note: ${note}`);
    if (out === undefined) await checkWritable(folder);
    const { pretrain } = await import('../src/pretrain/loop.js');
    const { runEvaluations } = await import('../src/probes/run_evals.js');
    const listed = runEvaluations(prepared.config, folder, prepared.engine, {
      signal,
      onMessage,
      onStage: (stage, done, total) => {
        if (!this.jsonEnabled() && process.stderr.isTTY)
          process.stderr.write(`\r\x1b[2K${stage} ${done}/${total}\r`);
      },
    });
    const evals = await beforeSignal(listed, signal);
    return pretrain({
      ...prepared,
      folder,
      allowEngineChange,
      signal,
      ...(evals ? { evals } : {}),
      onMessage,
      onStep: (r) => progress.report(r, r.step === r.steps),
    });
  }
}

/** A figure with its name, or nothing where the loss has none. */
const figure = (name: string, value: number | null, digits: number): string =>
  value === null ? '' : `${name}${value.toFixed(digits)}`;

function stepLine(r: StepReport): string {
  const width = 20;
  const filled = Math.round((width * r.step) / r.steps);
  const dead = r.health?.deadShare;
  const health = dead === undefined ? '' : ` dead ${(100 * dead).toFixed(0)}%`;
  return (
    `${'█'.repeat(filled)}${'░'.repeat(width - filled)} ${r.step}/${r.steps} ` +
    `${r.imagesPerSecond.toFixed(0)} img/s ETA ${duration(r.secondsLeft)} ` +
    `loss ${r.capiLoss.toFixed(3)}${figure(' clustering ', r.clusteringLoss, 3)}${figure(' entropy ', r.targetEntropy, 2)}` +
    `${r.waitingShare > 0.02 ? ` waiting ${(100 * r.waitingShare).toFixed(0)}%` : ''}${health}`
  );
}

function stepJson(r: StepReport): object {
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

function closing(r: PretrainResult): string {
  const loss = Number.isNaN(r.capiLoss)
    ? 'loss not known, since the last step gave NaN or has no line in metrics.jsonl'
    : `loss ${r.capiLoss.toFixed(4)}`;
  return [
    `trained ${r.step} steps at ${r.imagesPerSecond.toFixed(1)} img/s: ${loss}${figure(', clustering ', r.clusteringLoss, 4)}${figure(', target entropy ', r.targetEntropy, 3)}`,
    `run        ${r.run}`,
    `checkpoint ${r.checkpoint}`,
    ...r.warnings.map((text) => `warning    ${text}`),
  ].join('\n');
}
