// Runs the built `capi` as a user does: a process of its own, with its output and exit code.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Root of the project. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** What one run of `capi` printed and how it ended. */
export interface Run {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs `capi ARGS` on the last build (or on another entry), outside the environment of the test runner. */
export function capi(
  args: string[],
  env: Record<string, string> = {},
  entry = `${root}dist/src/main.js`,
): Run {
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([key]) => !/^(VITEST|NODE_ENV|DEBUG|CAPI_)/.test(key)),
  );
  const result = spawnSync(process.execPath, [entry, ...args], {
    cwd: root,
    encoding: 'utf8',
    env: { ...clean, NO_COLOR: '1', ...env },
  });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}
