// One command's evaluations: every encoder under one protocol on the same images, each with a record that nothing replaces.
import { join } from 'node:path';
import type { DigestOptions } from '../base/files/digests.js';
import { takeLock } from '../base/files/lock.js';
import { isTorn } from '../base/files/torn.js';
import { hashOf } from '../base/hash.js';
import type { FrozenEncoder } from '../encoder/frozen.js';
import type { Engine } from '../engine/program.js';
import { UsageError } from '../errors.js';
import type { ImageSource } from '../images/index.js';
import { environment } from '../results/environment.js';
import {
  countTestRead,
  type EvaluationRecord,
  findRecord,
  type RecordKey,
  type Result,
  recordFolder,
  recordId,
  splitHash,
  writeRecord,
} from '../results/record.js';
import { cardOf } from './card.js';
import { checkRecord } from './check.js';
import { type Remarks, remark } from './data_notes.js';
import { floorSpecs } from './floors.js';
import { refuseRecorded } from './overlap_notes.js';
import { writePredictions } from './predictions.js';
import { type LoadedProtocol, loadProtocol } from './protocol.js';
import { openEncoder, openSets, type SetsRequest } from './sets.js';
import { folderState } from './state.js';
import type { Sets, Split, TestData } from './task.js';
import type { TaskName } from './tasks.js';

/** Held by the process that evaluates, in the folder of the record. */
const LOCK = 'evaluation.lock';

export interface EvaluateOptions extends SetsRequest {
  readonly task: TaskName;
  readonly engine: Engine;
  /** Encoders as openFrozen takes them. */
  readonly encoders: readonly string[];
  /** Name or file. */
  readonly protocol: string;
  readonly weights: 'ema' | 'student';
  /** Add encoders that learned nothing, of the first encoder's form. */
  readonly floors: boolean;
  /** Bytes that features may take at once. */
  readonly memory: number;
  readonly seed: number;
  /** Folder of the records. */
  readonly out: string;
  /** Folder of the feature store. */
  readonly store: string;
  /** Evaluate again where a record exists. */
  readonly force: boolean;
  readonly watch?: EvaluationWatch;
}

/** What callers hear of and can stop. */
export interface EvaluationWatch {
  readonly onStage?: (encoder: string, stage: string, done: number, total: number) => void;
  readonly onMessage?: (text: string) => void;
  readonly signal?: AbortSignal;
}

/** One encoder's evaluation, new or found. */
export interface Evaluation {
  /** As the user named it, or the floor's spec. */
  readonly label: string;
  readonly floor: boolean;
  readonly record: EvaluationRecord;
  readonly file: string;
  /** False where a finished record was there. */
  readonly fresh: boolean;
}

/** Evaluates every encoder. @throws what its parts throw; a killed evaluation goes on with the same options */
export async function evaluate(o: EvaluateOptions): Promise<Evaluation[]> {
  if (new Set(o.tests).size < o.tests.length) throw new UsageError('a test set is named twice');
  const protocol = await loadProtocol(o.protocol, o.task);
  const done: Evaluation[] = [];
  let specs = o.encoders.map((text) => ({ text, floor: false }));
  let sets: Sets | undefined;
  const renewed = o.force ? new Set<string>() : undefined; // what of the store was computed by this command
  let remarks: Promise<Remarks> | undefined; // looked for once, and only where something is evaluated
  const remarksOf = (of: Sets): Promise<Remarks> => {
    remarks ??= remark(o.allowOverlap ?? false, (line) => o.watch?.onMessage?.(line), protocol.task, of);
    return remarks;
  };
  for (let i = 0; i < specs.length; i++) {
    const { text, floor } = specs[i]!;
    const encoder = await openEncoder(o, text, protocol);
    try {
      if (i === 0 && o.floors) {
        specs = [...specs, ...floorSpecs(text, encoder).map((text) => ({ text, floor: true }))];
      }
      if (!sets) {
        sets = await openSets(protocol.task, o, encoder, reading(o));
        await protocol.task.checkFiles?.(sets);
      }
      const made = await evaluateOne(o, protocol, encoder, text, sets, remarksOf, renewed);
      done.push({ label: text, floor, ...made });
    } finally {
      await encoder.close();
    }
  }
  return done;
}

/** How the files of a set are read for their digest. */
const reading =
  ({ force, watch }: EvaluateOptions) =>
  (set: string): DigestOptions => ({
    fresh: force,
    signal: watch?.signal,
    onProgress: (done, total) => watch?.onStage?.(set, 'digests of files', done, total),
  });

async function evaluateOne(
  o: EvaluateOptions,
  protocol: LoadedProtocol,
  encoder: FrozenEncoder,
  label: string,
  sets: Sets,
  remarksOf: (sets: Sets) => Promise<Remarks>,
  renewed: Set<string> | undefined,
): Promise<{ record: EvaluationRecord; file: string; fresh: boolean }> {
  const { task, seed } = o;
  const split = protocol.task.split(sets.train, protocol.settings);
  const card = cardOf(o, protocol, encoder, sets, split);
  const size: [number, number] = [encoder.size.height, encoder.size.width];
  const key: RecordKey = {
    task,
    protocol: hashOf(card),
    weights: encoder.weightsHash,
    train: sets.train.identity,
    tests: sets.tests.map(({ data }) => data.identity),
    seed,
    limit: o.limit,
    size,
  };
  const id = recordId(key);
  const folder = recordFolder(o.out, id);
  const found = o.force ? undefined : await findRecord(folder).catch(unlessTorn);
  if (found) return checked(o, protocol, found);
  const lock = await takeLock(join(folder, LOCK), {
    doing: 'capi eval',
    ...(o.watch?.signal ? { signal: o.watch.signal } : {}),
    onWait: (line) => o.watch?.onMessage?.(line),
  });
  try {
    // Another process may have written it meanwhile: the test set is not read again.
    const made = o.force ? undefined : await findRecord(folder, (line) => o.watch?.onMessage?.(line));
    if (made) return checked(o, protocol, made);
    return await evaluateHeld(o, protocol, encoder, label, sets, remarksOf, {
      card,
      split,
      size,
      id,
      key,
      folder,
      renewed,
    });
  } finally {
    await lock.release();
  }
}

/** A torn record is made again, by the process that has the lock. */
async function unlessTorn(error: unknown): Promise<undefined> {
  if (!(await isTorn(error))) throw error;
}

async function checked(
  o: EvaluateOptions,
  { task }: LoadedProtocol,
  found: Found,
): Promise<Found & { fresh: false }> {
  await checkRecord(found);
  refuseRecorded(found.record.tests, o.allowOverlap || task.overlap !== undefined);
  return { ...found, fresh: false };
}

/** What one evaluation is, before anything is computed. */
interface Found {
  readonly record: EvaluationRecord;
  readonly file: string;
}

interface Identified {
  readonly card: Record<string, unknown>;
  readonly split: Split;
  readonly size: [number, number];
  readonly id: string;
  readonly key: RecordKey;
  readonly folder: string;
  /** See storedParts. */
  readonly renewed: Set<string> | undefined;
}

async function evaluateHeld(
  o: EvaluateOptions,
  protocol: LoadedProtocol,
  encoder: FrozenEncoder,
  label: string,
  sets: Sets,
  remarksOf: (sets: Sets) => Promise<Remarks>,
  { card, split, size, id, key, folder, renewed }: Identified,
): Promise<{ record: EvaluationRecord; file: string; fresh: boolean }> {
  const { task, engine, seed } = o;
  const { settings } = protocol;
  const begin = performance.now();
  const { notes: ofData, overlaps } = await remarksOf(sets);
  const ofEncoder = encoder.notes ?? [];
  for (const note of ofEncoder) o.watch?.onMessage?.(`warning: ${note}`);
  const notes = [...ofEncoder, ...ofData];
  const reads = sets.tests.map(() => 0);
  const tests = sets.tests.map(
    ({ name, data }, i): TestData => ({
      name,
      data,
      async reading() {
        reads[i] = await countTestRead(o.out, { identity: data.identity, record: id, encoder: label });
        o.watch?.onMessage?.(
          `${label}: test set ${name} is read now, for the ${ordinal(reads[i]!)} time in ${o.out}`,
        );
      },
    }),
  );
  const state = folderState(folder);
  if (o.force) await state.remove();
  const watch = {
    ...(renewed ? { renewed } : {}),
    ...(o.watch?.signal ? { signal: o.watch.signal } : {}),
    onStage: (stage: string, done: number, total: number) => o.watch?.onStage?.(label, stage, done, total),
    onMessage: (text: string) => o.watch?.onMessage?.(text),
  };
  const entries = await protocol.task.run({
    engine,
    encoder,
    protocol: settings,
    train: sets.train,
    tests,
    split,
    seed,
    store: o.store,
    memory: o.memory,
    state,
    watch,
  });
  const predictions = await writePredictions(folder, entries.predictions);
  const record: EvaluationRecord = {
    schema: 2,
    id,
    key: { ...key },
    task,
    created: new Date().toISOString(),
    seconds: (performance.now() - begin) / 1000,
    encoder: {
      name: encoder.name,
      kind: encoder.kind,
      weights_hash: encoder.weightsHash,
      size,
      patch: encoder.patch,
      widths: widthsOf(encoder),
    },
    protocol: { name: protocol.name, hash: hashOf(card), card },
    train: described(sets.train),
    tests: sets.tests.map(({ data }, i) => ({
      ...described(data),
      reads: reads[i]!,
      overlap: overlaps[i]!,
      ...(entries.notCounted ? { not_counted: entries.notCounted[i]! } : {}),
    })),
    split: {
      hash: splitHash(split.train),
      train: split.train.length,
      validation: split.validation.length,
      seed: split.seed,
    },
    seed,
    results: entries.results.map((r): Result => ({ ...r, task })),
    grid: entries.grid,
    classes: entries.classes,
    per_class: entries.perClass,
    predictions,
    notes: [...notes, ...entries.notes],
    environment: environment(engine),
  };
  const file = await writeRecord(folder, record);
  await state.remove();
  return { record, file, fresh: true };
}

function widthsOf(encoder: FrozenEncoder): Record<string, number> {
  const { patchWidth, globalWidth, registers } = encoder;
  return {
    patches: patchWidth,
    ...(globalWidth === null ? {} : { global: globalWidth }),
    ...(registers ? { registers: registers.width } : {}),
  };
}

const described = ({
  source,
  identity,
  indices,
}: {
  source: ImageSource;
  identity: string;
  indices: Int32Array;
}) => ({
  source: source.uri,
  identity,
  images: indices.length,
});

function ordinal(n: number): string {
  const ends = n % 100 >= 11 && n % 100 <= 13 ? 'th' : (['th', 'st', 'nd', 'rd'][n % 10] ?? 'th');
  return `${n}${ends}`;
}
