// The checkpoints of a run: which there are, the newest, and how many are kept.
import { mkdir, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { partialOf } from '../base/files/write.js';
import { DataError } from '../errors.js';

/** A checkpoint file of a folder; steps count the optimiser steps that it holds. */
export interface CheckpointFile {
  readonly step: number;
  readonly path: string;
}

const NAME = /^step-(\d{8,})\.safetensors$/;

/** Path of the checkpoint of a step: `step-00001200.safetensors` in `folder`. */
export function checkpointPath(folder: string, step: number): string {
  if (!Number.isSafeInteger(step) || step < 0) throw new RangeError(`a step is a whole number, not ${step}`);
  return join(folder, `step-${String(step).padStart(8, '0')}.safetensors`);
}

/** The finished checkpoints of a folder, oldest first; none when the folder does not exist. */
export async function listCheckpoints(folder: string): Promise<CheckpointFile[]> {
  const files: CheckpointFile[] = [];
  for (const name of await namesIn(folder)) {
    const match = NAME.exec(name);
    if (match) files.push({ step: Number(match[1]), path: join(folder, name) });
  }
  return files.sort((a, b) => a.step - b.step);
}

/** The newest finished checkpoint of a folder, or undefined. */
export async function latestCheckpoint(folder: string): Promise<CheckpointFile | undefined> {
  return (await listCheckpoints(folder)).at(-1);
}

/** The newest checkpoint beside `path` that is older than it, or undefined. */
export async function previousCheckpoint(path: string): Promise<CheckpointFile | undefined> {
  const step = Number(NAME.exec(basename(path))?.[1] ?? Number.NaN);
  return (await listCheckpoints(dirname(path))).filter((file) => file.step < step).at(-1);
}

/**
 * Makes the folder ready for a run that will write into it: creates it and removes what a killed process left unfinished.
 * Call it once at the start, by the one process that writes. Throws DataError when the folder cannot be made.
 */
export async function prepareCheckpointFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    for (const name of await namesIn(folder)) {
      if (NAME.test(partialOf(name) ?? '')) await rm(join(folder, name));
    }
  } catch (error) {
    throw new DataError(`cannot use ${folder} for checkpoints: ${(error as Error).message}`, {
      path: folder,
    });
  }
}

/** Removes the oldest checkpoints until `keep` are left; `written`, the one just made, always stays. */
export async function pruneCheckpoints(folder: string, keep: number, written: string): Promise<void> {
  const others = (await listCheckpoints(folder)).filter((file) => file.path !== written);
  const surplus = others.slice(0, Math.max(0, others.length - (keep - 1)));
  for (const { path } of surplus) await rm(path, { force: true });
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new DataError(`cannot list ${folder}: ${(error as Error).message}`, { path: folder });
  }
}
