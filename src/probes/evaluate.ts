// One command's evaluations: every encoder under one protocol on the same images, each with a record that nothing replaces.
import { join } from 'node:path';
import type { DigestOptions } from '../base/files/digests.js';
import { takeLock } from '../base/files/lock.js';
import { isTorn } from '../base/files/torn.js';
import { hashOf } from '../base/hash.js';
import type { FrozenEncoder } from '../encoder/frozen.js';
import { openFrozen } from '../encoder/open_frozen.js';
import type { Engine } from '../engine/program.js';
import { UsageError } from '../errors.js';
import { comparePalettes, drawnSize, type ImageSource, openSource } from '../images/index.js';
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
import { splitImages } from './cls/batches.js';
import { classify, type TestData } from './cls/classify.js';
import { classNames, trainLabels } from './cls/labels.js';
import { type Remarks, remark } from './data_notes.js';
import { chooseData, type EvaluationData } from './dataset.js';
import { classificationEntries, type Entries } from './entries.js';
import { floorSpecs } from './floors.js';
import { refuseRecorded, refuseSameImages } from './overlap_notes.js';
import { writePredictions } from './predictions.js';
import { loadProtocol, type Protocol, type ProtocolSection } from './protocol.js';
import { segmentationEntries } from './seg/entries.js';
import { refuseOtherLabels } from './seg/label_space.js';
import { segmentEncoder } from './seg/segment.js';
import { folderState } from './state.js';

export type Task = 'cls' | 'seg';
export const SECTION = { cls: 'classification', seg: 'segmentation' } as const;

/** Held by the process that evaluates, in the folder of the record. */
const LOCK = 'evaluation.lock';

/** Images of one call of an encoder. */
const BATCH = 32;

export interface EvaluateOptions {
  readonly task: Task;
  readonly engine: Engine;
  /** Encoders as openFrozen takes them. */
  readonly encoders: readonly string[];
  readonly train: string;
  readonly tests: readonly string[];
  /** Name or file. */
  readonly protocol: string;
  readonly weights: 'ema' | 'student';
  /** Add encoders that learned nothing, of the first encoder's form. */
  readonly floors: boolean;
  /** Bytes that features may take at once. */
  readonly memory: number;
  /** Images of each set at most, spread evenly. */
  readonly limit: number | null;
  readonly seed: number;
  /** Folder of the records. */
  readonly out: string;
  /** Folder of the feature store. */
  readonly store: string;
  /** Evaluate again where a record exists. */
  readonly force: boolean;
  /** Evaluate although test images are among the training images. */
  readonly allowOverlap?: boolean;
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
  const protocol = loadProtocol(o.protocol, SECTION[o.task]);
  const done: Evaluation[] = [];
  let specs = o.encoders.map((text) => ({ text, floor: false }));
  let sets: Sets | undefined;
  const renewed = o.force ? new Set<string>() : undefined; // what of the store was computed by this command
  let remarks: Promise<Remarks> | undefined; // looked for once, and only where something is evaluated
  const remarksOf = (of: Sets): Promise<Remarks> => {
    remarks ??= remark(o, of);
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
        sets = await openSets(o, encoder, reading(o));
        if (o.task === 'seg') await comparePalettes([sets.train, ...sets.tests.map(({ data }) => data)]);
      }
      const made = await evaluateOne(o, protocol, encoder, text, sets, remarksOf, renewed);
      done.push({ label: text, floor, ...made });
    } finally {
      await encoder.close();
    }
  }
  return done;
}

/** Opens an encoder at the size of the protocol. */
export function openEncoder(
  o: Pick<EvaluateOptions, 'engine' | 'weights'>,
  text: string,
  protocol: Protocol<ProtocolSection>,
): Promise<FrozenEncoder> {
  const side = protocol.settings.transform.image_size;
  return openFrozen(text, {
    engine: o.engine,
    batch: BATCH,
    weights: o.weights,
    ...(side === null ? {} : { size: { height: side, width: side } }),
  });
}

/** The images of a command: the same for all encoders, generated ones at the first one's size. */
export interface Sets {
  readonly train: EvaluationData;
  readonly tests: readonly { name: string; data: EvaluationData }[];
}

/** Opens them. @throws DataError where they do not go together: the same images, or label maps that mean other classes */
export async function openSets(
  o: Pick<EvaluateOptions, 'task' | 'train' | 'tests' | 'limit' | 'allowOverlap'>,
  encoder: Pick<FrozenEncoder, 'size'>,
  reading: (set: string) => DigestOptions = () => ({}),
): Promise<Sets> {
  const open = async (uri: string, split: 'train' | 'test'): Promise<EvaluationData> => {
    const size = drawnSize(encoder.size.height);
    const source = await openSource(uri, { split, whole: true, size });
    return chooseData(source, o.limit, reading(uri));
  };
  const tests = [];
  for (const uri of o.tests) tests.push({ name: uri, data: await open(uri, 'test') });
  const sets = { train: await open(o.train, 'train'), tests };
  refuseSameImages(sets, o.allowOverlap ?? false);
  if (o.task === 'seg') refuseOtherLabels(sets);
  return sets;
}

/** How the files of a set are read for their digest. */
const reading =
  ({ force, watch }: EvaluateOptions) =>
  (set: string): DigestOptions => ({
    fresh: force,
    signal: watch?.signal,
    onProgress: (done, total) => watch?.onStage?.(set, 'digests of files', done, total),
  });

/** Places of the training images: those with a label are split. */
export function splitOf(
  task: Task,
  { train }: Pick<Sets, 'train'>,
  settings: { validation_share: number; split_seed: number },
): { train: Int32Array; validation: Int32Array } {
  const places = Int32Array.from(train.indices.keys());
  const labels = task === 'cls' ? trainLabels(train) : [];
  const usable = task === 'cls' ? places.filter((i) => (labels[i] as number[]).length > 0) : places;
  const split = splitImages(usable.length, settings.validation_share, settings.split_seed);
  const at = (chosen: Int32Array): Int32Array => chosen.map((i) => usable[i]!);
  return { train: at(split.train), validation: at(split.validation) };
}

async function evaluateOne(
  o: EvaluateOptions,
  protocol: Protocol<ProtocolSection>,
  encoder: FrozenEncoder,
  label: string,
  sets: Sets,
  remarksOf: (sets: Sets) => Promise<Remarks>,
  renewed: Set<string> | undefined,
): Promise<{ record: EvaluationRecord; file: string; fresh: boolean }> {
  const { task, seed } = o;
  const { settings } = protocol;
  const split = splitOf(task, sets, settings);
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
  if (found) return checked(o, found);
  const lock = await takeLock(join(folder, LOCK), {
    doing: 'capi eval',
    ...(o.watch?.signal ? { signal: o.watch.signal } : {}),
    onWait: (line) => o.watch?.onMessage?.(line),
  });
  try {
    // Another process may have written it meanwhile: the test set is not read again.
    const made = o.force ? undefined : await findRecord(folder, (line) => o.watch?.onMessage?.(line));
    if (made) return checked(o, made);
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

async function checked(o: EvaluateOptions, found: Found): Promise<Found & { fresh: false }> {
  await checkRecord(found);
  refuseRecorded(found.record.tests, o.allowOverlap ?? false);
  return { ...found, fresh: false };
}

/** What one evaluation is, before anything is computed. */
interface Found {
  readonly record: EvaluationRecord;
  readonly file: string;
}

interface Identified {
  readonly card: Record<string, unknown>;
  readonly split: { train: Int32Array; validation: Int32Array };
  readonly size: [number, number];
  readonly id: string;
  readonly key: RecordKey;
  readonly folder: string;
  /** See storedParts. */
  readonly renewed: Set<string> | undefined;
}

async function evaluateHeld(
  o: EvaluateOptions,
  protocol: Protocol<ProtocolSection>,
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
  const shared = {
    engine,
    encoder,
    train: sets.train,
    tests,
    split,
    seed,
    store: o.store,
    memory: o.memory,
    state,
    watch,
  };
  let entries: Entries;
  if ('sources' in settings) {
    const outcomes = await classify({ ...shared, protocol: settings });
    entries = classificationEntries(outcomes, tests, classNames(sets.train.source));
  } else {
    const outcomes = await segmentEncoder({ ...shared, protocol: settings });
    entries = segmentationEntries(outcomes, tests, sets.train.source, size[0] * size[1]);
  }

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
      seed: settings.split_seed,
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
