// What an unfinished evaluation keeps beside its future record, so that the same command goes on where it was killed.
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Seal } from '../base/files/seal.js';
import { makeFolder } from '../base/files/write.js';
import { readSafetensors, type StoredTensor } from '../base/safetensors.js';
import { checkSigned, writeSigned } from '../base/signed_tensors.js';
import { DataError } from '../errors.js';

/** Named pieces of an evaluation; a piece is there whole or not at all, and refused where it is not what was saved. */
export interface EvaluationState {
  load(name: string): Promise<Piece | undefined>;
  save(name: string, piece: Piece): Promise<void>;
}

/** Plain values, which come back as they were (no NaN), and tensors by name, exactly. */
export interface Piece {
  readonly values: Readonly<Record<string, unknown>>;
  readonly tensors: Readonly<Record<string, Float32Array>>;
}

/** Name of the folder, in that of the record to come. */
export const STATE_FOLDER = 'state';

const FORMAT = 'capi-state-2';

/** The state of the evaluation in `home`, the folder of its record: one signed safetensors file a piece, values among its metadata. */
export function folderState(home: string): EvaluationState & { remove(): Promise<void> } {
  const folder = join(home, STATE_FOLDER);
  const fileOf = (name: string): string => join(folder, `${name.replace(/[^\w.+-]+/g, '-')}.safetensors`);
  return {
    async load(name) {
      const file = fileOf(name);
      if (!existsSync(file)) return undefined;
      await checkState(file);
      const { tensors, metadata } = await readSafetensors(file);
      if (metadata.values === undefined) throw foreign(file);
      const data = [...tensors].map(([key, t]) => [key, t.data as Float32Array] as const);
      return { values: JSON.parse(metadata.values), tensors: Object.fromEntries(data) };
    },
    async save(name, { values, tensors }) {
      await makeFolder(folder);
      const stored = Object.entries(tensors).map(([key, data]): [string, StoredTensor] => [
        key,
        { dtype: 'F32', shape: [data.length], data },
      ]);
      const metadata = { values: JSON.stringify(values), format: FORMAT, of: basename(home) };
      await writeSigned(fileOf(name), new Map(stored), metadata);
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

const remedy = (file: string): string =>
  `remove ${dirname(file)}, and the same command trains these heads anew`;

const foreign = (file: string): DataError =>
  new DataError(`${file} is of another evaluation or an older version: ${remedy(file)}`, {
    path: file,
    fault: 'foreign',
  });

/** Checks one piece: whole, as it was saved, and of the evaluation whose folder it lies in. @throws DataError */
export async function checkState(file: string): Promise<Seal> {
  if (!file.endsWith('.safetensors')) throw foreign(file);
  const seal = await checkSigned(file, remedy(file));
  const { metadata } = await readSafetensors(file, { names: [] });
  if (seal === 'intact' && metadata.of === basename(dirname(dirname(file)))) return 'intact';
  throw foreign(file);
}
