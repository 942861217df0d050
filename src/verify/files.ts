// What each kind of stored file is checked for: its digest, its place, and that its scores are those of its counts.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { RUNS } from '../ablate/folder.js';
import { readSealed, readText, SEALED_SCHEMA, type Seal, unsealLines } from '../base/files/seal.js';
import { sha256 } from '../base/hash.js';
import { checkSigned } from '../base/signed_tensors.js';
import { readCheckpoint } from '../checkpoint/file.js';
import { adapterFile, checkDigest } from '../encoder/adapter.js';
import { DataError } from '../errors.js';
import { MatrixFile } from '../features/chunks.js';
import { entryOf } from '../features/store.js';
import { METRICS_SEAL, metricsFaults } from '../pretrain/metrics.js';
import { RUN } from '../pretrain/run_folder.js';
import { checkRecord } from '../probes/check.js';
import { checkState, STATE_FOLDER } from '../probes/state.js';
import { CELL, FAILED, readCell, readPictures } from '../results/cell.js';
import { readCounts } from '../results/counts.js';
import { PLAN, readPlan } from '../results/plan.js';
import { READS, readRecord, testReadFaults } from '../results/record.js';
import { checkCell, checkIntervals } from '../scores/counted.js';

/** What a file is, and how it is checked: throws DataError for the first fault, or gives faults that do not end the check. */
interface Kind {
  readonly kind: string;
  readonly name: RegExp;
  check(file: string): Promise<Seal | readonly string[]>;
}

const sealed =
  (owner?: (value: Record<string, unknown>, folder: string) => string | undefined) =>
  async (file: string): Promise<Seal> => {
    const { value, seal } = await readSealed(file, 'restore it, or make it again');
    const own = owner?.(value, basename(dirname(file)));
    if (own !== undefined) throw strange(file, `is of ${own}`);
    return seal;
  };

const strange = (file: string, what: string): DataError =>
  new DataError(`${file} ${what}: remove it, or restore the one that belongs here`, {
    path: file,
    fault: 'foreign',
  });

const another = (name: unknown, folder: string): string | undefined =>
  name === undefined || name === folder ? undefined : String(name);

/** Files of a later schema are read only where their digest is right. */
const sealOf = ({ schema }: { schema: number }): Seal => (schema >= SEALED_SCHEMA ? 'intact' : 'unsealed');

async function record(file: string): Promise<Seal> {
  const read = await readRecord(file);
  const { counted } = await checkRecord({ file, record: read });
  const seal = sealOf(read);
  if (seal === 'intact') checkIntervals(file, read, counted);
  return seal;
}

async function cell(file: string): Promise<Seal> {
  const read = await readCell(file);
  const folder = dirname(file);
  if (read.counts) {
    const counts = await readCounts(folder, read.counts);
    checkCell(file, read, counts);
  }
  await readPictures(folder, read);
  return sealOf(read);
}

/** A file whose name ends with the first digits of its SHA-256. */
async function named(file: string): Promise<Seal> {
  const digits = /-([0-9a-f]{12})\./.exec(basename(file))![1]!;
  if (!sha256(await readFile(file)).startsWith(digits)) {
    throw new DataError(
      `${file} is not what its name says (its SHA-256 begins otherwise): evaluate again with --force`,
      {
        path: file,
        fault: 'changed',
      },
    );
  }
  return 'intact';
}

async function matrix(file: string): Promise<Seal> {
  const entry = basename(dirname(file));
  const remedy = `capi data cache --prune ${entry}`;
  const open = async () => {
    try {
      return await MatrixFile.open(file, 'float32', remedy);
    } catch (error) {
      if (!/ holds uint8/.test((error as Error).message)) throw error;
      return MatrixFile.open(file, 'uint8', remedy);
    }
  };
  const read = await open();
  try {
    await read.verify();
    const { entry: own, part } = read.meta;
    if (another(own, entry)) throw strange(file, `is of the entry ${own}`);
    if (another(part, basename(file, '.mat'))) throw strange(file, `is the part ${part}`);
    return own === undefined ? 'unsealed' : 'intact';
  } finally {
    await read.close();
  }
}

async function lines(file: string): Promise<Seal | string[]> {
  const all = unsealLines(await readText(file));
  const faults = all.flatMap((line) => ('fault' in line ? [line.fault] : []));
  if (faults.length > 0) return faults;
  return all.some((line) => 'seal' in line && line.seal === 'unsealed') ? 'unsealed' : 'intact';
}

/** A model with its adapter, of capi export or of others. */
async function model(file: string): Promise<Seal> {
  const adapter = adapterFile(file);
  return existsSync(adapter) ? checkDigest(adapter, file) : 'unsealed';
}

const KINDS: readonly Kind[] = [
  { kind: 'record', name: /^record(-\d+)?\.json$/, check: record },
  { kind: 'cell', name: exactly(CELL), check: cell },
  {
    kind: 'plan',
    name: exactly(PLAN),
    check: async (file) => sealOf(await readPlan(dirname(file))),
  },
  { kind: 'note', name: exactly(FAILED), check: sealed(({ id }, folder) => another(id, folder)) },
  { kind: 'outcome', name: /^outcome\.json$/, check: sealed(({ run }, folder) => another(run, folder)) },
  { kind: 'runs', name: exactly(RUNS), check: sealed() },
  { kind: 'identity', name: exactly(RUN.identity), check: sealed() },
  { kind: 'environment', name: exactly(RUN.environment), check: sealed() },
  { kind: 'entry', name: /^entry\.json$/, check: sealed((value, folder) => another(entryOf(value), folder)) },
  { kind: 'features', name: /\.mat$/, check: matrix },
  {
    kind: 'checkpoint',
    name: /^step-\d{8,}\.safetensors$/,
    check: async (file) => {
      await readCheckpoint(file, { only: () => false });
      return 'intact';
    },
  },
  { kind: 'predictions', name: /^predictions-[0-9a-f]{12}\.safetensors$/, check: named },
  { kind: 'counts', name: /^counts-[0-9a-f]{12}\.json\.gz$/, check: named },
  {
    kind: 'readings',
    name: exactly(READS),
    check: async (file) => {
      const faults = await testReadFaults(dirname(file));
      return faults.length > 0 ? faults : lines(file);
    },
  },
  { kind: 'evaluations', name: /^evals\.jsonl$/, check: lines },
  {
    kind: 'metrics',
    name: exactly(RUN.metrics),
    check: async (file) => {
      const { faults, seal } = await metricsFaults(dirname(file));
      return faults.length > 0 ? faults : seal;
    },
  },
  {
    kind: 'metrics digests',
    name: exactly(METRICS_SEAL),
    check: async (file) => {
      if (!existsSync(join(dirname(file), RUN.metrics)))
        throw new DataError(`${join(dirname(file), RUN.metrics)} is missing: restore it`, {
          fault: 'missing',
        });
      return (await readSealed(file)).seal;
    },
  },
  { kind: 'weights', name: /\.safetensors$/, check: (file) => checkSigned(file) },
  { kind: 'model', name: /\.onnx$/, check: model },
];

function exactly(name: string): RegExp {
  return new RegExp(`^${name.replaceAll('.', '\\.')}$`);
}

/** How a file was found. `other`: of no kind that is checked. */
export interface Found {
  readonly file: string;
  readonly kind: string;
  readonly state: Seal | 'torn' | 'changed' | 'foreign' | 'missing' | 'other';
  /** One line for each fault. */
  readonly faults: readonly string[];
}

/** Checks one plain file. Throws what is no fault of the file. */
export async function checkFile(file: string): Promise<Found> {
  const inState = basename(dirname(file)) === STATE_FOLDER && !existsSync(join(dirname(file), RUN.identity));
  const kind = inState
    ? { kind: 'unfinished heads', check: checkState }
    : KINDS.find(({ name }) => name.test(basename(file)));
  if (!kind) return { file, kind: 'other', state: 'other', faults: [] };
  try {
    const found = await kind.check(file);
    if (typeof found === 'string') return { file, kind: kind.kind, state: found, faults: [] };
    return { file, kind: kind.kind, state: 'changed', faults: found.map((what) => `${file}: ${what}`) };
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    return { file, kind: kind.kind, state: stateOf(error), faults: [error.message] };
  }
}

function stateOf({ details, message }: DataError): Found['state'] {
  const { fault } = details;
  if (fault === 'torn' || fault === 'changed' || fault === 'foreign' || fault === 'missing') return fault;
  if (fault === 'ENOENT' || /ENOENT/.test(message)) return 'missing';
  return 'changed';
}
