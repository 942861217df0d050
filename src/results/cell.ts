// What one cell of an ablation leaves: an arm, a pretraining seed, a probe seed and an evaluation, with all that a report needs to rebuild a table.
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { DataError } from '../errors.js';
import { writeJson, writeText } from '../files/write.js';
import { resultSchema } from './record.js';

const number = z.number().nullable();

/** How pretraining ended: `collapsed` and `diverged` by the figures of its health. */
export const runStates = ['done', 'collapsed', 'diverged'] as const;

/** A pretraining run, as the cells that evaluate it tell of it. */
export const runSchema = z.object({
  /** Hash of all settings and the data: the name of its folder. */
  id: z.string(),
  state: z.enum(runStates),
  /** In words, where it did not simply end. */
  reason: z.string().nullable(),
  /** Steps done, and images seen in them. */
  step: z.int(),
  images: z.int(),
  /** The last look at the prototypes or features. */
  health: z.record(z.string(), number),
  /** At most 200 lines of metrics.jsonl: step, losses, entropy, health. */
  curve: z.array(z.record(z.string(), number)),
  /** Of training alone, by the images a second of its log. */
  seconds: number,
  /** Trained parameters of the student, and floating-point operations of a step. */
  parameters: z.int(),
  flop_per_step: z.number(),
});
export type RunSummary = z.infer<typeof runSchema>;

export const cellSchema = z.object({
  schema: z.literal(1),
  /** Hash of run, evaluation and probe seed: the name of the cell's folder. */
  id: z.string(),
  task: z.enum(['cls', 'seg']),
  /** Name of the evaluation in the grid. */
  evaluation: z.string(),
  /** Settings of the arm that are not the base's, by dotted key. */
  settings: z.record(z.string(), z.unknown()),
  seed: z.int(),
  probe_seed: z.int(),
  threads: z.int(),
  run: runSchema,
  /** Of the evaluation; empty for a run that diverged. */
  results: z.array(resultSchema),
  /** Name, hash of all that decides numbers but the encoder, and the whole card. */
  protocol: z
    .object({ name: z.string(), hash: z.string(), card: z.record(z.string(), z.unknown()) })
    .nullable(),
  train: z.object({ source: z.string(), identity: z.string(), images: z.int() }).nullable(),
  tests: z.array(z.object({ source: z.string(), identity: z.string(), images: z.int() })),
  classes: z.array(z.string()),
  /** File of per-image counts beside the record (counts.ts), and its SHA-256. */
  counts: z.object({ file: z.string(), sha256: z.string() }).nullable(),
  /** File of feature pictures beside the record. */
  pictures: z.string().nullable(),
  /** The whole configuration of the run: with it `capi reproduce` runs the cell again. */
  config: z.record(z.string(), z.unknown()),
  /** How the evaluation is asked for. */
  request: z.object({
    train: z.string(),
    tests: z.array(z.string()),
    protocol: z.string(),
    weights: z.enum(['ema', 'student']),
    limit: z.int().nullable(),
  }),
  notes: z.array(z.string()),
  /** The two commands that make the number. */
  commands: z.array(z.string()),
  created: z.string(),
  seconds: z.number(),
  environment: z.record(z.string(), z.unknown()),
});
export type CellRecord = z.infer<typeof cellSchema>;

export const CELL = 'cell.json';
/** Of a cell that failed; gone as soon as it is tried again. */
const FAILED = 'failed.json';

/** Folder of a cell below that of its ablation. */
export const cellFolder = (out: string, id: string): string => join(out, 'cells', id);

/** Writes a finished cell, once. @throws DataError */
export async function writeCell(out: string, cell: CellRecord): Promise<string> {
  const folder = cellFolder(out, cell.id);
  await mkdir(folder, { recursive: true }).catch((error) => {
    throw new DataError(`cannot write ${folder}: ${(error as Error).message}`);
  });
  const file = join(folder, CELL);
  await writeText(file, `${JSON.stringify(cellSchema.parse(cell), null, 1)}\n`);
  return file;
}

/** A cell's record, or undefined where it is not finished. @throws DataError naming the file when it is damaged */
export async function findCell(out: string, id: string): Promise<CellRecord | undefined> {
  const file = join(cellFolder(out, id), CELL);
  return existsSync(file) ? readCell(file) : undefined;
}

/** @throws DataError */
export async function readCell(file: string): Promise<CellRecord> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new DataError(
      `${file} cannot be read as a cell of capi ablate: ${(error as Error).message}. Delete its folder to run the cell again`,
    );
  }
  const parsed = cellSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new DataError(
    `${file} is not a cell of capi ablate: ${issue.path.join('.')}: ${issue.message}. Delete its folder to run the cell again`,
  );
}

export const isFinished = (out: string, id: string): boolean => existsSync(join(cellFolder(out, id), CELL));

export async function writeCellFailure(out: string, id: string, reason: string): Promise<void> {
  await mkdir(cellFolder(out, id), { recursive: true });
  await writeJson(join(cellFolder(out, id), FAILED), { reason, time: new Date().toISOString() });
}

/** Why the last attempt at a cell failed, if it did. */
export async function readCellFailure(out: string, id: string): Promise<string | undefined> {
  try {
    return (JSON.parse(await readFile(join(cellFolder(out, id), FAILED), 'utf8')) as { reason: string })
      .reason;
  } catch {
    return undefined;
  }
}

export const clearCellFailure = (out: string, id: string): Promise<void> =>
  rm(join(cellFolder(out, id), FAILED), { force: true });
