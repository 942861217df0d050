// Runs the built command on behalf of a case: output, exit code, seconds, largest memory, signals at a chosen moment, a limit in time.

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const POLL_MS = 40;

/** A function that runs `capi` in `dir`, with a cache of its own, for at most `limit` seconds. */
export function runner({ main, dir, limit }) {
  return (args, { env = {}, signal, after = 0, input, cwd = dir, wrap = [] } = {}) =>
    new Promise((resolve) => {
      const begin = performance.now();
      const [program, ...rest] = [...wrap, process.execPath, main, ...args];
      const child = spawn(program, rest, {
        cwd,
        env: { ...process.env, CAPI_CACHE: join(dir, 'cache'), NO_COLOR: '1', ...env },
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      let [stdout, stderr, megabytes, sent, timedOut] = ['', '', 0, false, false];
      const send = () => {
        if (signal && !sent) {
          sent = true;
          child.kill(signal);
        }
      };
      const heard = () => {
        if (after instanceof RegExp && after.test(`${stdout}\n${stderr}`)) send();
      };
      child.stdout.on('data', (data) => {
        stdout += data;
        heard();
      });
      child.stderr.on('data', (data) => {
        stderr += data;
        heard();
      });
      child.stdin.on('error', () => {});
      child.stdin.end(input ?? '');
      const later = typeof after === 'number' && signal ? setTimeout(send, after) : undefined;
      const poll = setInterval(() => {
        megabytes = Math.max(megabytes, residentMegabytes(child.pid));
        if (performance.now() - begin > limit * 1000) {
          timedOut = true;
          child.kill('SIGKILL');
        }
      }, POLL_MS);
      child.on('error', (error) => {
        stderr += `${error.message}\n`;
      });
      child.on('close', (code, killedBy) => {
        clearInterval(poll);
        clearTimeout(later);
        const seconds = (performance.now() - begin) / 1000;
        resolve({ code, signal: killedBy, stdout, stderr, seconds, megabytes, timedOut });
      });
    });
}

/** The most memory that a process has had so far; 0 where the system does not tell. */
function residentMegabytes(pid) {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}
