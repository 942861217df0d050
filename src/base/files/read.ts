// Reading a file that may be anything: only regular files, never more than a stated size, whole or not at all.

import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { DataError } from '../../errors.js';
import { shown } from '../text.js';

/**
 * The content of `path`, or its first `head` bytes. Opens without waiting (a FIFO without a writer does not hold it up) and reads nothing
 * that is not a regular file. `limit` is the largest size in bytes that is read. In a reading thread nothing waits but the next file, and
 * the turns of an asynchronous read cost a tenth of the whole work: this one blocks.
 * Throws DataError naming the file when it cannot be opened, is no regular file, is larger than `limit`, or becomes shorter meanwhile.
 */
export function readRegular(path: string, limit: number, head = Number.POSITIVE_INFINITY): Buffer {
  const wrong = (what: string): DataError => new DataError(`${shown(path)} ${what}`, { file: path });
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENXIO') throw wrong('is a socket, not a file'); // what open says of sockets
    throw wrong(`cannot be read: ${code}`);
  }
  try {
    const found = fstatSync(descriptor);
    if (!found.isFile()) throw wrong(`is ${found.isDirectory() ? 'a folder' : kindOf(found)}, not a file`);
    if (found.size > limit) {
      throw wrong(tooLarge(found.size, limit));
    }
    const size = Math.min(found.size, head);
    const bytes = Buffer.allocUnsafeSlow(size);
    let at = 0;
    while (at < size) {
      const count = readSync(descriptor, bytes, at, size - at, at);
      if (count === 0) throw wrong(`became shorter while it was read: ${at} of ${size} bytes`);
      at += count;
    }
    return bytes;
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw wrong(`cannot be read: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`);
  } finally {
    closeSync(descriptor);
  }
}

/** What is wrong with a file of more bytes than are read. */
export const tooLarge = (bytes: number, limit: number): string =>
  `has ${bytes.toLocaleString('en-US')} bytes; at most ${limit.toLocaleString('en-US')} are read`;

function kindOf(found: { isFIFO(): boolean; isSocket(): boolean }): string {
  if (found.isFIFO()) return 'a FIFO';
  return found.isSocket() ? 'a socket' : 'a device';
}
