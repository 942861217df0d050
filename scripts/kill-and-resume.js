// Kills a small pretraining run at random moments, starts it again each time, and compares what it ends in with a run that was left alone.
//
//   npm run kill-and-resume                                        20 times SIGKILL
//   npm run kill-and-resume -- --signals SIGTERM,SIGINT,SIGUSR2    in turn, the signals after which capi writes a checkpoint
//
// The moments: while it starts, after a random number of steps, and while a checkpoint is being written. The last checkpoint
// must have the same bytes, and metrics.jsonl the same lines but for the columns of time. Exit code 0 when all is equal.

import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const TIME_COLUMNS = ['images_per_second', 'waiting_share'];
const { values: flags } = parseArgs({
  options: {
    kills: { type: 'string', default: '20' },
    steps: { type: 'string', default: '240' },
    seed: { type: 'string', default: '1' },
    threads: { type: 'string', default: '1' },
    signals: { type: 'string', default: 'SIGKILL' },
    capi: { type: 'string', default: fileURLToPath(new URL('../dist/src/main.js', import.meta.url)) },
    keep: { type: 'boolean', default: false },
  },
});
const kills = Number(flags.kills);
const signals = flags.signals.split(',');
const base = mkdtempSync(join(tmpdir(), 'capi-kill-'));
const config = join(base, 'small.yaml');
writeFileSync(
  config,
  `model: { image_size: 16, patch_size: 4, width: 32, heads: 4, depth: 2, registers: 4, drop_path: 0.2, predictor: { depth: 1 } }
masking: { predict: 1 }
clustering: { prototypes: 256 }
data: { source: 'synthetic:scenes?size=32' }
train: { steps: ${flags.steps}, batch: 8 }
health: { every: 4 }
`,
);

/** Numbers from 0 to 1 (mulberry32), so that a seed gives the same choices again. */
function randomNumbers(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
const random = randomNumbers(Number(flags.seed));

/** Starts `capi pretrain` into `folder`; `ended` gives its exit code or the signal that ended it. */
function start(folder, ...more) {
  const args = ['pretrain', config, '--out', folder, '--threads', flags.threads, '--json', ...more];
  const child = spawn(process.execPath, [flags.capi, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const ended = new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, output }));
  });
  return { child, ended };
}

const metricsOf = (folder) => {
  const file = join(folder, 'metrics.jsonl');
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
};
const namesIn = (folder) => (existsSync(folder) ? readdirSync(folder) : []);
const checkpointsOf = (folder) =>
  namesIn(join(folder, 'checkpoints'))
    .filter((name) => name.endsWith('.safetensors'))
    .sort();
const stepOf = (name) => Number(/\d+/.exec(name ?? '0')[0]);

/** The file's inode: another one once a resumed run has cut its metrics back, 0 without a file. */
const inodeOf = (file) => (existsSync(file) ? statSync(file).ino : 0);

/** Resolves at the moment of `kind` in the process that was just started, or when it has ended. */
async function moment(kind, folder, ended, before, { startup, stepTime, ahead }) {
  let over = false;
  ended.then(() => {
    over = true;
  });
  const stepsSince = () => {
    const own = inodeOf(join(folder, 'metrics.jsonl')) !== before.metrics;
    return own ? Math.max(0, metricsOf(folder).length - before.step) : 0;
  };
  if (kind === 'start') {
    const end = performance.now() + random() * startup;
    while (!over && stepsSince() === 0 && performance.now() < end) await sleep(2);
  } else if (kind === 'step') {
    const [goal, rest] = [1 + Math.floor(random() * ahead), random() * stepTime];
    while (!over && stepsSince() < goal) await sleep(2);
    await sleep(rest);
  } else {
    const checkpoints = join(folder, 'checkpoints');
    while (!over && !existsSync(checkpoints)) await sleep(2);
    if (over) return;
    const watcher = watch(checkpoints);
    const writing = new Promise((resolve) => {
      watcher.on('change', (_, name) => {
        if (`${name}`.endsWith('.partial') && existsSync(join(checkpoints, `${name}`))) resolve();
      });
    });
    await Promise.race([ended, writing]);
    watcher.close();
  }
}

async function leftAlone(folder, ...more) {
  const { child, ended } = start(folder, ...more);
  const begin = performance.now();
  const times = { first: 0 };
  while (child.exitCode === null && metricsOf(folder).length === 0) await sleep(5);
  times.first = performance.now() - begin;
  const { code, signal, output } = await ended;
  if (code !== 0) throw new Error(`a run left alone ended with ${signal ?? code}: ${output}`);
  return { startup: times.first, total: performance.now() - begin };
}

async function main() {
  const steps = Number(flags.steps);
  const whole = join(base, 'whole');
  const broken = join(base, 'broken');
  const { startup, total } = await leftAlone(whole, '--set', `checkpoint.every=${steps}`);
  const stepTime = (total - startup) / steps;
  const counts = { start: 0, step: 0, write: 0, halfWritten: 0, checkpointed: 0 };
  for (let i = 0; i < kills; i++) {
    const before = {
      step: stepOf(checkpointsOf(broken).at(-1)),
      metrics: inodeOf(join(broken, 'metrics.jsonl')),
      time: Date.now(),
    };
    const left = steps - before.step;
    const ahead = Math.max(1, Math.floor(left / (kills - i)) - 3); // never to the end
    // One of each kind first, then by chance.
    const kind =
      i < 3 ? ['step', 'write', 'start'][i] : ['start', 'step', 'step', 'write'][Math.floor(random() * 4)];
    const signal = signals[i % signals.length];
    const { child, ended } = start(broken, '--set', 'checkpoint.every=3', '--set', 'checkpoint.keep=1');
    await moment(kind, broken, ended, before, { startup, stepTime, ahead });
    child.kill(signal);
    const end = await ended;
    if (end.signal !== signal && end.code !== 130)
      throw new Error(
        `kill ${i + 1} (${kind}, ${signal}): it ended with ${end.signal ?? end.code}: ${end.output}`,
      );
    const half = namesIn(join(broken, 'checkpoints')).some(
      (name) =>
        name.endsWith('.partial') && statSync(join(broken, 'checkpoints', name)).mtimeMs > before.time,
    );
    const step = stepOf(checkpointsOf(broken).at(-1));
    const lines = metricsOf(broken).length;
    if (end.code === 130 && existsSync(join(broken, 'identity.json'))) {
      counts.checkpointed++;
      if (step !== lines)
        throw new Error(`kill ${i + 1} (${signal}): ${lines} steps done, the checkpoint holds ${step}`);
    }
    counts[kind]++;
    if (half) counts.halfWritten++;
    console.log(
      `kill ${i + 1}: ${signal} (${kind}), ${lines} of ${steps} steps done, checkpoint at ${step}${half ? ', another half-written' : ''}`,
    );
  }
  await leftAlone(broken, '--set', 'checkpoint.every=3', '--set', 'checkpoint.keep=1');

  const last = (folder) => readFileSync(join(folder, 'checkpoints', checkpointsOf(folder).at(-1)));
  const lines = (folder) =>
    metricsOf(folder).map((text) => {
      const line = JSON.parse(text);
      for (const column of TIME_COLUMNS) delete line[column];
      return JSON.stringify(line);
    });
  const [a, b] = [last(whole), last(broken)];
  const [c, d] = [lines(whole), lines(broken)];
  const same = { checkpoint: a.equals(b), metrics: c.length === steps && c.join('\n') === d.join('\n') };
  console.log(JSON.stringify({ kills, ...counts, steps, checkpointBytes: a.length, same }));
  if (!same.checkpoint || !same.metrics) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
} finally {
  if (flags.keep || process.exitCode === 1) console.log(`folders: ${base}`);
  else rmSync(base, { recursive: true });
}
