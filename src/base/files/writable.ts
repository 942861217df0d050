// Whether a folder can be written, asked before hours of work whose end it is to write there.
import { lstatSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { DataError } from '../../errors.js';
import { shown } from '../text.js';
import { writeFailure } from './write.js';

/**
 * Refuses a folder that could not be written: a file in the way, no permission, a file system that is read-only. Tries it in the folder itself, or in
 * the nearest one above that exists, and leaves nothing behind; makes no folder.
 * @throws DataError naming the folder and what is in the way
 */
export async function checkWritable(folder: string): Promise<void> {
  const whole = resolve(folder);
  let at = whole;
  for (let found = kindOf(at, folder); found !== 'folder'; found = kindOf(at, folder)) {
    if (found === 'file') {
      throw new DataError(
        `cannot write ${shown(folder)}: ${at === whole ? 'it' : shown(at)} is a file; choose another place with --out`,
        { path: folder },
      );
    }
    at = dirname(at);
  }
  try {
    await rm(await mkdtemp(join(at, '.capi-try-')), { recursive: true, force: true });
  } catch (error) {
    throw writeFailure(folder, error);
  }
}

/** What stands at a path; a link to nothing is in the way as a file is. @throws DataError where it cannot be told */
function kindOf(at: string, folder: string): 'folder' | 'file' | 'nothing' {
  try {
    return statSync(at).isDirectory() ? 'folder' : 'file';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return lstatSync(at, { throwIfNoEntry: false }) ? 'file' : 'nothing';
    if (code === 'ENOTDIR') return 'nothing'; // what is in the way stands further up
    throw writeFailure(folder, error);
  }
}
