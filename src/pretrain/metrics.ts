// metrics.jsonl: one line a step, on disk before the checkpoint of that step, and cut back to the checkpoint on resume.
import { createHash, type Hash } from 'node:crypto';
import { appendFileSync, closeSync, existsSync, fstatSync, fsyncSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { readSealed, type Seal, writeSealed } from '../base/files/seal.js';
import { writeFailure, writeText } from '../base/files/write.js';
import { sha256 } from '../base/hash.js';
import { DataError } from '../errors.js';
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
  private readonly hash: Hash;

  private constructor(
    private readonly folder: string,
    private readonly file: number,
    /** Bad steps in a row that the kept lines end with. */
    readonly badSteps: number,
    /** What is wrong with the lines that were there, in words. */
    readonly faults: readonly string[],
    text: string,
    private seal: MetricsSeal,
  ) {
    this.hash = createHash('sha256').update(text);
  }

  /**
   * Opens the file for appending, cut back to the lines of the first `step` steps. Where these are not the lines that were written, the file
   * as it was is kept beside it, and what is wrong stands in `faults` and, for good, in the file of its digests.
   */
  static async open(folder: string, step: number): Promise<Metrics> {
    const path = join(folder, RUN.metrics);
    const found = await inspect(folder, step);
    if (found.faults.length > 0) await writeText(join(folder, SET_ASIDE), found.text);
    const text = found.lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    await writeText(path, text);
    const bad = found.lines.length - 1 - found.lines.findLastIndex((line) => !isBad(line));
    const { marks } = found.seal;
    const known = marks.at(-1)?.faults.join() === found.faults.join();
    if (found.faults.length > 0 && !known) marks.push({ step, faults: found.faults });
    const points = found.seal.points.filter((point) => point.step < step);
    const seal = { points: [...points, pointAt(step, text, sha256(text))], marks };
    await writeSealed(join(folder, METRICS_SEAL), seal);
    return new Metrics(folder, openSync(path, 'a'), bad, found.faults, text, seal);
  }

  write(r: StepReport, rates: Rates): void {
    const line = `${JSON.stringify(lineOf(r, rates))}\n`;
    try {
      appendFileSync(this.file, line);
    } catch (error) {
      throw writeFailure(join(this.folder, RUN.metrics), error);
    }
    this.hash.update(line);
  }

  /**
   * Waits until the lines are on the disk itself, and writes down the digest of all of them: before the checkpoint after `step` steps,
   * which must not be ahead of them.
   */
  async sync(step: number): Promise<void> {
    fsyncSync(this.file);
    const bytes = fstatSync(this.file).size;
    const points = [...this.seal.points.filter((point) => point.step < step).slice(1 - MOST_POINTS)];
    points.push({ step, bytes, sha256: this.hash.copy().digest('hex') });
    this.seal = { ...this.seal, points };
    await writeSealed(join(this.folder, METRICS_SEAL), this.seal);
  }

  close(): void {
    closeSync(this.file);
  }
}

/** File of the digests of the metrics: of all lines up to each of the last checkpoints, and what was found wrong before. */
export const METRICS_SEAL = 'metrics.seal.json';
/** The metrics as they were found, where something was wrong with them. */
const SET_ASIDE = 'metrics.damaged.jsonl';
const MOST_POINTS = 100;

interface MetricsSeal {
  readonly points: readonly { step: number; bytes: number; sha256: string }[];
  /** Faults that were found when the run was taken up again at a step. */
  readonly marks: { step: number; faults: readonly string[] }[];
}

const sealSchema = z.object({
  points: z.array(z.object({ step: z.int(), bytes: z.int(), sha256: z.string() })),
  marks: z.array(z.object({ step: z.int(), faults: z.array(z.string()) })),
});

const pointAt = (step: number, text: string, digest: string): MetricsSeal['points'][number] => ({
  step,
  bytes: Buffer.byteLength(text),
  sha256: digest,
});

/** What is wrong with the metrics of a run folder as they lie there, and whether they have digests. @throws DataError for damaged digests */
export async function metricsFaults(folder: string): Promise<{ faults: string[]; seal: Seal }> {
  const { faults, seal } = await inspect(folder, Number.POSITIVE_INFINITY);
  const marked = seal.marks.flatMap(({ step, faults }) =>
    faults.map((fault) => `marked when the run went on at step ${step}: ${fault}`),
  );
  return { faults: [...faults, ...marked], seal: seal.points.length > 0 ? 'intact' : 'unsealed' };
}

/**
 * Reads the lines of the first `most` steps, each step once, in order, and says what is wrong with them: lines that cannot be read or are of
 * no step, steps that are missing, stand there twice or out of order, and any other change up to the last digest.
 */
async function inspect(
  folder: string,
  most: number,
): Promise<{ text: string; lines: Line[]; faults: string[]; seal: MetricsSeal }> {
  const path = join(folder, RUN.metrics);
  const faults: string[] = [];
  let seal: MetricsSeal = { points: [], marks: [] };
  if (existsSync(join(folder, METRICS_SEAL))) {
    try {
      seal = sealSchema.parse((await readSealed(join(folder, METRICS_SEAL))).value);
    } catch (error) {
      const why = error instanceof DataError ? error.message : 'it holds other keys';
      faults.push(`${METRICS_SEAL} cannot be used (${why}): changes of single numbers are not seen`);
    }
  }
  const text = existsSync(path) ? await readFile(path, 'utf8') : '';
  const lines: Line[] = [];
  const wrong = { unreadable: [] as number[], twice: [] as number[], order: [] as number[] };
  const seen = new Set<number>();
  const own = text.split('\n');
  for (const [i, line] of own.entries()) {
    const value = parsedLine(line);
    if (!value) {
      if (line !== '' && i < own.length - 1) wrong.unreadable.push(i + 1); // a last line that a kill cut short is none
      continue;
    }
    const { step } = value as { step: number };
    if (step > most) continue;
    if (seen.has(step)) wrong.twice.push(step);
    else if (step < (lines.at(-1)?.step ?? 0)) wrong.order.push(step);
    if (!seen.has(step)) lines.push(value);
    seen.add(step);
  }
  lines.sort((a, b) => a.step! - b.step!);
  const last = Number.isFinite(most)
    ? most
    : Math.max(lines.at(-1)?.step ?? 0, seal.points.at(-1)?.step ?? 0);
  const missing = Array.from({ length: Math.min(last, MOST_STEPS) }, (_, i) => i + 1).filter(
    (s) => !seen.has(s),
  );
  for (const [what, numbers] of [
    ['lines that cannot be read or are of no step', wrong.unreadable],
    ['steps that stand there twice', wrong.twice],
    ['steps out of order', wrong.order],
    ['steps that are missing', missing],
  ] as const) {
    if (numbers.length > 0) faults.push(`${RUN.metrics} has ${what}: ${ranges(numbers)}`);
  }
  const point = seal.points.findLast(({ step }) => step <= most);
  const bytes = Buffer.from(text).subarray(0, point?.bytes);
  if (point && faults.length === 0 && sha256(bytes) !== point.sha256)
    faults.push(
      `${RUN.metrics} was changed after it was written: its lines up to step ${point.step} are not those of its digest`,
    );
  return { text, lines, faults, seal };
}

const MOST_STEPS = 1e8;

/** A line of a step: a whole number of at least 1, and figures beside it. */
function parsedLine(text: string): Line | undefined {
  try {
    const line = JSON.parse(text) as Line | null;
    const step = line?.step;
    if (typeof step !== 'number' || !Number.isSafeInteger(step) || step < 1) return undefined;
    return Object.values(line!).every((x) => x === null || typeof x === 'number') ? line! : undefined;
  } catch {
    return undefined; // the end, or a line that a kill cut short
  }
}

/** `1 to 3, 7 and 4 more`. */
function ranges(numbers: readonly number[]): string {
  const sorted = [...numbers].sort((a, b) => a - b);
  const found: [number, number][] = [];
  for (const n of sorted) {
    const last = found.at(-1);
    if (last && n <= last[1] + 1) last[1] = n;
    else found.push([n, n]);
  }
  const shown = found.slice(0, 5).map(([a, b]) => (a === b ? `${a}` : `${a} to ${b}`));
  return `${shown.join(', ')}${found.length > 5 ? ` and ${found.length - 5} more` : ''} (${numbers.length} in all)`;
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

/** The lines of a run's metrics, each step once; those that are damaged are left out. */
export async function readLines(folder: string): Promise<Line[]> {
  return (await inspect(folder, Number.POSITIVE_INFINITY)).lines;
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
