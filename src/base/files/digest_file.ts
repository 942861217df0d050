// The digest of one file's contents, with the stamp by which the same contents are known again without reading them.

import { createHash } from 'node:crypto';
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';

/** A file whose times are younger than this may change again without another time (file systems count in steps of up to 2 s). */
const SETTLED_MS = 3000;
/** A file that changes under the reader is read again, so often at most. */
const TRIES = 3;
const PIECE = 2 ** 20;
/** No image, label map or list is larger; a hole of terabytes is not read to its end. */
export const MOST_DIGESTED = 2 ** 30;

/** What a file's contents are known by. */
export interface FileDigest {
  /** SHA-256, hexadecimal. */
  digest: string;
  /** Size, times of change to the nanosecond and inode; empty where they do not tell yet whether the file changes. */
  stamp: string;
}

/** Size, time of change of contents and of inode in nanoseconds, and inode: what no edit leaves as it was. */
export const stampOf = ({ size, mtimeNs, ctimeNs, ino }: BigIntStats): string =>
  `${size} ${mtimeNs} ${ctimeNs} ${ino}`;

let piece: Buffer | undefined;

/** Reads a file and digests it. Throws the system's errors, EINVAL for what is no file, EFBIG with its `bytes` for more than MOST_DIGESTED, EBUSY for one that does not stand still. */
export function digestFile(path: string): FileDigest {
  const file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)); // a pipe must not hold the reader up
  try {
    for (let tries = 0; tries < TRIES; tries++) {
      const now = Date.now();
      const before = fstatSync(file, { bigint: true });
      if (!before.isFile()) throw Object.assign(new Error(`${path} is no file`), { code: 'EINVAL' });
      if (before.size > MOST_DIGESTED) {
        throw Object.assign(new Error(`${path} is too large`), { code: 'EFBIG', bytes: Number(before.size) });
      }
      const digest = digestOpen(file, Number(before.size));
      const stamp = stampOf(before);
      if (stampOf(fstatSync(file, { bigint: true })) !== stamp) continue;
      const { mtimeMs, ctimeMs } = before;
      const settled = now - Number(mtimeMs > ctimeMs ? mtimeMs : ctimeMs) > SETTLED_MS;
      return { digest, stamp: settled ? stamp : '' };
    }
  } finally {
    closeSync(file);
  }
  throw Object.assign(new Error(`${path} is being written`), { code: 'EBUSY' });
}

/** What became of one file: its digest, or the code of the system's error; `bytes` of a file that is too large. */
export type DigestAnswer = FileDigest | { code: string; bytes?: number };

export function tryDigest(path: string): DigestAnswer {
  try {
    return digestFile(path);
  } catch (error) {
    const { code = String(error), bytes } = error as NodeJS.ErrnoException & { bytes?: number };
    return { code, ...(bytes === undefined ? {} : { bytes }) };
  }
}

function digestOpen(file: number, size: number): string {
  piece ??= Buffer.allocUnsafeSlow(PIECE);
  const hash = createHash('sha256');
  for (let at = 0; at < size; ) {
    const read = readSync(file, piece, 0, PIECE, at);
    if (read === 0) break; // cut short meanwhile: its stamp says so
    hash.update(piece.subarray(0, read));
    at += read;
  }
  return hash.digest('hex');
}
