// metrics.jsonl: one line a step, on disk before the checkpoint of that step, and cut back to the checkpoint on resume.
import { appendFileSync, closeSync, existsSync, fsyncSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFailure, writeText } from '../files/write.js';
import type { Rates } from '../optim/schedule.js';
import type { Health } from './health.js';
import { RUN } from './run_folder.js';

/** What the loop reports after a step. Losses are NaN or infinite where the step was bad and had no effect. */
export interface StepReport {
  /** Steps done so far. */
  step: number;
  steps: number;
  capiLoss: number;
  /** Of the clustering layer; null where the loss has none. */
  clusteringLoss: number | null;
  /** In nats; null where targets are no distributions. */
  targetEntropy: number | null;
  gradientNorm: number;
  /** Over the steps since the start or the resume, without the first. */
  imagesPerSecond: number;
  /** Share of that time spent waiting for images. */
  waitingShare: number;
  secondsLeft: number;
  health?: Health;
}

export type Line = Record<string, number | null>;

/** The metrics file of a running process. Lines reach the system at once, so that a killed process loses none. */
export class Metrics {
  private constructor(
    private readonly path: string,
    private readonly file: number,
    /** Bad steps in a row that the kept lines end with. */
    readonly badSteps: number,
  ) {}

  /** Opens the file for appending, cut back to the lines of the first `step` steps. */
  static async open(folder: string, step: number): Promise<Metrics> {
    const path = join(folder, RUN.metrics);
    const lines = (await readLines(folder)).filter((line) => line.step! <= step);
    await writeText(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const bad = lines.length - 1 - lines.findLastIndex((line) => !isBad(line));
    return new Metrics(path, openSync(path, 'a'), bad);
  }

  write(r: StepReport, rates: Rates): void {
    try {
      appendFileSync(this.file, `${JSON.stringify(lineOf(r, rates))}\n`);
    } catch (error) {
      throw writeFailure(this.path, error);
    }
  }

  /** Waits until the lines are on the disk itself: before a checkpoint, which must not be ahead of them. */
  sync(): void {
    fsyncSync(this.file);
  }

  close(): void {
    closeSync(this.file);
  }
}

/** What the line of a step says, so that repeating the command of a finished run reports what it reported. */
export async function reportAt(folder: string, step: number, steps: number): Promise<StepReport | undefined> {
  const line = (await readLines(folder)).findLast((l) => l.step === step);
  if (!line) return undefined;
  const number = (key: string): number => line[key] ?? Number.NaN;
  const optional = (key: string): number | null => (key in line ? number(key) : null);
  const health = Object.fromEntries(
    HEALTH_COLUMNS.flatMap(([key, name]) => (name in line ? [[key, number(name)]] : [])),
  );
  return {
    step,
    steps,
    capiLoss: number('capi_loss'),
    clusteringLoss: optional('clustering_loss'),
    targetEntropy: optional('target_entropy'),
    gradientNorm: number('gradient_norm'),
    imagesPerSecond: number('images_per_second'),
    waitingShare: number('waiting_share'),
    secondsLeft: 0,
    ...(Object.keys(health).length > 0 ? { health } : {}),
  };
}

/** A step counts when its losses and its gradient are numbers. */
export function isFiniteStep(r: {
  capiLoss: number;
  clusteringLoss: number | null;
  gradientNorm: number;
}): boolean {
  return [r.capiLoss, r.clusteringLoss ?? 0, r.gradientNorm].every(Number.isFinite);
}

/** JSON has no NaN: a bad step's line holds null. */
const isBad = (line: Line): boolean =>
  [line.capi_loss, line.clustering_loss, line.gradient_norm].some((value) => value === null);

export async function readLines(folder: string): Promise<Line[]> {
  const path = join(folder, RUN.metrics);
  if (!existsSync(path)) return [];
  return (await readFile(path, 'utf8')).split('\n').flatMap((text) => {
    try {
      const line: unknown = JSON.parse(text);
      return typeof (line as Line | null)?.step === 'number' ? [line as Line] : [];
    } catch {
      return []; // the end, or a line that a kill cut short
    }
  });
}

/** Figures of health, and their columns. */
export const HEALTH_COLUMNS = [
  ['deadShare', 'dead_share'],
  ['dominance', 'dominance'],
  ['positionInformation', 'position_information'],
  ['spread', 'spread'],
  ['positionShare', 'position_share'],
] as const;

function lineOf(r: StepReport, rates: Rates): Line {
  const round = (x: number): number => Number(x.toPrecision(6));
  return {
    step: r.step,
    capi_loss: r.capiLoss,
    ...(r.clusteringLoss === null ? {} : { clustering_loss: r.clusteringLoss }),
    ...(r.targetEntropy === null ? {} : { target_entropy: r.targetEntropy }),
    gradient_norm: r.gradientNorm,
    lr: round(rates.lr),
    clustering_lr: round(rates.clusteringLr),
    momentum: round(rates.momentum),
    images_per_second: round(r.imagesPerSecond),
    waiting_share: round(r.waitingShare),
    ...Object.fromEntries(
      HEALTH_COLUMNS.flatMap(([key, name]) => {
        const value = r.health?.[key];
        return value === undefined ? [] : [[name, round(value)]];
      }),
    ),
  };
}
