// What an unfinished evaluation keeps beside its future record, so that the same command goes on where it was killed.
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Seal } from '../base/files/seal.js';
import { makeFolder, writeWhole } from '../base/files/write.js';
import { sha256 } from '../base/hash.js';
import { readSafetensors, type StoredTensor } from '../base/safetensors.js';
import { checkSigned, writeSigned } from '../base/signed_tensors.js';
import { DataError } from '../errors.js';

/** Named pieces of bytes or tensors; a piece is there whole or not at all, and refused where it is not what was saved. */
export interface EvaluationState {
  load(name: string): Promise<Uint8Array | undefined>;
  save(name: string, bytes: Uint8Array): Promise<void>;
  loadTensors(name: string): Promise<StateTensors | undefined>;
  saveTensors(name: string, state: StateTensors): Promise<void>;
}

/** Tensors, streamed from their memory, and texts. */
export interface StateTensors {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Name of the folder, in that of the record to come. */
export const STATE_FOLDER = 'state';

/** Bytes of the digest that a piece ends with: of the evaluation, the name of the piece, and its bytes. */
const DIGEST = 32;
const FORMAT = 'capi-state-2';

const digestOf = (of: string, name: string, bytes: Uint8Array): Buffer =>
  Buffer.from(sha256(`${of}/${name}/`, bytes), 'hex');

/** The state of the evaluation in `home`, the folder of its record; one file a piece. */
export function folderState(home: string): EvaluationState & { remove(): Promise<void> } {
  const folder = join(home, STATE_FOLDER);
  const of = basename(home);
  const file = (name: string): string => join(folder, name.replace(/[^\w.+-]+/g, '-'));
  return {
    async load(name) {
      if (!existsSync(file(name))) return undefined;
      return checked(file(name), await readFile(file(name)));
    },
    async save(name, bytes) {
      await makeFolder(folder);
      await writeWhole(file(name), Buffer.concat([bytes, digestOf(of, basename(file(name)), bytes)]));
    },
    async loadTensors(name) {
      if (!existsSync(file(name))) return undefined;
      await checkTensors(file(name));
      return readSafetensors(file(name));
    },
    async saveTensors(name, { tensors, metadata }) {
      await makeFolder(folder);
      await writeSigned(file(name), tensors, { ...metadata, format: FORMAT, of });
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

const remedy = (file: string): string =>
  `remove ${dirname(file)}, and the same command trains these heads anew`;

/** The evaluation that a piece belongs to: the folder around its own. */
const ownerOf = (file: string): string => basename(dirname(dirname(file)));

/** The bytes of a piece without their digest. */
function checked(file: string, bytes: Uint8Array): Uint8Array {
  const rest = bytes.subarray(0, Math.max(0, bytes.length - DIGEST));
  if (digestOf(ownerOf(file), basename(file), rest).equals(bytes.subarray(rest.length))) return rest;
  throw new DataError(
    `${file} is not what this version of capi saved for this evaluation (damaged, of another one, or older): ${remedy(file)}`,
    { path: file, fault: 'changed' },
  );
}

async function checkTensors(file: string): Promise<void> {
  const seal = await checkSigned(file, remedy(file));
  const { metadata } = await readSafetensors(file, { names: [] });
  if (seal === 'intact' && metadata.of === ownerOf(file)) return;
  throw new DataError(`${file} is of another evaluation or an older version: ${remedy(file)}`, {
    path: file,
    fault: 'foreign',
  });
}

/** Checks one piece, whatever it holds. @throws DataError */
export async function checkState(file: string): Promise<Seal> {
  if (file.endsWith('.safetensors')) await checkTensors(file);
  else checked(file, await readFile(file));
  return 'intact';
}
