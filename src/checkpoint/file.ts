// One checkpoint file: all state of a run as safetensors, written atomically, with a checksum over every byte.
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { canonicalJson } from '../base/hash.js';
import { layoutSafetensors, SafetensorsReader, type StoredTensor, writeLayout } from '../base/safetensors.js';
import { DataError } from '../errors.js';
import { checkpointPath, previousCheckpoint, pruneCheckpoints } from './folder.js';

/** What a checkpoint holds: named tensors and whatever else the run needs to go on, as plain JSON values. */
export interface CheckpointState {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly meta: Readonly<Record<string, unknown>>;
}

const FORMAT = 'capi-checkpoint-1';
const UNSET = '0'.repeat(64); // stands in the header for the checksum while it is computed

/**
 * Writes the state after `step` steps to `folder/step-XXXXXXXX.safetensors` and then removes all but the newest `keep` checkpoints.
 * The bytes depend on step, tensors and meta only. The file appears whole or not at all; tensors are streamed from their memory,
 * which must not change until the promise settles. Returns the path and its size in bytes.
 * Throws DataError when the disk is full or the folder cannot be written; older checkpoints then stay as they are.
 */
export async function writeCheckpoint(
  folder: string,
  step: number,
  state: CheckpointState,
  keep: number,
): Promise<{ path: string; bytes: number }> {
  if (!Number.isInteger(keep) || keep < 1) throw new RangeError(`keep is at least 1, not ${keep}`);
  const path = checkpointPath(folder, step);
  const metadata = { format: FORMAT, meta: canonicalJson(state.meta), step: String(step), sha256: UNSET };
  const unsigned = layoutSafetensors(state.tensors, metadata);
  const hash = createHash('sha256').update(unsigned.header);
  for (const part of unsigned.parts) hash.update(part);
  const layout = layoutSafetensors(state.tensors, { ...metadata, sha256: hash.digest('hex') });
  const bytes = await writeLayout(path, layout);
  await pruneCheckpoints(folder, keep, path);
  return { path, bytes };
}

/** A checkpoint read back. */
export interface Checkpoint {
  readonly path: string;
  readonly step: number;
  readonly tensors: Map<string, StoredTensor>;
  readonly meta: Record<string, unknown>;
}

/**
 * Reads a checkpoint and checks every byte of it; `only` chooses the tensors that are kept in memory (all by default).
 * Throws DataError, which names the file and the older checkpoint to go back to, when it is damaged, truncated or of another kind.
 */
export async function readCheckpoint(
  path: string,
  options: { only?: (name: string) => boolean } = {},
): Promise<Checkpoint> {
  try {
    const reader = await SafetensorsReader.open(path);
    try {
      return await readVerified(reader, options.only ?? (() => true));
    } finally {
      await reader.close();
    }
  } catch (error) {
    const fault = error instanceof DataError ? error.details.fault : undefined;
    if (typeof fault !== 'string') throw error;
    throw new DataError(`${path} ${fault}. ${await wayBack(path)}`, { path, fault });
  }
}

async function readVerified(reader: SafetensorsReader, only: (name: string) => boolean): Promise<Checkpoint> {
  const { path, metadata } = reader;
  const { format, meta, step, sha256 } = metadata;
  if (format !== FORMAT || meta === undefined || step === undefined || sha256 === undefined) {
    throw faulty(
      path,
      `is not a checkpoint of this version of capi: its format is ${format ?? 'not stated'}`,
    );
  }
  const hash = createHash('sha256').update(withoutChecksum(reader.header, sha256));
  const tensors = new Map<string, StoredTensor>();
  for (const name of reader.names()) {
    const tensor = await reader.read(name);
    hash.update(tensor.data);
    if (only(name)) tensors.set(name, tensor);
  }
  if (hash.digest('hex') !== sha256)
    throw faulty(path, 'is damaged: its content does not match its checksum');
  const parsed = metaOf(meta);
  if (!parsed || !/^\d{1,15}$/.test(step)) {
    throw faulty(path, 'is damaged: what it says of its run is no JSON object, or its step no number');
  }
  return { path, step: Number(step), tensors, meta: parsed };
}

function metaOf(text: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The header as it was when the checksum was computed. */
function withoutChecksum(header: Uint8Array, sha256: string): Buffer {
  const copy = Buffer.from(header);
  const field = `"sha256":"${sha256}"`; // quotes inside other values are escaped, so only the field itself reads like this
  const at = copy.indexOf(field);
  if (at >= 0) copy.write(`"sha256":"${UNSET}"`, at);
  return copy;
}

function faulty(path: string, fault: string): DataError {
  return new DataError(`${path} ${fault}`, { path, fault });
}

async function wayBack(path: string): Promise<string> {
  const previous = await previousCheckpoint(path);
  return previous
    ? `Delete ${basename(path)} and run the same command again: it goes on from ${basename(previous.path)} (step ${previous.step}).`
    : 'There is no earlier checkpoint beside it: restore the file, or start again in a new folder.';
}
