// Reads the reference pictures: the folder's files and what Pillow made of them.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** `images/` of CAPI_REFERENCE_DIR when that has one, else the copy in test/golden. */
export function referenceImages(): string {
  const own = join(dirname(fileURLToPath(import.meta.url)), '../golden/images');
  const other = process.env.CAPI_REFERENCE_DIR;
  return other && existsSync(join(other, 'images')) ? join(other, 'images') : own;
}

export interface ByteTensor {
  shape: number[];
  data: Uint8Array | Int32Array;
}

/** Tensors of a safetensors file that holds U8 and I32 only. */
export function readTensors(path: string): Map<string, ByteTensor> {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, ByteTensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const part = Uint8Array.from(bytes.subarray(8 + length + data_offsets[0], 8 + length + data_offsets[1]));
    tensors.set(name, { shape, data: dtype === 'I32' ? new Int32Array(part.buffer) : part });
  }
  return tensors;
}
