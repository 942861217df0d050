// One evaluation's record: what was measured, under which protocol, on which bytes, by which command. Append-only JSON files.
import { existsSync } from 'node:fs';
import { appendFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { DataError } from '../errors.js';
import { hashOf, sha256 } from '../files/hash.js';
import { writeFailure } from '../files/write.js';

/** JSON has no NaN: a score over nothing is null. */
const score = z.number().nullable();
const interval = z.object({ low: score, high: score });

/** One number with everything that its name must say. */
export const resultSchema = z.object({
  task: z.enum(['cls', 'seg']),
  /** Test source, as given. */
  test: z.string(),
  /** Feature source: global, patch_mean, patch_tokens, patches, ... */
  source: z.string(),
  /** linear, attentive, knn, logreg, ... */
  head: z.string(),
  metric: z.string(),
  /** How the metric counts: official, nanskip, ...; `-` where there is but one way. */
  convention: z.string(),
  /** In [0, 1]. */
  value: score,
  /** 95 %, percentile bootstrap over test images; null where it was not computed. */
  interval: interval.nullable(),
  /** Test images. */
  n: z.int(),
  /** The grid point that selection chose. */
  selected: z.record(z.string(), z.union([z.number(), z.string()])).nullable(),
});
export type Result = z.infer<typeof resultSchema>;

/** What a score is of, apart from its test set. */
export type ScoreKind = Pick<Result, 'source' | 'head' | 'metric' | 'convention'>;

export const sameScore = (a: ScoreKind, b: ScoreKind): boolean =>
  a.source === b.source && a.head === b.head && a.metric === b.metric && a.convention === b.convention;

const dataset = z.object({
  source: z.string(),
  /** SHA-256 of what the source holds. */
  identity: z.string(),
  images: z.int(),
});

export const recordSchema = z.object({
  schema: z.literal(1),
  /** Hash of all that decides the numbers: protocol, weights, data, seed, limits. */
  id: z.string(),
  task: z.enum(['cls', 'seg']),
  created: z.string(),
  seconds: z.number(),
  encoder: z.object({
    name: z.string(),
    kind: z.string(),
    weights_hash: z.string(),
    size: z.tuple([z.int(), z.int()]),
    patch: z.int(),
    widths: z.record(z.string(), z.int()),
  }),
  protocol: z.object({ name: z.string(), hash: z.string(), card: z.record(z.string(), z.unknown()) }),
  train: dataset,
  tests: z.array(dataset.extend({ reads: z.int() })),
  split: z.object({ hash: z.string(), train: z.int(), validation: z.int(), seed: z.int() }),
  seed: z.int(),
  results: z.array(resultSchema),
  /** Every grid point with its validation score, by head and source. */
  grid: z.array(z.record(z.string(), z.unknown())),
  /** Classes by name, where known, and scores by class. */
  classes: z.array(z.string()),
  per_class: z.array(z.record(z.string(), z.unknown())),
  /** File of per-image predictions beside the record, and its SHA-256. */
  predictions: z.object({ file: z.string(), sha256: z.string() }),
  notes: z.array(z.string()),
  environment: z.record(z.string(), z.unknown()),
});
export type EvaluationRecord = z.infer<typeof recordSchema>;

/** What decides an evaluation's numbers; its hash is the record's id. */
export interface RecordKey {
  task: 'cls' | 'seg';
  protocol: string;
  weights: string;
  train: string;
  tests: string[];
  seed: number;
  limit: number | null;
  size: [number, number];
}

export const recordId = (key: RecordKey): string => hashOf(key).slice(0, 16);

/** Folder of one evaluation below the output folder. */
export const recordFolder = (out: string, id: string): string => join(out, id);

/** The newest finished record of an evaluation, or undefined. @throws DataError for a damaged one */
export async function findRecord(
  folder: string,
): Promise<{ file: string; record: EvaluationRecord } | undefined> {
  const files = (existsSync(folder) ? await readdir(folder) : [])
    .filter((name) => /^record(-\d+)?\.json$/.test(name))
    .sort((a, b) => numberOf(a) - numberOf(b));
  const name = files.at(-1);
  if (!name) return undefined;
  const file = join(folder, name);
  return { file, record: await readRecord(file) };
}

const numberOf = (name: string): number => Number(/-(\d+)\.json$/.exec(name)?.[1] ?? 1);

/** Writes a record under a name that was free: records are never replaced. Returns its path. @throws DataError */
export async function writeRecord(folder: string, record: EvaluationRecord): Promise<string> {
  const text = `${JSON.stringify(recordSchema.parse(record), null, 1)}\n`;
  for (let n = 1; ; n++) {
    const file = join(folder, n === 1 ? 'record.json' : `record-${n}.json`);
    try {
      await mkdir(folder, { recursive: true });
      await writeFile(file, text, { flag: 'wx' });
      return file;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw writeFailure(file, error);
    }
  }
}

/** @throws DataError naming the file when it is no record of this version */
export async function readRecord(file: string): Promise<EvaluationRecord> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new DataError(`${file} cannot be read as a record: ${(error as Error).message}`);
  }
  const parsed = recordSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new DataError(`${file} is not a record of capi eval: ${issue.path.join('.')}: ${issue.message}`);
  }
  return parsed.data;
}

/** File of the output folder that counts every read of a test set. */
const READS = 'test-reads.jsonl';

/** Notes that `identity` was scored and returns how often it was so far, this time included. @throws DataError */
export async function countTestRead(
  out: string,
  entry: { identity: string; record: string; encoder: string },
): Promise<number> {
  const file = join(out, READS);
  try {
    await mkdir(out, { recursive: true });
    await appendFile(file, `${JSON.stringify({ time: new Date().toISOString(), ...entry })}\n`);
    const lines = (await readFile(file, 'utf8')).split('\n');
    return lines.filter((line) => line.includes(`"identity":"${entry.identity}"`)).length;
  } catch (error) {
    throw writeFailure(file, error);
  }
}

/** SHA-256 of a list of indices: names a split in a card. */
export const splitHash = (indices: ArrayLike<number>): string => sha256(Int32Array.from(indices).toString());
