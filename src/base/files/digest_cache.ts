// The file of known digests of a folder: a line a file, with a digest of the whole at its end. What is wrong with it is as if it were not there.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { sha256 } from '../hash.js';
import { cacheFolder } from './cache_folder.js';
import type { FileDigest } from './digest_file.js';
import { makeFolders, writeThrough } from './write.js';

// Lines are `DIGEST SIZE MTIME CTIME INODE "NAME"`, names as JSON; the last is the SHA-256 of all before it.
const HEAD = 'capi digests 1\n';
const DIGEST = 64;
const LINES_A_PIECE = 20_000;
/** Digests of files that a call did not name are kept up to so many times its own. */
const MOST_OTHERS = 4;

/** Known digests by name. */
export type Digests = Map<string, FileDigest>;

/** The file for a folder, which need not be there. */
export const digestsFile = (root: string): string =>
  join(cacheFolder(), 'digests', `${sha256(root).slice(0, 24)}.txt`);

/** The digests of a file; none where it is missing, damaged or cannot be read. */
export async function readDigests(file: string): Promise<Digests> {
  const known: Digests = new Map();
  const bytes = await readFile(file).catch(() => undefined);
  const end = (bytes?.length ?? 0) - DIGEST - 1;
  if (!bytes || end < HEAD.length || bytes.toString('latin1', 0, HEAD.length) !== HEAD) return known;
  if (sha256(bytes.subarray(0, end)) !== bytes.toString('latin1', end, end + DIGEST)) return known;
  for (let at = HEAD.length; at < end; ) {
    const next = bytes.indexOf(10, at);
    const line = bytes.toString('utf8', at, next);
    const quote = line.indexOf('"');
    const name = line.includes('\\', quote) ? JSON.parse(line.slice(quote)) : line.slice(quote + 1, -1);
    known.set(name, { digest: line.slice(0, DIGEST), stamp: line.slice(DIGEST + 1, quote - 1) });
    at = next + 1;
  }
  return known;
}

/** Writes digests whose stamps tell; a cache that cannot be written is done without. */
export async function writeDigests(file: string, digests: Digests, named: number): Promise<void> {
  try {
    await makeFolders(dirname(file));
    const others = MOST_OTHERS * named + 1000;
    const skipped = Math.max(0, digests.size - named - others); // the oldest: a Map keeps the order of their coming
    await writeThrough(file, async (handle) => {
      const hash = createHash('sha256');
      const write = async (text: string): Promise<void> => {
        hash.update(text);
        await handle.appendFile(text);
      };
      await write(HEAD);
      let lines: string[] = [];
      let i = 0;
      for (const [name, { digest, stamp }] of digests) {
        if (i++ < skipped || stamp === '') continue;
        lines.push(`${digest} ${stamp} ${JSON.stringify(name)}\n`);
        if (lines.length < LINES_A_PIECE) continue;
        await write(lines.join(''));
        lines = [];
      }
      await write(lines.join(''));
      await handle.appendFile(`${hash.digest('hex')}\n`);
    });
  } catch {
    // The next call reads the files again.
  }
}
