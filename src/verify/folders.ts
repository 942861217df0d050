// Everything that is stored below some folders, checked: how many files of each kind are as they were written, and what is wrong.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { InterruptedError, UsageError } from '../errors.js';
import { checkFile } from './files.js';
import { filesBelow } from './walk.js';

export interface Verification {
  readonly folders: readonly string[];
  /** Nothing is wrong. */
  readonly intact: boolean;
  /** Files of a kind that is checked, and files of other kinds. */
  readonly checked: number;
  readonly others: number;
  /** By kind, how many files are in each state. */
  readonly kinds: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly faults: readonly {
    readonly file: string;
    readonly kind: string;
    readonly state: string;
    readonly faults: readonly string[];
  }[];
  /** Links, pipes and devices, which are not read. */
  readonly skipped: readonly { readonly file: string; readonly what: string }[];
}

/**
 * Checks each file once, in order. `onFile` is called after each with what was read so far.
 * @throws UsageError for a folder that is not there, InterruptedError
 */
export async function verifyFolders(
  folders: readonly string[],
  watch: { signal: AbortSignal; onFile(done: { files: number; bytes: number }): void },
): Promise<Verification> {
  const absent = folders.find((folder) => !existsSync(folder));
  if (absent !== undefined) throw new UsageError(`${absent} does not exist: name a folder that capi wrote`);
  const kinds = new Map<string, Record<string, number>>();
  const faults: Verification['faults'][number][] = [];
  const skipped: Verification['skipped'][number][] = [];
  let [files, bytes, checked, others] = [0, 0, 0, 0];
  const check = async (file: string): Promise<void> => {
    const found = await checkFile(file);
    if (found.state === 'other') {
      others++;
      return;
    }
    checked++;
    const counts = kinds.get(found.kind) ?? {};
    counts[found.state] = (counts[found.state] ?? 0) + 1;
    kinds.set(found.kind, counts);
    if (found.faults.length > 0) faults.push(found);
  };
  const seen = new Set<string>();
  for (const folder of folders) {
    for await (const place of filesBelow(folder)) {
      if (watch.signal.aborted) throw new InterruptedError(`interrupted after ${files} files`);
      if (seen.has(resolve(place.file))) continue;
      seen.add(resolve(place.file));
      if (place.skipped) skipped.push({ file: place.file, what: place.skipped });
      else await check(place.file);
      files++;
      bytes += place.bytes;
      watch.onFile({ files, bytes });
    }
  }
  return {
    folders,
    intact: faults.length === 0,
    checked,
    kinds: Object.fromEntries([...kinds].sort(([a], [b]) => (a < b ? -1 : 1))),
    faults,
    skipped,
    others,
  };
}
