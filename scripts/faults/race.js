// Races of several processes for one dead lock, round after round: how many held it each time.

import { fork } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const LOCK = new URL('../../dist/src/base/files/lock.js', import.meta.url).href;

/** The rounds that had another number of holders than one, as sentences. `kind` is a value of CAPI_LOCKS. */
export async function race({ dir, kind, rounds, processes }) {
  const children = Array.from({ length: processes }, () =>
    fork(fileURLToPath(import.meta.url), ['racer'], { env: { ...process.env, CAPI_LOCKS: kind } }),
  );
  const answers = (message) =>
    Promise.all(
      children.map(
        (child) =>
          new Promise((resolve) => {
            child.once('message', resolve);
            child.send(message);
          }),
      ),
    );
  const wrong = [];
  try {
    await answers({ ready: true });
    for (let round = 0; round < rounds; round++) {
      const folder = join(dir, `${kind}-${round}`);
      mkdirSync(folder);
      const file = join(folder, 'run.lock');
      // What is left of processes that were killed, of a container that had this number, of a disk that was full.
      const dead = ['', 'null', JSON.stringify({ pid: 999_999_999, host: hostname(), start: 'x', round })];
      writeFileSync(file, dead[round % dead.length]);
      const said = await answers({ file });
      const holders = said.filter((word) => word === 'held').length;
      if (holders !== 1) wrong.push(`round ${round} had ${holders} holders: ${said.join(', ')}`);
      await answers({ release: true });
    }
  } finally {
    for (const child of children) child.kill();
  }
  return wrong;
}

if (process.argv[2] === 'racer') {
  const { tryLock } = await import(LOCK);
  let held;
  process.on('message', async ({ file, release }) => {
    if (release) await held?.release();
    held = undefined;
    if (!file) return process.send('done');
    const lock = await tryLock(file, 'racing').catch((error) => ({ error }));
    if ('release' in lock) held = lock;
    return process.send(held ? 'held' : (lock.error?.message ?? 'busy'));
  });
}
