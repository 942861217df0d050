// A run folder: what is in it, whether a command may go on with it, and the files that say where a run came from.
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { arch, cpus, platform } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { type CanonicalConfig, identityDifferences, presetsDirectory } from '../config/index.js';
import { DataError, UsageError } from '../errors.js';

/** Files of a run folder. */
export const RUN = {
  config: 'config.yaml',
  identity: 'identity.json',
  environment: 'environment.json',
  metrics: 'metrics.jsonl',
  log: 'log.txt',
  checkpoints: 'checkpoints',
} as const;

const PARTIAL = '.partial';

export interface RunIdentity {
  hash: string;
  canonical: CanonicalConfig;
}

interface IdentityFile extends RunIdentity {
  /** Engine settings that changed on resume: at which step, and what. */
  changes: { step: number; differences: string[] }[];
}

/** What a folder holds for a run: nothing yet, or this run, perhaps with other engine settings. */
export interface FolderState {
  known?: IdentityFile;
  engineChanges: string[];
}

/** True for a line of identityDifferences that concerns engine, device, threads or micro-batches. */
export const isEngineSetting = (difference: string): boolean => difference.startsWith('engine.');

/**
 * Looks whether `folder` is free for this run or holds it already. Writes nothing.
 * @throws UsageError naming the keys that differ when it holds another run, or files that are no run
 */
export async function checkRunFolder(
  folder: string,
  identity: RunIdentity,
  options: { allowEngineChange: boolean },
): Promise<FolderState> {
  const file = join(folder, RUN.identity);
  if (!existsSync(file)) {
    const present = existsSync(folder) ? await entries(folder) : [];
    const foreign = present.filter((name) => name !== RUN.identity + PARTIAL); // of a process killed at its start
    if (foreign.length > 0) {
      const some = foreign.slice(0, 3).join(', ') + (foreign.length > 3 ? ', ...' : '');
      throw new UsageError(`${folder} holds files but no run (${some}): choose another folder with --out`);
    }
    return { engineChanges: [] };
  }
  const known = await readIdentity(file);
  const differences = identityDifferences(known.canonical, identity.canonical);
  if (differences.length === 0) return { known, engineChanges: [] };
  const onlyEngine = differences.every(isEngineSetting);
  if (!onlyEngine || !options.allowEngineChange) {
    const hint = onlyEngine
      ? 'Go on with --allow-engine-change (results may differ by rounding), or choose another folder with --out'
      : 'Choose another folder with --out, or the same settings';
    throw new UsageError(`${folder} holds another run; what differs: ${differences.join('; ')}. ${hint}`, {
      differences,
    });
  }
  return { known, engineChanges: differences };
}

/**
 * Makes a checked folder this run's: its identity and, where engine settings changed, at which step. A kill in the
 * middle leaves a folder that the same command takes up again.
 * @throws DataError when it cannot be written; then a new folder is gone again
 */
export async function claimRunFolder(
  folder: string,
  identity: RunIdentity,
  { known, engineChanges }: FolderState,
  step: number,
): Promise<void> {
  const file = join(folder, RUN.identity);
  if (known) {
    if (engineChanges.length === 0) return;
    const changes = [...known.changes, { step, differences: engineChanges }];
    await writeJson(file, { ...identity, changes } satisfies IdentityFile);
    return;
  }
  const made = await mkdir(folder, { recursive: true }).catch((error) => {
    throw writeFailure(folder, error);
  });
  try {
    await writeJson(file, { ...identity, changes: [] } satisfies IdentityFile);
  } catch (error) {
    for (let at = resolve(folder); made && at.length >= resolve(made).length; at = dirname(at)) {
      await rmdir(at).catch(() => {}); // only what this call made, and only when empty
    }
    throw error;
  }
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
    const value = JSON.parse(await readFile(file, 'utf8')) as Partial<IdentityFile> | null;
    if (value?.hash && value.canonical) return { changes: [], ...(value as RunIdentity) };
  } catch (error) {
    why = reason(error);
  }
  throw new DataError(`${file} is damaged (${why}): restore it, or choose another folder with --out`);
}

export async function writeJson(file: string, value: unknown): Promise<void> {
  await writeText(file, `${JSON.stringify(value, null, 2)}\n`);
}

/** Writes a small file whole or not at all, whenever the process or the machine stops. @throws DataError */
export async function writeText(file: string, text: string): Promise<void> {
  const partial = file + PARTIAL;
  try {
    const handle = await open(partial, 'w');
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(partial, file);
  } catch (error) {
    await rm(partial, { force: true }).catch(() => {});
    throw writeFailure(file, error);
  }
}

/** The error of a file that could not be written, in the user's words. */
export function writeFailure(file: string, error: unknown): DataError {
  const full = ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException).code ?? '');
  return new DataError(
    full
      ? `disk full: cannot write ${file}. Free some space; the same command goes on`
      : `cannot write ${file}: ${reason(error)}`,
    { path: file },
  );
}

const reason = (error: unknown): string => (error as Error).message;

/** Messages of a run: to the caller at once, and with their time into log.txt as soon as the folder is the run's. */
export class RunLog {
  private file: string | undefined;
  private early: string[] = [];

  constructor(private readonly tell: (message: string) => void) {}

  say(message: string): void {
    this.tell(message);
    this.note(message);
  }

  /** Into the file only. A log that cannot be written stops no run: metrics and checkpoints say when the disk is full. */
  note(message: string): void {
    const line = `${new Date().toISOString()} ${message}\n`;
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

/** Versions, machine and commit that a number of this run came from. */
export function environment(engine: { name: string; device: string; threads?: number; version: string }) {
  const home = resolve(presetsDirectory(), '../..');
  return {
    capi: (JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as { version: string }).version,
    commit: gitCommit(home),
    node: process.version,
    platform: `${platform()}-${arch()}`,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    engine: engine.name,
    engineVersion: engine.version,
    device: engine.device,
    threads: engine.threads ?? null,
    command: process.argv.slice(2).join(' '),
  };
}

/** The commit of the checkout that capi runs from, `+changes` where files differ from it; null outside of one. */
function gitCommit(home: string): string | null {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { cwd: home, stdio: ['ignore', 'pipe', 'ignore'] })
        .toString()
        .trim();
    if (git('rev-parse', '--show-prefix') !== '') return null; // installed inside another repository
    return (
      git('rev-parse', 'HEAD') +
      (git('--no-optional-locks', 'status', '--porcelain', '--untracked-files=no') ? '+changes' : '')
    );
  } catch {
    return null;
  }
}
