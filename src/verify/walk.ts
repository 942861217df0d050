// Every plain file below a folder, in order; links, pipes and devices are named and not opened.
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { partialOf } from '../base/files/write.js';

/** What lies at a path. `skipped` says why it is not read. */
export interface Place {
  readonly file: string;
  readonly bytes: number;
  readonly skipped?: string;
}

/** The plain files below `folder`, or `folder` itself where it is one, ascending by path. */
export async function* filesBelow(folder: string): AsyncGenerator<Place> {
  const found = await lstat(folder);
  if (!found.isDirectory()) {
    yield place(folder, found);
    return;
  }
  for (const name of (await readdir(folder)).sort()) {
    if (name.startsWith('.git') || name.endsWith('.lock') || partialOf(name) !== undefined) continue;
    yield* filesBelow(join(folder, name));
  }
}

function place(file: string, found: Awaited<ReturnType<typeof lstat>>): Place {
  const bytes = Number(found.size);
  if (found.isFile()) return { file, bytes };
  const what = found.isSymbolicLink() ? 'a link' : found.isFIFO() ? 'a pipe' : 'a device or socket';
  return { file, bytes: 0, skipped: what };
}
