// A shell command line on behalf of a case, with `$CAPI` as the built command, in the folder of the case.

import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../dist/src/main.js', import.meta.url));

/** Runs a script with bash; what `capi` of capi.js gives, without memory. `wrap` are words before bash. */
export const shell = (script, dir, { wrap = [], env: more = {} } = {}) =>
  new Promise((resolve) => {
    const begin = performance.now();
    const env = {
      ...process.env,
      CAPI_CACHE: join(dir, 'cache'),
      CAPI: `${process.execPath} ${MAIN}`,
      NO_COLOR: '1',
      ...more,
    };
    const [program, ...rest] = [...wrap, 'bash', '-c', script];
    const child = spawn(program, rest, { cwd: dir, env });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (data) => {
      stdout += data;
    });
    child.stderr.on('data', (data) => {
      stderr += data;
    });
    child.on('close', (code, signal) =>
      resolve({ code, signal, stdout, stderr, seconds: (performance.now() - begin) / 1000, megabytes: 0 }),
    );
  });

/** Whether this process may mount file systems that only its children see. */
export const mayMount =
  process.platform === 'linux' &&
  spawnSync('unshare', ['-m', 'bash', '-c', 'mount -t tmpfs -o size=64k none /mnt'], { stdio: 'ignore' })
    .status === 0;

/** The same where mounts vanish with the script. */
export const shellWithMounts = (script, dir, options = {}) =>
  shell(script, dir, { ...options, wrap: ['unshare', '-m'] });

/** Words for a shell. */
export const quoted = (args) => args.map((word) => `'${word}'`).join(' ');
