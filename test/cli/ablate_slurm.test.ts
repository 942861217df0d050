// The same grid through a real one-node Slurm and on this machine: equal rows, with a cell that is preempted and one that fails.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { comparableCells, tinyProtocol } from '../support/cells.js';
import { suiteNeeding } from '../support/suites.js';
import { capi, root } from './capi.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-slurm-'));
const cluster = join(folder, 'cluster');
const script = `${root}scripts/start-local-slurm.sh`;
const env = { SLURM_CONF: join(cluster, 'slurm.conf') };
const slurm = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { encoding: 'utf8', env: { ...process.env, ...env } }).trim();
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const protocol = tinyProtocol(folder);
const grid = join(folder, 'grid.yaml');
writeFileSync(
  grid,
  `name: cluster
base: quickstart
set:
  model: { image_size: 32, width: 16, heads: 2, depth: 1, predictor: { depth: 1 } }
  clustering.prototypes: 16
  data.source: 'synthetic:scenes?size=32&count=200'
  train: { steps: 1000, batch: 16 }
  checkpoint.every: 1000
design: one-factor
axes: { predictor: [fused], registers: [0] }
seeds: 1
evals: [{ task: seg, protocol: ${protocol}, limit: 30 }]
slurm: { partition: main, time: 10, at_once: 2 }
`,
);

interface State {
  arm: string;
  state: string;
  reason: string | null;
}
const ablate = (out: string, ...args: string[]) => {
  const run = capi(['ablate', '--grid', grid, '--out', out, '--json', ...args], env);
  const cells = run.stdout.startsWith('{')
    ? ((JSON.parse(run.stdout) as { cells?: State[] }).cells ?? [])
    : [];
  return { ...run, states: Object.fromEntries(cells.map((c) => [c.arm, c])) };
};

async function until(what: string, holds: () => boolean, seconds = 90): Promise<void> {
  const end = Date.now() + 1000 * seconds;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s\n${slurm('squeue', '--array')}`);
    await sleep(300);
  }
}

suiteNeeding('slurm')('capi ablate --executor slurm', () => {
  const [local, scheduled] = [join(folder, 'local'), join(folder, 'scheduled')];
  let broken: string;
  beforeAll(() => {
    const port = 20000 + (process.pid % 20000);
    execFileSync(script, [cluster, `${port}`, `${port + 1}`], { stdio: 'ignore' });
    const run = ablate(local);
    expect(run.code, run.stdout + run.stderr).toBe(0);
    const runs = JSON.parse(readFileSync(join(local, 'runs.json'), 'utf8')).runs as {
      id: string;
      arm: number;
    }[];
    broken = runs.find(({ arm }) => arm === 2)!.id;
  });
  afterAll(() => {
    spawnSync('scancel', ['--me'], { env: { ...process.env, ...env } });
    spawnSync(script, ['--stop', cluster]);
  });

  it('gives the same rows, though one run was preempted and another failed', async () => {
    mkdirSync(join(scheduled, 'runs'), { recursive: true });
    writeFileSync(join(scheduled, 'runs', broken), 'in the way'); // this run cannot have its folder
    const first = ablate(scheduled, '--executor', 'slurm');
    expect(first.code, first.stdout + first.stderr).toBe(0);
    expect(first.states.base!.state).toMatch(/queued|running/);
    // A second call submits nothing twice.
    const jobs = readFileSync(join(scheduled, 'slurm/jobs.json'), 'utf8');
    expect(ablate(scheduled, '--executor', 'slurm').code).toBe(0);
    expect(readFileSync(join(scheduled, 'slurm/jobs.json'), 'utf8')).toBe(jobs);

    // A run that has begun is preempted by a job of another partition.
    const base = JSON.parse(readFileSync(join(scheduled, 'runs.json'), 'utf8')).runs.find(
      ({ arm }: { arm: number }) => arm === 0,
    ).id;
    const lines = (): number => {
      const file = join(scheduled, 'runs', base, 'metrics.jsonl');
      return existsSync(file) ? readFileSync(file, 'utf8').split('\n').length : 0;
    };
    await until('the run begins', () => lines() > 20);
    const urgent = slurm(
      'sbatch',
      '--parsable',
      '--partition=urgent',
      '--exclusive',
      '--output=/dev/null',
      '--wrap=sleep 1',
    );
    await until(
      'the urgent job is through',
      () => !slurm('squeue', '--noheader', '--format=%A').split('\n').includes(urgent),
    );

    const pending = () =>
      Object.values(ablate(scheduled, '--executor', 'slurm', '--status').states).filter(({ state }) =>
        /queued|running|waiting/.test(state),
      );
    const end = Date.now() + 150_000;
    while (pending().length > 0 && Date.now() < end) await sleep(1000);
    const { states } = ablate(scheduled, '--executor', 'slurm', '--status');
    expect(states.base!.state, JSON.stringify(states)).toBe('done');
    expect(states['predictor=fused']!.state).toBe('done');
    expect(states['registers=0']).toMatchObject({
      state: 'failed',
      reason: expect.stringMatching(/cannot be a run folder|it is a file|ENOTDIR/),
    });

    const log = readFileSync(join(scheduled, 'runs', base, 'log.txt'), 'utf8');
    expect(log).toMatch(/stopped: interrupted by SIGUSR2 at step \d+ of 1000; checkpoint: /);
    expect(log).toMatch(/resuming .* at step \d+ of 1000/);
    const wanted = comparableCells(local);
    const got = comparableCells(scheduled);
    expect(Object.keys(got)).toHaveLength(2);
    for (const [id, cell] of Object.entries(got)) expect(cell).toEqual(wanted[id]);

    // What failed is tried again when it is asked for again, and only that.
    rmSync(join(scheduled, 'runs', broken));
    expect(ablate(scheduled, '--executor', 'slurm').code).toBe(0);
    const all = JSON.parse(readFileSync(join(scheduled, 'slurm/jobs.json'), 'utf8')) as { tasks: object }[];
    expect(all.slice(-2).map(({ tasks }) => Object.keys(tasks))).toEqual([['2'], ['2']]);
    await until(
      'the last cell',
      () =>
        readdirSync(join(scheduled, 'cells')).length === 3 &&
        ablate(scheduled, '--status').states['registers=0']!.state === 'done',
    );
    expect(comparableCells(scheduled)).toEqual(wanted);
  }, 400_000);

  it('a cancelled task stays cancelled, is shown as such, and goes on when it is asked for again', async () => {
    const out = join(folder, 'can celled');
    const asked = (...args: string[]) =>
      ablate(out, '--only', 'predictor=fused', '--executor', 'slurm', ...args).states['predictor=fused']!;
    const jobs = (): { job: string }[] => JSON.parse(readFileSync(join(out, 'slurm/jobs.json'), 'utf8'));
    expect(asked().state).toMatch(/queued|running/);
    const metrics = (): boolean =>
      existsSync(join(out, 'runs')) &&
      readdirSync(join(out, 'runs')).some((run) => existsSync(join(out, 'runs', run, 'metrics.jsonl')));
    await until('the run begins', metrics);
    slurm('scancel', jobs()[0]!.job);
    await until('nothing is left', () => slurm('squeue', '--noheader') === '');
    await sleep(2000);
    expect(slurm('squeue', '--noheader')).toBe('');
    expect(asked('--status')).toMatchObject({
      state: 'failed',
      reason: expect.stringMatching(/^pretraining \d+_1 left the queue without a record \(CANCELLED/),
    });
    expect(asked().state).toMatch(/queued|running/);
    expect(jobs()).toHaveLength(4);
    slurm('scancel', '--me');
  });

  it('passes on in one line what sbatch has against a job', () => {
    const odd = join(folder, 'odd.yaml');
    writeFileSync(
      odd,
      readFileSync(grid, 'utf8')
        .replace('partition: main', 'partition: nowhere')
        .replace('name: cluster', 'name: odd'),
    );
    const run = capi(['ablate', '--grid', odd, '--out', join(folder, 'odd'), '--executor', 'slurm'], env);
    expect(run.code).toBe(2);
    expect(run.stderr).toMatch(/^error: sbatch refused: .*invalid partition/i);
  });
});

it('says where sbatch is missing', () => {
  const out = join(folder, 'none');
  const run = capi(['ablate', '--grid', grid, '--out', out, '--executor', 'slurm'], { PATH: '/nowhere' });
  expect(run.code).toBe(2);
  expect(run.stderr).toMatch(/--executor slurm needs sbatch, which does not start here: .*login node/);
});
