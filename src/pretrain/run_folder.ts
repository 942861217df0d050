// A run folder: what is in it, whether a command may go on with it, and the files that say where a run came from.
import { execFileSync } from 'node:child_process';
import { createWriteStream, existsSync, type WriteStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { arch, cpus, platform } from 'node:os';
import { join } from 'node:path';
import { type CanonicalConfig, identityDifferences } from '../config/index.js';
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

export interface RunIdentity {
  hash: string;
  canonical: CanonicalConfig;
}

interface IdentityFile extends RunIdentity {
  /** Engine settings that changed on resume: step and what changed. */
  changes: { step: number; differences: string[] }[];
}

const MOVABLE = /^engine\./;

/**
 * Makes `folder` a run of this identity, or goes on with the run of this identity that is there.
 * @throws UsageError naming the keys that differ when it holds another run, or files that are no run
 */
export async function claimRunFolder(
  folder: string,
  identity: RunIdentity,
  options: { allowEngineChange: boolean; resumedStep: number },
): Promise<{ resumed: boolean; engineChanges: string[] }> {
  const file = join(folder, RUN.identity);
  if (!existsSync(file)) {
    const present = existsSync(folder) ? await entries(folder) : [];
    if (present.length > 0) {
      throw new UsageError(
        `${folder} holds files but no run (${present.slice(0, 3).join(', ')}): choose another folder with --out`,
      );
    }
    await mkdir(join(folder, RUN.checkpoints), { recursive: true });
    await writeJson(file, { ...identity, changes: [] } satisfies IdentityFile);
    return { resumed: false, engineChanges: [] };
  }
  const known = await readIdentity(file);
  if (known.hash === identity.hash) return { resumed: true, engineChanges: [] };
  const differences = identityDifferences(known.canonical, identity.canonical);
  const onlyEngine = differences.every((d) => MOVABLE.test(d));
  if (!onlyEngine || !options.allowEngineChange) {
    const hint = onlyEngine
      ? 'go on with --allow-engine-change (results may differ by rounding), or choose another folder with --out'
      : 'choose another folder with --out, or the same settings';
    throw new UsageError(`${folder} holds another run; what differs: ${differences.join('; ')}. ${hint}`, {
      differences,
    });
  }
  const changes = [...known.changes, { step: options.resumedStep, differences }];
  await writeJson(file, { ...identity, changes } satisfies IdentityFile);
  return { resumed: true, engineChanges: differences };
}

async function entries(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    throw new UsageError(`${folder} cannot be a run folder: ${(error as Error).message}`);
  }
}

async function readIdentity(file: string): Promise<IdentityFile> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as IdentityFile;
  } catch (error) {
    throw new DataError(`${file} is damaged (${(error as Error).message}): choose another folder with --out`);
  }
}

/** Written whole or not at all. */
export async function writeJson(file: string, value: unknown): Promise<void> {
  await writeText(file, `${JSON.stringify(value, null, 2)}\n`);
}

export async function writeText(file: string, text: string): Promise<void> {
  await writeFile(`${file}.partial`, text);
  await rename(`${file}.partial`, file);
}

/** Versions, machine and commit that a number of this run came from. */
export function environment(engine: {
  name: string;
  device: string;
  threads?: number;
  version: string;
}): object {
  return {
    capi: process.env.npm_package_version ?? '0.1.0',
    node: process.version,
    platform: `${platform()}-${arch()}`,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    engine: engine.name,
    engineVersion: engine.version,
    device: engine.device,
    threads: engine.threads ?? null,
    commit: gitCommit(),
    command: process.argv.slice(2).join(' '),
  };
}

function gitCommit(): string | null {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { cwd: import.meta.dirname, stdio: ['ignore', 'pipe', 'ignore'] })
        .toString()
        .trim();
    return (
      git('rev-parse', 'HEAD') + (git('status', '--porcelain', '--untracked-files=no') ? '+changes' : '')
    );
  } catch {
    return null;
  }
}

/** The metrics file, cut back to the steps before `step`, open for appending. */
export async function openMetrics(folder: string, step: number): Promise<WriteStream> {
  const file = join(folder, RUN.metrics);
  if (existsSync(file)) {
    const lines = (await readFile(file, 'utf8')).split('\n');
    const kept = lines.filter((line) => {
      try {
        return (JSON.parse(line) as { step: number }).step <= step;
      } catch {
        return false; // a line that a kill cut short
      }
    });
    await writeText(file, kept.length ? `${kept.join('\n')}\n` : '');
  }
  return createWriteStream(file, { flags: 'a' });
}
