// Files of ours that a kill, a full disk or a power cut left empty or cut off: told from foreign ones, set aside, and made again.

import { access, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DataError } from '../../errors.js';
import { giveName } from './write.js';

/** The text of a JSON object without its end, or nothing at all: what an unfinished write of ours leaves. Zeros are blocks that never came. */
export const isCutOff = (text: string): boolean =>
  /^[\s\0]*$/.test(text) || (/^\{\s*"/.test(text) && !/\}\s*$/.test(text));

/** Whether an error says that a file is torn (see seal.ts), and the file is one that a write of ours was cut off in. */
export async function isTorn(error: unknown): Promise<boolean> {
  if (!(error instanceof DataError) || error.details.fault !== 'torn') return false;
  const file = String(error.details.path);
  return isCutOff(await readFile(file, 'utf8').catch(() => 'unreadable'));
}

/** Gives a torn file the name NAME.torn-N, so that it can be made again. Returns one line that says so. @throws DataError */
export async function setAside(file: string): Promise<string> {
  for (let n = 1; ; n++) {
    const name = `${basename(file)}.torn-${n}`;
    const aside = join(dirname(file), name);
    const free = await access(aside).then(
      () => false,
      () => true,
    );
    if (!free) continue;
    await giveName(file, aside);
    return `${file} was torn, as by a kill or a full disk: it is ${name} now, and made again`;
  }
}

/** What `read` gives of a file; where it is torn the file is set aside, `say` hears of it, and there is nothing. @throws what `read` throws */
export async function readUnlessTorn<T>(
  file: string,
  read: () => Promise<T>,
  say: (line: string) => void = () => {},
): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!(await isTorn(error))) throw error;
    say(await setAside(file));
    return undefined;
  }
}
