// Runs a record's commands again in a new folder, and judges what comes out by the record's own intervals.

import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { StoredRuns } from '../ablate/folder.js';
import { evaluateStage, pretrainStage, type Watch } from '../ablate/stages.js';
import { checkWritable } from '../base/files/writable.js';
import { makeFolder } from '../base/files/write.js';
import { parseConfig } from '../config/index.js';
import type { Mapping } from '../config/keys.js';
import { openEngine } from '../engine/select.js';
import { DataError, UsageError } from '../errors.js';
import { defaultStoreFolder } from '../features/store.js';
import { checkRecord } from '../probes/check.js';
import { evaluate } from '../probes/evaluate.js';
import { sameScore, type TaskName } from '../probes/tasks.js';
import { recordedInterval } from '../results/bounds.js';
import { CELL, type CellRecord, findCell, readCell } from '../results/cell.js';
import { readCounts } from '../results/counts.js';
import { type EvaluationRecord, type Result, readRecord } from '../results/record.js';
import { checkCell } from '../scores/counted.js';
import { checkImages, checkProtocol } from './unchanged.js';

export interface ReproduceOptions extends Watch {
  /** Path of the record. */
  readonly record: string;
  /** New folder; by default runs/reproduce-ID. */
  readonly out?: string | undefined;
}

export interface Reproduced {
  readonly record: string;
  readonly out: string;
  readonly reproduced: boolean;
  /** Why the record cannot be called reproduced. */
  readonly faults: readonly string[];
  readonly scores: readonly Judged[];
}

/** One score of the record beside the new one. */
export interface Judged {
  task: TaskName;
  source: string;
  head: string;
  metric: string;
  convention: string;
  test: string;
  /** null for a score over nothing. */
  recorded: number | null;
  /** null where the new evaluation has no such score. */
  again: number | null;
  /** Half the width of the recorded 95 % interval over test images, above 0 for a score of 0 or 1 too (results/bounds.ts). */
  tolerance: number | null;
  verdict: 'equal' | 'within' | 'outside' | 'not judged';
}

/** Runs again and compares. @throws UsageError, DataError, InterruptedError */
export async function reproduce(o: ReproduceOptions): Promise<Reproduced> {
  if (!existsSync(o.record))
    throw new UsageError(
      `no record ${o.record}; accepted: a cell.json of capi ablate, or a record.json of capi eval`,
    );
  const isCell = basename(o.record) === CELL;
  const record = isCell ? await readCell(o.record) : await readRecord(o.record);
  await checkScoresOf(o.record, record);
  const names = [record.id, ...('run' in record ? [record.run.id] : [])];
  const path = names.find((name) => !/^\w[^/\\]*$/.test(name));
  if (path !== undefined)
    throw new DataError(
      `${o.record}: ${JSON.stringify(path)} names a run or evaluation and is no plain name`,
    );
  const out = o.out ?? `runs/reproduce-${record.id}`;
  if (existsSync(out) && readdirSync(out).length > 0 && !existsSync(join(out, isCell ? 'runs' : record.id))) {
    throw new UsageError(`${out} holds other files: choose another folder with --out`);
  }
  await checkWritable(out);
  const again = isCell
    ? await cellAgain(record as CellRecord, out, o)
    : await evaluationAgain(record as EvaluationRecord, out, o);
  const judged = record.results.map((r) => judge(r, again.results));
  const faults = faultsOf(record, again, judged);
  return { record: o.record, out, reproduced: faults.length === 0, faults, scores: judged };
}

/** Compares the scores of a record with the counts or predictions beside it, where they are there. @throws DataError */
async function checkScoresOf(file: string, record: CellRecord | EvaluationRecord): Promise<void> {
  const folder = dirname(file);
  if ('predictions' in record) {
    if (existsSync(join(folder, record.predictions.file))) await checkRecord({ file, record });
  } else if (record.counts && existsSync(join(folder, record.counts.file))) {
    checkCell(file, record, await readCounts(folder, record.counts));
  }
}

type AnyRecord = CellRecord | EvaluationRecord;

/** Why a record cannot be called reproduced: none where it can. A record of a run that diverged has no scores to judge, only that. */
function faultsOf(record: AnyRecord, again: AnyRecord, judged: readonly Judged[]): string[] {
  const faults: string[] = [];
  const [before, now] = [record, again].map((r) => ('run' in r ? r.run.state : 'done'));
  if (before !== now) faults.push(`the run was ${before} and is ${now} now`);
  const outside = judged.filter(({ verdict }) => verdict === 'outside').length;
  if (outside > 0) faults.push(`${outside} of ${judged.length} scores lie outside of their tolerance`);
  const met = judged.some(({ verdict }) => verdict !== 'not judged');
  if (!met && before !== 'diverged') faults.push('the record has no score that can be judged');
  return faults;
}

async function cellAgain(record: CellRecord, out: string, o: ReproduceOptions): Promise<CellRecord> {
  const config = parseConfig(record.config as Mapping, 'the record');
  const { request, task, evaluation, seed, probe_seed: probeSeed } = record;
  const run = { id: record.run.id, arm: 0, seed, config };
  const cell = {
    id: record.id,
    ...(record.key ? { key: record.key } : {}),
    run: run.id,
    arm: 0,
    seed,
    probeSeed,
    evaluation: { ...request, name: evaluation, task, allow_overlap: true },
  };
  const stored: StoredRuns = {
    early_stop: record.run.state !== 'done',
    base: 'a record',
    set: {},
    arms: [record.settings],
    runs: [run],
    cells: [cell],
  };
  await makeFolder(out);
  await pretrainStage(out, run, stored, o);
  if (!(await findCell(out, record.id))) await evaluateStage(out, run, cell, stored, o);
  return (await findCell(out, record.id))!;
}

async function evaluationAgain(
  record: EvaluationRecord,
  out: string,
  { signal, onMessage }: ReproduceOptions,
): Promise<EvaluationRecord> {
  const made = record.environment as { threads?: number | null };
  const { engine: kind, extractor } = record.protocol.card as Record<
    'engine' | 'extractor',
    { name: string; device: string } | undefined
  >;
  await checkProtocol(record);
  for (const note of await checkImages(record.train, record.tests)) onMessage(`warning: ${note}`);
  const mixed = extractor && kind!.name !== 'onnx'; // auto finds the two again
  const engine = await openEngine({
    name: mixed ? 'auto' : (kind!.name as 'onnx'),
    device: (extractor ?? kind!).device as 'cpu',
    purpose: 'evaluate',
    threads: made.threads ?? null,
  });
  const [done] = await evaluate({
    task: record.task,
    engine,
    encoders: [record.encoder.name],
    train: record.train.source,
    tests: record.tests.map(({ source }) => source),
    protocol: record.protocol.name,
    weights: 'ema',
    floors: false,
    memory: 4e9,
    limit: (record.protocol.card.limit as number | null) ?? null,
    seed: record.seed,
    out,
    store: defaultStoreFolder(),
    force: false,
    allowOverlap: true, // what the record was made of is made again; its notes say so
    watch: { signal, onMessage },
  });
  if (done!.record.encoder.weights_hash !== record.encoder.weights_hash) {
    throw new UsageError(
      `${record.encoder.name} is another encoder now than the record's: its weights differ`,
    );
  }
  return done!.record;
}

/** Rounding of another machine's libraries stays below this. */
const EQUAL = 1e-9;

function judge(r: Result, again: readonly Result[]): Judged {
  const same = again.find((o) => o.test === r.test && sameScore(o, r));
  const value = same?.value ?? null;
  const interval = recordedInterval(r);
  const tolerance = interval && interval.high > interval.low ? (interval.high - interval.low) / 2 : null;
  const { task, source, head, metric, convention, test } = r;
  const base = {
    task,
    source,
    head,
    metric,
    convention,
    test,
    recorded: r.value,
    again: value,
    tolerance,
  };
  if (r.value === null || value === null)
    return { ...base, verdict: r.value === value ? 'not judged' : 'outside' };
  const away = Math.abs(value - r.value);
  if (away < EQUAL) return { ...base, verdict: 'equal' };
  if (tolerance === null) return { ...base, verdict: 'not judged' };
  return { ...base, verdict: away <= tolerance ? 'within' : 'outside' };
}
