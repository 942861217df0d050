// A run folder: what is in it, whether a command may go on with it, and the files that say where a run came from.

import { appendFileSync, existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type HeldLock, type Holder, holderText } from '../base/files/holder.js';
import { holdFolder, lockHolder } from '../base/files/lock.js';
import { readSealed, writeSealed } from '../base/files/seal.js';
import { isCutOff, setAside } from '../base/files/torn.js';
import { makeFolder, partialOf, removePartials } from '../base/files/write.js';
import { shown } from '../base/text.js';
import { latestCheckpoint } from '../checkpoint/folder.js';
import { type CanonicalConfig, canonicalHash, identityDifferences } from '../config/index.js';
import { DataError, UsageError } from '../errors.js';

/** Files of a run folder. */
export const RUN = {
  config: 'config.yaml',
  identity: 'identity.json',
  environment: 'environment.json',
  metrics: 'metrics.jsonl',
  log: 'log.txt',
  checkpoints: 'checkpoints',
  lock: 'run.lock',
} as const;

/** Files that a run may leave before it is a run: of a process that begins, or was killed as it did. */
const ofBeginning = (name: string): boolean =>
  name === RUN.lock || [RUN.lock, RUN.identity].some((own) => partialOf(name) === own);

export interface RunIdentity {
  hash: string;
  canonical: CanonicalConfig;
}

interface IdentityFile extends RunIdentity {
  /** Of a run that an older version began, which knew its images by names and sizes: their identity when it was taken up again. */
  contents?: string;
  /** Engine settings that changed on resume: at which step, and what. */
  changes: { step: number; differences: string[] }[];
}

/** What a folder holds for a run: nothing yet, or this run, perhaps with other engine settings. */
export interface FolderState {
  known?: IdentityFile;
  engineChanges: string[];
  /** As the folder knows the run: the one asked for, or its former one. */
  identity: RunIdentity;
  /** Where the folder knows the images by names and sizes alone: what they are now. */
  contents?: string;
  /** Its identity was cut off by a kill or a full disk; the newest checkpoint, if there is one, says whose the folder is. */
  torn?: boolean;
}

/** The canonical setting that stands for the images. */
const DATA = 'data.source';

/** True for a line of identityDifferences that concerns engine, device, threads or micro-batches. */
export const isEngineSetting = (difference: string): boolean => difference.startsWith('engine.');

/**
 * Looks whether `folder` is free for this run or holds it already. Writes nothing.
 * @throws UsageError naming the keys that differ when it holds another run, or files that are no run
 */
export async function checkRunFolder(
  folder: string,
  asked: RunIdentity,
  options: { allowEngineChange: boolean; former?: (() => Promise<RunIdentity>) | undefined },
): Promise<FolderState> {
  const file = join(folder, RUN.identity);
  if (!existsSync(file)) {
    const present = existsSync(folder) ? await entries(folder) : [];
    const foreign = present.filter((name) => !ofBeginning(name));
    if (foreign.length > 0) {
      const some = foreign.slice(0, 3).join(', ') + (foreign.length > 3 ? ', ...' : '');
      throw new UsageError(`${folder} holds files but no run (${some}): choose another folder with --out`);
    }
    return { identity: asked, engineChanges: [] };
  }
  const known = await readIdentity(file).catch(async (error) => {
    const text = await readFile(file, 'utf8').catch(() => '-');
    const begun = await latestCheckpoint(join(folder, RUN.checkpoints));
    // A checkpoint says itself whose it is, and is compared with this run before anything is written.
    if (!isCutOff(text) || (!begun && /[^\s\0]/.test(text))) throw error;
    return begun;
  });
  if (known === undefined) return { identity: asked, engineChanges: [], torn: true };
  if (!('canonical' in known))
    return { known: { ...asked, changes: [] }, identity: asked, engineChanges: [], torn: true };
  // Asked for only where the images are not those of the folder: it looks at every file.
  const former = known.canonical[DATA] === asked.canonical[DATA] ? undefined : await options.former?.();
  const aged = former !== undefined && known.canonical[DATA] === former.canonical[DATA];
  const identity = aged ? former : asked;
  const contents = aged ? String(asked.canonical[DATA]) : undefined;
  if (known.contents !== undefined && known.contents !== contents) {
    throw new UsageError(
      `${folder} holds a run on other images: the files have the names and sizes of those it was trained on, but not their contents. Restore them, or choose another folder with --out`,
    );
  }
  const state = { known, identity, ...(contents === undefined ? {} : { contents }) };
  const differences = identityDifferences(known.canonical, identity.canonical);
  if (differences.length === 0) return { ...state, engineChanges: [] };
  const onlyEngine = differences.every(isEngineSetting);
  if (!onlyEngine || !options.allowEngineChange) {
    const hint = onlyEngine
      ? 'Go on with --allow-engine-change (results may differ by rounding), or choose another folder with --out'
      : 'Choose another folder with --out, or the same settings';
    throw new UsageError(`${folder} holds another run; what differs: ${differences.join('; ')}. ${hint}`, {
      differences,
    });
  }
  return { ...state, engineChanges: differences };
}

/**
 * The lock of a run folder, so that one process writes there; taken before the folder is claimed. Releasing it removes the folder again
 * where this call made it and nothing was written.
 * @throws UsageError naming the process that has it, DataError when the folder cannot be written
 */
export async function holdRunFolder(folder: string, doing = 'capi pretrain'): Promise<HeldLock> {
  const lock = await holdFolder(folder, RUN.lock, doing);
  if ('holder' in lock) throw held(folder, lock.holder);
  return lock;
}

/** Whether an error says that a disk or folder can be read, and not written. */
export const isReadOnly = (error: unknown): boolean =>
  error instanceof DataError && ['EROFS', 'EACCES', 'EPERM'].includes(String(error.details.code));

/** Refuses a folder in which a process trains now; takes nothing. @throws UsageError */
export async function refuseHeld(folder: string): Promise<void> {
  const holder = await lockHolder(join(folder, RUN.lock));
  if (holder) throw held(folder, holder);
}

const held = (folder: string, holder: Holder): UsageError =>
  new UsageError(
    `${folder} is in use by ${holderText(holder)}: wait until it ends, or choose another folder with --out`,
    { holder },
  );

/**
 * Makes a checked folder this run's: its identity and, where engine settings changed, at which step. A kill in the
 * middle leaves a folder that the same command takes up again.
 * @throws DataError when it cannot be written
 */
export async function claimRunFolder(
  folder: string,
  { known, identity, contents, engineChanges, torn }: FolderState,
  step: number,
  onMessage: (line: string) => void = () => {},
): Promise<void> {
  const file = join(folder, RUN.identity);
  if (torn) onMessage(await setAside(file));
  if (known && !torn) {
    if (engineChanges.length === 0 && known.contents === contents) return;
    const changed = engineChanges.length > 0 ? [{ step, differences: engineChanges }] : [];
    const changes = [...known.changes, ...changed];
    const added = contents === undefined ? {} : { contents };
    await writeSealed(file, { ...identity, ...added, changes } satisfies IdentityFile);
    return;
  }
  await makeFolder(folder);
  await removePartials(folder); // of processes that were killed here
  await writeSealed(file, { ...identity, changes: [] } satisfies IdentityFile);
}

async function entries(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code === 'ENOTDIR' ? 'it is a file' : reason(error);
    throw new UsageError(`${folder} cannot be a run folder: ${why}. Choose another with --out`);
  }
}

async function readIdentity(file: string): Promise<IdentityFile> {
  let why = 'it holds no identity';
  try {
    const value = (await readSealed(file)).value as Partial<IdentityFile>;
    if (value.hash && value.canonical) {
      if (canonicalHash(value.canonical) === value.hash) return { changes: [], ...(value as RunIdentity) };
      why = 'its hash is not that of its settings';
    }
  } catch (error) {
    why = reason(error);
  }
  throw new DataError(`${file} is damaged (${why}): restore it, or choose another folder with --out`);
}

const reason = (error: unknown): string => (error as Error).message;

/** Messages of a run: to the caller at once, and with their time into log.txt as soon as the folder is the run's. */
export class RunLog {
  private file: string | undefined;
  private early: string[] = [];

  constructor(private readonly onMessage: (message: string) => void) {}

  info(message: string): void {
    this.onMessage(message);
    this.debug(message);
  }

  /** Into the file only. A log that cannot be written stops no run: metrics and checkpoints say when the disk is full. */
  debug(message: string): void {
    const line = `${new Date().toISOString()} ${shown(message)}\n`;
    if (!this.file) {
      this.early.push(line);
      return;
    }
    try {
      appendFileSync(this.file, line);
    } catch {}
  }

  open(folder: string): void {
    this.file = join(folder, RUN.log);
    try {
      appendFileSync(this.file, this.early.join(''));
    } catch {}
  }
}
