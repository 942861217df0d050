// What one cell of an ablation leaves: an arm, a pretraining seed, a probe seed and an evaluation, with all that a report needs to rebuild a table.
import { existsSync } from 'node:fs';
import { lstat, readFile, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { readSealed, SEALED_SCHEMA, writeSealed } from '../base/files/seal.js';
import { makeFolder } from '../base/files/write.js';
import { hashOf, sha256 } from '../base/hash.js';
import { DataError } from '../errors.js';
import { TASK_NAMES } from '../probes/tasks.js';
import { fileName, parseAs, resultSchema, schemaVersion } from './record.js';

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
  schema: schemaVersion,
  /** Hash of run, evaluation and probe seed: the name of the cell's folder. */
  id: z.string(),
  /** What the id is the hash of; older cells have none. */
  key: z.object({ run: z.string(), evaluation: z.string(), probeSeed: z.int() }).optional(),
  task: z.enum(TASK_NAMES),
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
  counts: z.object({ file: fileName, sha256: z.string() }).nullable(),
  /** File of feature pictures beside the record. */
  pictures: fileName.nullable(),
  /** Of that file; older cells have none. */
  pictures_sha256: z.string().optional(),
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
export const FAILED = 'failed.json';

/** Folder of all cells of an ablation. */
const CELLS = 'cells';
/** Of a cell that was stopped: beside what goes on from there, which is not kept with the records. */
const stopFile = (out: string, id: string): string => join(out, 'work', `${id}.stopped.json`);

/** Folder of a cell below that of its ablation. */
export const cellFolder = (out: string, id: string): string => join(out, CELLS, id);

/** What a cell's id is made of: the whole hash of its run, that of its evaluation, and the probe seed. */
export type CellKey = NonNullable<CellRecord['key']>;

/** Names of cells are this many digits of a hash. */
const DIGITS = 16;

export const cellId = (key: CellKey): string => hashOf(key).slice(0, DIGITS);

/** Where the record of a cell lies. */
export const cellFile = (out: string, id: string): string => join(cellFolder(out, id), CELL);

/** Writes a finished cell with its digest, once. @throws DataError */
export async function writeCell(out: string, cell: CellRecord): Promise<string> {
  const folder = cellFolder(out, cell.id);
  await makeFolder(folder);
  const file = join(folder, CELL);
  await writeSealed(file, cellSchema.parse({ ...cell, schema: SEALED_SCHEMA }));
  return file;
}

/** A cell's record, or undefined where it is not finished. @throws DataError naming the file; see readCell */
export async function findCell(out: string, id: string): Promise<CellRecord | undefined> {
  const file = join(cellFolder(out, id), CELL);
  return existsSync(file) ? readCell(file) : undefined;
}

const REMEDY = 'Delete its folder to run the cell again, or restore it';

/** Throws DataError naming the file when it is torn, was changed, is no cell, or is not the cell of its folder and parts. */
export async function readCell(file: string): Promise<CellRecord> {
  const { value } = await readSealed(file, REMEDY);
  const fail = (what: string): DataError =>
    new DataError(`${file} is not ${what}. ${REMEDY}`, { path: file, fault: 'foreign' });
  const cell = parseAs(cellSchema, value, (what) => fail(`a cell of capi ablate: ${what}`));
  const { id, key, run, probe_seed: probeSeed } = cell;
  const folder = basename(dirname(file));
  if (basename(dirname(dirname(file))) === CELLS && folder !== id)
    throw fail(`the cell of its folder: it is ${id}, its folder ${folder}`);
  if (key && (cellId(key) !== id || !key.run.startsWith(run.id) || key.probeSeed !== probeSeed))
    throw fail(`the cell of its id: it says ${id}, its run, evaluation and probe seed make ${cellId(key)}`);
  return cell;
}

/** Bytes of a cell's feature pictures at most. */
const MOST_PICTURE_BYTES = 32 * 2 ** 20;

/** The feature pictures of a cell in `folder`; undefined where it has none. @throws DataError when they are missing or other ones */
export async function readPictures(folder: string, cell: CellRecord): Promise<Buffer | undefined> {
  if (cell.pictures === null) return undefined;
  const file = join(folder, cell.pictures);
  const fail = (what: string, fault = 'changed'): DataError =>
    new DataError(`${file} ${what}. ${REMEDY}`, { path: file, fault });
  const found = await lstat(file).catch(() => undefined);
  if (!found?.isFile() || found.size > MOST_PICTURE_BYTES)
    throw fail('is missing or no picture', found ? 'foreign' : 'missing');
  const bytes = await readFile(file);
  if (cell.pictures_sha256 !== undefined && sha256(bytes) !== cell.pictures_sha256)
    throw fail('is not the picture that its cell was written with');
  if (!bytes.subarray(0, 8).equals(PNG)) throw fail('is no PNG');
  return bytes;
}

const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

export const isFinished = (out: string, id: string): boolean => existsSync(join(cellFolder(out, id), CELL));

export async function writeCellFailure(out: string, id: string, reason: string): Promise<void> {
  await makeFolder(cellFolder(out, id));
  await writeSealed(join(cellFolder(out, id), FAILED), { id, reason, time: new Date().toISOString() });
  await rm(stopFile(out, id), { force: true });
}

/** Notes that work on a cell was stopped before its end; the same command goes on with it. */
export async function writeCellStop(out: string, id: string, reason: string): Promise<void> {
  await makeFolder(dirname(stopFile(out, id)));
  await writeSealed(stopFile(out, id), { id, reason, time: new Date().toISOString() });
}

/** Why the last attempt at a cell failed, if it did. A note that is damaged or of another cell says so itself. */
export const readCellFailure = (out: string, id: string): Promise<string | undefined> =>
  reasonIn(join(cellFolder(out, id), FAILED), id);

/** Why the last attempt at a cell was stopped, if it was. */
export const readCellStop = (out: string, id: string): Promise<string | undefined> =>
  reasonIn(stopFile(out, id), id);

async function reasonIn(file: string, id: string): Promise<string | undefined> {
  if (!existsSync(file)) return undefined;
  try {
    const { value } = await readSealed(file);
    if (value.id !== undefined && value.id !== id)
      return `unknown: ${file} is of the cell ${String(value.id)}`;
    return typeof value.reason === 'string' ? value.reason : `unknown: ${file} holds no reason`;
  } catch (error) {
    return `unknown: ${(error as Error).message}`;
  }
}

/** Forgets that a cell failed or was stopped. */
export async function clearCellFailure(out: string, id: string): Promise<void> {
  await rm(join(cellFolder(out, id), FAILED), { force: true });
  await rm(stopFile(out, id), { force: true });
}
