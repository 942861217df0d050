// What an unfinished evaluation keeps beside its future record, so that the same command goes on where it was killed.
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFailure, writeWhole } from '../../files/write.js';

/** Named pieces of bytes; a piece is there whole or not at all. */
export interface EvaluationState {
  load(name: string): Promise<Uint8Array | undefined>;
  save(name: string, bytes: Uint8Array): Promise<void>;
  /** Where a piece lies, in a folder that exists, for those who write it whole themselves. */
  file(name: string): Promise<string>;
}

/** The state in a folder, one file a piece. */
export function folderState(folder: string): EvaluationState & { remove(): Promise<void> } {
  const file = (name: string): string => join(folder, name.replace(/[^\w.+-]+/g, '-'));
  const make = async (): Promise<void> => {
    await mkdir(folder, { recursive: true }).catch((error) => {
      throw writeFailure(folder, error);
    });
  };
  return {
    async file(name) {
      await make();
      return file(name);
    },
    load: async (name) => (existsSync(file(name)) ? readFile(file(name)) : undefined),
    async save(name, bytes) {
      await make();
      await writeWhole(file(name), bytes);
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
