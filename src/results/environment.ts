// Where a number was made: versions, machine, commit and command.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { arch, cpus, platform } from 'node:os';
import { join, resolve } from 'node:path';
import { presetsDirectory } from '../config/index.js';

/** Versions, machine and commit that a number of this run came from. */
export function environment(engine: {
  name: string;
  device: string;
  threads?: number;
  version: string;
  /** The engine that extracted features, where it is another one. */
  extractor?: { name: string; device: string; version: string };
}) {
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
    ...(engine.extractor ? { extractor: engine.extractor } : {}),
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
