// The lock of a folder: one holder among many processes, gone with its process, never waited for when dead.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { lockHolder, takeLock, tryLock } from '../../../src/base/files/lock.js';
import { DataError, InterruptedError } from '../../../src/errors.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-lock-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let made = 0;
const fresh = (): string => join(folder, `${made++}`, 'x.lock');

/** Holds a lock through the command line's own lock, in a process that can be killed. */
const HOLD = `
import { tryLock } from ${JSON.stringify(new URL('../../../dist/src/base/files/lock.js', import.meta.url).href)};
const lock = await tryLock(process.argv[1], 'holding');
console.log('release' in lock ? 'held' : 'busy');
if (process.argv[2] === 'once') process.exit(0);
setInterval(() => {}, 1000);`;

function hold(file: string, ...rest: string[]): { child: ChildProcess; said: Promise<string> } {
  const child = spawn(process.execPath, ['--input-type=module', '-e', HOLD, file, ...rest], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const said = new Promise<string>((resolve) => {
    child.stdout!.once('data', (data) => resolve(`${data}`.trim()));
    child.once('exit', () => resolve('gone'));
  });
  return { child, said };
}

describe.each(['system', 'names'])('locks held by %s', (kind) => {
  beforeAll(() => {
    process.env.CAPI_LOCKS = kind;
  });
  afterAll(() => {
    delete process.env.CAPI_LOCKS;
  });
  const children: ChildProcess[] = [];
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
  });

  it('one holder; the other learns who and what', async () => {
    const file = fresh();
    const lock = await tryLock(file, 'first');
    if (!('release' in lock)) throw new Error('not taken');
    const second = await tryLock(file, 'second');
    expect(second).toMatchObject({ holder: { pid: process.pid, host: hostname(), doing: 'first' } });
    expect(await lockHolder(file)).toMatchObject({ pid: process.pid });
    await lock.release();
    expect(await lockHolder(file)).toBeUndefined();
    expect(existsSync(file)).toBe(false);
    const third = await tryLock(file);
    expect(third).toHaveProperty('release');
    if ('release' in third) await third.release();
  });

  it('ends with its process, however that ends', async () => {
    const file = fresh();
    const { child, said } = hold(file);
    children.push(child);
    expect(await said).toBe('held');
    expect(await tryLock(file)).toMatchObject({ holder: { pid: child.pid, doing: 'holding' } });
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    expect(await lockHolder(file)).toBeUndefined();
    const lock = await tryLock(file);
    expect(lock).toHaveProperty('release');
    if ('release' in lock) await lock.release();
  });

  it('of twelve processes that start at once on a dead lock, one gets it', async () => {
    const file = fresh();
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, JSON.stringify({ pid: 999_999_999, host: hostname() }));
    const all = Array.from({ length: 12 }, () => hold(file));
    children.push(...all.map(({ child }) => child));
    const said = await Promise.all(all.map(({ said }) => said));
    expect(said.filter((word) => word === 'held')).toHaveLength(1);
    expect(said.filter((word) => word === 'busy')).toHaveLength(11);
  });

  it.each([
    ['empty', ''],
    ['null', 'null'],
    ['a list', '[]'],
    ['torn', '{"pid": 1'],
    ['pid 0', JSON.stringify({ pid: 0, host: hostname() })],
    ['pid -1', JSON.stringify({ pid: -1, host: hostname() })],
    ['a dead process', JSON.stringify({ pid: 999_999_999, host: hostname() })],
    [
      'a number that another process has now',
      JSON.stringify({ pid: process.pid, host: hostname(), start: 'another boot 1' }),
    ],
  ])('a lock file left behind (%s) is taken at once', async (_, text) => {
    const file = fresh();
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, text);
    expect(await lockHolder(file)).toBeUndefined();
    const lock = await takeLock(file, { signal: AbortSignal.timeout(5000) });
    await lock.release();
  });

  it('waiting says once at once who holds it, and stops on a signal', async () => {
    const file = fresh();
    const lock = await tryLock(file, 'the work');
    const lines: string[] = [];
    const waiting = takeLock(file, {
      signal: AbortSignal.timeout(700),
      onWait: (line) => lines.push(line),
    });
    await expect(waiting).rejects.toThrow(InterruptedError);
    expect(lines).toHaveLength(1);
    const since = String.raw`since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`;
    expect(lines[0]).toMatch(
      new RegExp(
        `^waiting for process ${process.pid} on ${hostname()} \\(the work\\), ${since}, which holds ${file}$`,
      ),
    );
    if ('release' in lock) await lock.release();
  });
});

describe('what is no lock file', () => {
  it('is named', async () => {
    const file = fresh();
    mkdirSync(file, { recursive: true });
    await expect(tryLock(file)).rejects.toThrow(DataError);
  });

  it('a lock by name of another machine holds while it is renewed, and ten minutes longer', async () => {
    process.env.CAPI_LOCKS = 'names';
    try {
      const file = fresh();
      mkdirSync(join(file, '..'), { recursive: true });
      writeFileSync(file, JSON.stringify({ pid: 7, host: 'another', start: '', doing: '' }));
      expect(await tryLock(file)).toMatchObject({ holder: { host: 'another' } });
      const old = new Date(Date.now() - 11 * 60_000);
      utimesSync(file, old, old);
      const lock = await tryLock(file);
      expect(lock).toHaveProperty('release');
      expect(await readFile(file, 'utf8')).toContain(`"pid":${process.pid}`);
      if ('release' in lock) await lock.release();
    } finally {
      delete process.env.CAPI_LOCKS;
    }
  });
});
