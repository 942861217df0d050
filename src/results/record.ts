// One evaluation's record: what was measured, under which protocol, on which bytes, by which command. Append-only JSON files.
import { existsSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { takeLock } from '../base/files/lock.js';
import {
  readSealed,
  readText,
  SEALED_SCHEMA,
  sealedLine,
  sealedText,
  unsealLines,
} from '../base/files/seal.js';
import { readUnlessTorn } from '../base/files/torn.js';
import { appendLine, makeFolder, writeNew } from '../base/files/write.js';
import { hashOf, sha256 } from '../base/hash.js';
import { DataError, UsageError } from '../errors.js';
import { TASK_NAMES, type TaskName } from '../probes/tasks.js';

/** JSON has no NaN: a score over nothing is null. */
const score = z.number().nullable();
const interval = z.object({ low: score, high: score });

/** One number with everything that its name must say. */
export const resultSchema = z.object({
  task: z.enum(TASK_NAMES),
  /** Test source, as given. */
  test: z.string(),
  /** Feature source: global, average_patch, patches, ... */
  source: z.string(),
  /** linear, attentive, knn, logreg, ... */
  head: z.string(),
  metric: z.string(),
  /** How the metric counts: official, nanskip, ...; `-` where there is but one way. */
  convention: z.string(),
  /** In [0, 1], or as large as it is where its metric is no share. */
  value: score,
  /** 95 %, percentile bootstrap over test images; null where it was not computed. */
  interval: interval.nullable(),
  /** Test images. */
  n: z.int(),
  /** The grid point that selection chose. */
  selected: z.record(z.string(), z.union([z.number(), z.string()])).nullable(),
});
export type Result = z.infer<typeof resultSchema>;

const dataset = z.object({
  source: z.string(),
  /** SHA-256 of what the source holds. */
  identity: z.string(),
  images: z.int(),
});

/** A file beside the one that names it: no path that leads elsewhere. */
export const fileName = z.string().regex(/^\w[\w.+-]*$/, 'accepted: the name of a file beside this one');

/** 1: written without a digest, before every file had one. */
export const schemaVersion = z.union([z.literal(1), z.literal(SEALED_SCHEMA)]);

export const recordSchema = z.object({
  schema: schemaVersion,
  /** Hash of all that decides the numbers: protocol, weights, data, seed, limits. */
  id: z.string(),
  /** What the id is the hash of (RecordKey); older records have none. */
  key: z.record(z.string(), z.unknown()).optional(),
  task: z.enum(TASK_NAMES),
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
  tests: z.array(
    dataset.extend({
      reads: z.int(),
      /** Images compared with the training images, and those of them that are among these: in every pixel, or nearly. Absent in old records. */
      overlap: z.object({ same: z.int(), near: z.int(), images: z.int() }).optional(),
      /** Segmentation: share of the pixels that no score counts. Absent in old records. */
      not_counted: z.number().optional(),
    }),
  ),
  split: z.object({ hash: z.string(), train: z.int(), validation: z.int(), seed: z.int() }),
  seed: z.int(),
  results: z.array(resultSchema),
  /** Every grid point with its validation score, by head and source. */
  grid: z.array(z.record(z.string(), z.unknown())),
  /** Classes by name, where known, and scores by class. */
  classes: z.array(z.string()),
  per_class: z.array(z.record(z.string(), z.unknown())),
  /** File of per-image predictions beside the record, and its SHA-256. */
  predictions: z.object({ file: fileName, sha256: z.string() }),
  notes: z.array(z.string()),
  environment: z.record(z.string(), z.unknown()),
});
export type EvaluationRecord = z.infer<typeof recordSchema>;

/** What decides an evaluation's numbers; its hash is the record's id. */
export interface RecordKey {
  task: TaskName;
  protocol: string;
  weights: string;
  train: string;
  tests: string[];
  seed: number;
  limit: number | null;
  size: [number, number];
}

/** The id of a RecordKey, as it was made or as a record holds it. */
export const recordId = (key: object): string => hashOf(key).slice(0, 16);

/** Folder of one evaluation below the output folder. */
export const recordFolder = (out: string, id: string): string => join(out, id);

/**
 * The newest finished record of an evaluation, or undefined. One that is torn is set aside, and `mend` hears of it; only for the process
 * that may write there. @throws DataError for a damaged one
 */
export async function findRecord(
  folder: string,
  mend?: (line: string) => void,
): Promise<{ file: string; record: EvaluationRecord } | undefined> {
  const files = (existsSync(folder) ? await readdir(folder) : [])
    .filter((name) => /^record(-\d+)?\.json$/.test(name))
    .sort((a, b) => numberOf(a) - numberOf(b));
  const name = files.at(-1);
  if (!name) return undefined;
  const file = join(folder, name);
  if (!mend) return { file, record: await readRecord(file) };
  const record = await readUnlessTorn(file, () => readRecord(file), mend);
  return record ? { file, record } : findRecord(folder, mend);
}

/** A record by its path, or the newest of a folder. @throws UsageError when there is none, DataError for a damaged one */
export async function openRecord(path: string): Promise<{ file: string; record: EvaluationRecord }> {
  if (!existsSync(path))
    throw new UsageError(`no record ${path}; accepted: a record.json of capi eval, or its folder`);
  if (!statSync(path).isDirectory()) return { file: path, record: await readRecord(path) };
  const found = await findRecord(path);
  if (!found)
    throw new UsageError(`${path} holds no record: its evaluation is not finished, or it is another folder`);
  return found;
}

const numberOf = (name: string): number => Number(/-(\d+)\.json$/.exec(name)?.[1] ?? 1);

/** Writes a record with its digest under a name that was free: records are never replaced. Returns its path. @throws DataError */
export async function writeRecord(folder: string, record: EvaluationRecord): Promise<string> {
  const text = sealedText(recordSchema.parse({ ...record, schema: SEALED_SCHEMA }));
  await makeFolder(folder);
  for (let n = 1; ; n++) {
    const file = join(folder, n === 1 ? 'record.json' : `record-${n}.json`);
    if (await writeNew(file, text)) return file;
  }
}

const REMEDY = 'evaluate again with --force, or restore it';

/** Throws DataError naming the file when it is torn, was changed, is no record, or is not the record that its id and folder name. */
export async function readRecord(file: string): Promise<EvaluationRecord> {
  const { value } = await readSealed(file, REMEDY);
  const fail = (what: string): DataError =>
    new DataError(`${file} is not ${what}`, { path: file, fault: 'foreign' });
  const record = parseAs(recordSchema, value, (what) => fail(`a record of capi eval: ${what}`));
  const wrong = strangeParts(file, record);
  if (wrong !== undefined) throw fail(`the record of its id: ${wrong}. ${REMEDY}`);
  return record;
}

/** A value as its schema has it. @throws what `fail` makes of the first thing that is wrong, in words */
export function parseAs<T>(schema: z.ZodType<T>, value: unknown, fail: (what: string) => Error): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw fail(`${path.join('.')}: ${message}`);
}

/** What of a record does not fit its id, in words. */
function strangeParts(file: string, record: EvaluationRecord): string | undefined {
  const { id, protocol, encoder, train, tests, task, seed } = record;
  const folder = basename(dirname(file));
  if (/^[0-9a-f]{16}$/.test(folder) && folder !== id) return `it is ${id}, its folder ${folder}`;
  const said = { task, protocol: protocol.hash, weights: encoder.weights_hash, seed, train: train.identity };
  const own = {
    ...said,
    tests: tests.map(({ identity }) => identity),
    limit: protocol.card.limit ?? null,
    size: encoder.size,
  };
  const key: Record<string, unknown> = record.key ?? own;
  const made = recordId(key);
  if (made !== id) return `it says ${id}, its parts make ${made}`;
  if (hashOf(protocol.card) !== protocol.hash)
    return 'its protocol card does not have the hash that it names';
  const other = Object.entries(own).find(([name, value]) => hashOf([key[name]]) !== hashOf([value]));
  return (
    other && `its ${other[0]} is ${JSON.stringify(other[1])}, in its key ${JSON.stringify(key[other[0]])}`
  );
}

/** File of the output folder that counts every read of a test set. */
export const READS = 'test-reads.jsonl';

/** One reading of a test set: `n` counts those of the same contents in this folder, from 1. */
interface TestRead {
  time: string;
  identity: string;
  record: string;
  encoder: string;
  n: number;
}

/** Notes that `identity` was scored and returns how often it was so far, this time included. @throws DataError */
export async function countTestRead(
  out: string,
  entry: { identity: string; record: string; encoder: string },
): Promise<number> {
  const file = join(out, READS);
  await makeFolder(out);
  const lock = await takeLock(`${file}.lock`); // numbers are given one by one
  try {
    const known = existsSync(file) ? unsealLines(await readText(file)) : [];
    const own = known.flatMap((l) =>
      'value' in l && l.value.identity === entry.identity ? [l.value.n] : [],
    );
    const last = own.filter((n) => typeof n === 'number'); // a line that was taken out does not make a reading undone
    const n = 1 + Math.max(own.length, ...last);
    const line: TestRead = { time: new Date().toISOString(), ...entry, n };
    await appendLine(file, sealedLine(line));
    return n;
  } finally {
    await lock.release();
  }
}

/** What is wrong in a folder's list of readings, a line each; none where it has no list. @throws DataError when it cannot be read */
export async function testReadFaults(out: string): Promise<string[]> {
  const file = join(out, READS);
  if (!existsSync(file)) return [];
  const faults: string[] = [];
  const seen = new Map<string, number>();
  for (const line of unsealLines(await readText(file))) {
    if ('fault' in line) {
      faults.push(line.fault);
      continue;
    }
    const { identity, n } = line.value as Partial<TestRead>;
    if (typeof identity !== 'string') {
      faults.push(`line ${line.line} names no test set`);
      continue;
    }
    const before = seen.get(identity) ?? 0;
    if (n !== undefined && n > before + 1)
      faults.push(
        `readings before line ${line.line} are missing: it is number ${n}, ${before} stand above it`,
      );
    if (n !== undefined && n <= before)
      faults.push(`line ${line.line} stands there twice: it is number ${n} again`);
    seen.set(identity, Math.max(before + 1, n ?? 0));
  }
  return faults;
}

/** SHA-256 of a list of indices: names a split in a card. */
export const splitHash = (indices: ArrayLike<number>): string => sha256(Int32Array.from(indices).toString());
