// Safetensors files with a checksum over every byte, in their own metadata: weights that are exported, states of unfinished heads.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { DataError } from '../errors.js';
import { layoutSafetensors, SafetensorsReader, type StoredTensor, writeLayout } from './safetensors.js';

const UNSET = '0'.repeat(64); // stands in the header for the checksum while it is computed

/** Writes tensors as writeSafetensors does, with `sha256` among the metadata. Returns the bytes written. @throws DataError */
export async function writeSigned(
  path: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<number> {
  const unsigned = layoutSafetensors(tensors, { ...metadata, sha256: UNSET });
  const hash = createHash('sha256').update(unsigned.header);
  for (const part of unsigned.parts) hash.update(part);
  return writeLayout(path, layoutSafetensors(tensors, { ...metadata, sha256: hash.digest('hex') }));
}

/**
 * Compares a file with its checksum: `intact`, or `unsealed` where it has none.
 * @throws DataError naming the file when it is damaged; `remedy` says what to do
 */
export async function checkSigned(
  path: string,
  remedy = 'restore it, or export it again',
): Promise<'intact' | 'unsealed'> {
  const reader = await SafetensorsReader.open(path);
  const { header, metadata } = reader;
  await reader.close();
  const { sha256, format } = metadata;
  const signs = sha256 !== undefined;
  if (!signs && !SIGNED.includes(format ?? '')) return 'unsealed';
  const own = Buffer.from(header);
  const at = own.indexOf(`"sha256":"${sha256}"`); // quotes inside other values are escaped
  if (at >= 0) own.write(`"sha256":"${UNSET}"`, at);
  const hash = createHash('sha256').update(own);
  for await (const piece of createReadStream(path, { start: own.length })) hash.update(piece as Buffer);
  if (signs && hash.digest('hex') === sha256) return 'intact';
  throw new DataError(
    `${path} was changed after it was written (its contents do not match its sha256): ${remedy}`,
    {
      path,
      fault: 'changed',
    },
  );
}

/** The `format` of files that always have a checksum: that it was taken out is noticed. */
const SIGNED: readonly string[] = ['capi-encoder-2', 'capi-state-2'];
