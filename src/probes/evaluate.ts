// One command's evaluations: every encoder under one protocol on the same images, each with a record that nothing replaces.
import { join } from 'node:path';
import { takeLock } from '../base/files/lock.js';
import { isTorn } from '../base/files/torn.js';
import { hashOf } from '../base/hash.js';
import { ordinal } from '../base/text.js';
import type { FrozenEncoder } from '../encoder/frozen.js';
import type { Engine } from '../engine/program.js';
import { UsageError } from '../errors.js';
import { environment } from '../results/environment.js';
import {
  countTestRead,
  type EvaluationRecord,
  findRecord,
  type RecordKey,
  recordFolder,
  recordId,
  splitHash,
  writeRecord,
} from '../results/record.js';
import { cardOf } from './card.js';
import { checkRecord } from './check.js';
import { type Remarks, remark } from './data_notes.js';
import type { EvaluationData } from './dataset.js';
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

/** What all encoders of a command share. */
interface Shared {
  readonly o: EvaluateOptions;
  readonly protocol: LoadedProtocol;
  readonly sets: Sets;
  /** What is said of the sets: looked for once, and only where something is evaluated. */
  remarks(): Promise<Remarks>;
  /** What of the store was computed by this command; see storedParts. */
  readonly renewed: Set<string> | undefined;
}

/** Evaluates every encoder. @throws what its parts throw; a killed evaluation goes on with the same options */
export async function evaluate(o: EvaluateOptions): Promise<Evaluation[]> {
  if (new Set(o.tests).size < o.tests.length) throw new UsageError('a test set is named twice');
  const protocol = await loadProtocol(o.protocol, o.task);
  const done: Evaluation[] = [];
  let specs = o.encoders.map((text) => ({ text, floor: false }));
  let shared: Shared | undefined;
  for (let i = 0; i < specs.length; i++) {
    const { text, floor } = specs[i]!;
    const encoder = await openEncoder(o, text, protocol);
    try {
      if (i === 0 && o.floors) {
        specs = [...specs, ...floorSpecs(text, encoder).map((text) => ({ text, floor: true }))];
      }
      shared ??= await share(o, protocol, encoder);
      done.push({ label: text, floor, ...(await evaluateOne(shared, encoder, text)) });
    } finally {
      await encoder.close();
    }
  }
  return done;
}

async function share(o: EvaluateOptions, protocol: LoadedProtocol, encoder: FrozenEncoder): Promise<Shared> {
  const { watch, force, allowOverlap = false } = o;
  const sets = await openSets(protocol.task, o, encoder, (set) => ({
    fresh: force,
    signal: watch?.signal,
    onProgress: (done, total) => watch?.onStage?.(set, 'digests of files', done, total),
  }));
  await protocol.task.checkFiles?.(sets);
  let found: Promise<Remarks> | undefined;
  return {
    o,
    protocol,
    sets,
    remarks() {
      found ??= remark(allowOverlap, (line) => watch?.onMessage?.(line), protocol.task, sets);
      return found;
    },
    renewed: force ? new Set<string>() : undefined,
  };
}

/** A record with its path; false where a finished one was there. */
type Made = Pick<Evaluation, 'record' | 'file' | 'fresh'>;

/** What one evaluation is, before anything is computed. */
interface Identified {
  readonly card: Record<string, unknown>;
  readonly split: Split;
  readonly key: RecordKey;
  readonly id: string;
}

function identify({ o, protocol, sets }: Shared, encoder: FrozenEncoder): Identified {
  const split = protocol.task.split(sets.train, protocol.settings);
  const card = cardOf(o, protocol, encoder, sets, split);
  const key: RecordKey = {
    task: o.task,
    protocol: hashOf(card),
    weights: encoder.weightsHash,
    train: sets.train.identity,
    tests: sets.tests.map(({ data }) => data.identity),
    seed: o.seed,
    limit: o.limit,
    size: [encoder.size.height, encoder.size.width],
  };
  return { card, split, key, id: recordId(key) };
}

/** The finished record of an evaluation, or a new one, made by the process that holds the lock of its folder. */
async function evaluateOne(shared: Shared, encoder: FrozenEncoder, label: string): Promise<Made> {
  const { o, protocol } = shared;
  const identified = identify(shared, encoder);
  const folder = recordFolder(o.out, identified.id);
  const onMessage = (line: string): void => o.watch?.onMessage?.(line);
  const existing = async (mend?: typeof onMessage): Promise<Made | undefined> => {
    const found = o.force ? undefined : await findRecord(folder, mend);
    if (!found) return undefined;
    await checkRecord(found);
    refuseRecorded(found.record.tests, o.allowOverlap || protocol.task.overlap !== undefined);
    return { ...found, fresh: false };
  };
  // A torn record is made again, by the process that has the lock.
  const found = await existing().catch(async (error) => {
    if (!(await isTorn(error))) throw error;
  });
  if (found) return found;
  const lock = await takeLock(join(folder, LOCK), {
    doing: 'capi eval',
    signal: o.watch?.signal,
    onWait: onMessage,
  });
  try {
    // Another process may have written it meanwhile: the test set is not read again.
    return (await existing(onMessage)) ?? (await compute(shared, encoder, label, identified, folder));
  } finally {
    await lock.release();
  }
}

async function compute(
  { o, protocol, sets, remarks, renewed }: Shared,
  encoder: FrozenEncoder,
  label: string,
  { card, split, key, id }: Identified,
  folder: string,
): Promise<Made> {
  const begin = performance.now();
  const { watch } = o;
  const { notes: ofData, overlaps } = await remarks();
  const ofEncoder = encoder.notes ?? [];
  for (const note of ofEncoder) watch?.onMessage?.(`warning: ${note}`);
  const reads = sets.tests.map(() => 0);
  const tests = sets.tests.map(
    ({ name, data }, i): TestData => ({
      name,
      data,
      async reading() {
        reads[i] = await countTestRead(o.out, { identity: data.identity, record: id, encoder: label });
        watch?.onMessage?.(
          `${label}: test set ${name} is read now, for the ${ordinal(reads[i]!)} time in ${o.out}`,
        );
      },
    }),
  );
  const state = folderState(folder);
  if (o.force) await state.remove();
  const entries = await protocol.task.run({
    engine: o.engine,
    encoder,
    protocol: protocol.settings,
    train: sets.train,
    tests,
    split,
    seed: o.seed,
    store: o.store,
    memory: o.memory,
    state,
    watch: {
      renewed,
      signal: watch?.signal,
      onStage: (stage, done, total) => watch?.onStage?.(label, stage, done, total),
      onMessage: (text) => watch?.onMessage?.(text),
    },
  });
  const record: EvaluationRecord = {
    schema: 2,
    id,
    key: { ...key },
    task: o.task,
    created: new Date().toISOString(),
    seconds: (performance.now() - begin) / 1000,
    encoder: describedEncoder(encoder),
    protocol: { name: protocol.name, hash: key.protocol, card },
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
    seed: o.seed,
    results: entries.results,
    grid: entries.grid,
    classes: entries.classes,
    per_class: entries.perClass,
    predictions: await writePredictions(folder, entries.predictions),
    notes: [...ofEncoder, ...ofData, ...entries.notes],
    environment: environment(o.engine),
  };
  const file = await writeRecord(folder, record);
  await state.remove();
  return { record, file, fresh: true };
}

function describedEncoder(encoder: FrozenEncoder): EvaluationRecord['encoder'] {
  const { name, kind, weightsHash, size, patch, patchWidth, globalWidth, registers } = encoder;
  return {
    name,
    kind,
    weights_hash: weightsHash,
    size: [size.height, size.width],
    patch,
    widths: {
      patches: patchWidth,
      ...(globalWidth === null ? {} : { global: globalWidth }),
      ...(registers ? { registers: registers.width } : {}),
    },
  };
}

const described = ({ source, identity, indices }: EvaluationData): EvaluationRecord['train'] => ({
  source: source.uri,
  identity,
  images: indices.length,
});
