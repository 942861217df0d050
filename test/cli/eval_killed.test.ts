// Evaluations that are killed with SIGKILL, with features computed once and with new crops at every step, and predictions that were damaged.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { smallRun, temporaryFolder } from '../pretrain/small_run.js';
import { capi, root } from './capi.js';

const folder = temporaryFolder();
const run = join(folder, 'run');
const data = 'synthetic:scenes?size=32&count=60&difficulty=0';
const entry = join(root, 'dist/src/main.js');

beforeAll(async () => {
  await smallRun(run, ['train.steps=2']);
  const quick = parse(readFileSync(join(root, 'benchmarks/protocols/quick.yaml'), 'utf8'));
  const { classification, segmentation } = quick;
  const heads = { learning_rates: [1e-2, 1e-1], weight_decays: [5e-4], batch: 8, steps: 60, warmup_steps: 2 };
  const transform = { ...classification.transform, crop_scale: [0.5, 1], flip: 0.5 };
  const plain = { ...classification, ...heads, knn: null, few_shot: null };
  const protocols = {
    cached: { classification: plain },
    augmented: { classification: { ...plain, features: 'augmented', transform } },
    seg: {
      segmentation: {
        ...segmentation,
        knn: { k: [1, 3], metrics: ['cosine', 'l2'] },
        logreg: { ...segmentation.logreg, C: [1e-4, 1e-2, 1] },
        linear: { ...segmentation.linear, learning_rates: [1e-2], batch: 4, steps: 60, warmup_steps: 1 },
      },
    },
  };
  for (const [name, protocol] of Object.entries(protocols)) {
    writeFileSync(join(folder, `${name}.yaml`), JSON.stringify(protocol));
  }
});

/** Arguments of one evaluation, and the environment with a feature store of its own. */
const evaluation = (task: string, protocol: string, name: string) => ({
  args: [
    ...['eval', task, run, '--train', data, '--test', data, '--threads', '1', '--json'],
    ...['--protocol', join(folder, `${protocol}.yaml`), '--out', join(folder, name)],
  ],
  env: { CAPI_CACHE: join(folder, `${name}-cache`) },
});
type Printed = { results: { head: string; value: number }[]; record: string };
const finish = ({ args, env }: ReturnType<typeof evaluation>): Printed => {
  const { code, stdout, stderr } = capi(args, env);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Printed;
};

describe('a killed evaluation', () => {
  it.each([
    ['cls', 'cached'],
    ['cls', 'augmented'],
    ['seg', 'seg'],
  ])('%s, %s: the same command ends with the same numbers and predictions', async (task, protocol) => {
    const begun = performance.now();
    const whole = finish(evaluation(task, protocol, `${protocol}-whole`));
    const took = performance.now() - begun;
    const killed = evaluation(task, protocol, `${protocol}-killed`);
    mkdirSync(killed.env.CAPI_CACHE);
    let kills = 0;
    for (const share of [0.4, 0.6, 0.8]) {
      const child = spawn(process.execPath, [entry, ...killed.args], {
        cwd: root,
        env: { ...process.env, ...killed.env },
        stdio: 'ignore',
      });
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await Promise.race([ended, pause(share * took)]);
      if (child.kill('SIGKILL')) kills++;
      await ended;
    }
    expect(kills).toBeGreaterThan(0);
    const resumed = finish(killed);
    expect(resumed.results).toEqual(whole.results);
    const predictions = ({ record }: Printed) => JSON.parse(readFileSync(record, 'utf8')).predictions.sha256;
    expect(predictions(resumed)).toBe(predictions(whole));
  });
});

describe('damaged predictions', () => {
  it('are refused with the name of the file', () => {
    const { record } = finish(evaluation('cls', 'cached', 'cached-whole'));
    const { file } = JSON.parse(readFileSync(record, 'utf8')).predictions as { file: string };
    const path = join(dirname(record), file);
    const bytes = readFileSync(path);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(path, bytes);
    const { code, stderr } = capi(['eval', 'compare', record, record]);
    expect([code, stderr]).toEqual([4, expect.stringContaining(`${path} is not the file that`)]);
  });
});
