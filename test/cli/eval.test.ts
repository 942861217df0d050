// `capi eval cls`, `seg` and `compare`, and `capi data cache`, as a user runs them: records, what is found again, refusals.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { smallRun, temporaryFolder } from '../pretrain/small_run.js';
import { capi, root } from './capi.js';

const folder = temporaryFolder();
const run = join(folder, 'run');
const cache = join(folder, 'cache');
const data = 'synthetic:scenes?size=32&count=60&difficulty=0';
const protocol = join(folder, 'tiny.yaml');

beforeAll(async () => {
  await smallRun(run, ['train.steps=2']);
  const quick = parse(readFileSync(join(root, 'benchmarks/protocols/quick.yaml'), 'utf8'));
  const { classification: cls, segmentation: seg } = quick;
  const tiny = {
    classification: {
      ...cls,
      ...{ learning_rates: [1e-2, 1e-1], weight_decays: [5e-4], batch: 16, steps: 20, warmup_steps: 2 },
      knn: { ...cls.knn, k: [1, 5] },
      few_shot: { ...cls.few_shot, shots: [1], draws: 2 },
    },
    segmentation: {
      ...seg,
      knn: { k: [1, 3], metrics: ['cosine'] },
      logreg: { ...seg.logreg, C: [1e-2, 1] },
      linear: { ...seg.linear, learning_rates: [1e-2, 1e-1], batch: 4, steps: 10, warmup_steps: 1 },
    },
  };
  mkdirSync(cache);
  writeFileSync(protocol, JSON.stringify(tiny));
});

const evaluate = (...args: string[]) =>
  capi(['eval', ...args, '--protocol', protocol, '--threads', '1'], { CAPI_CACHE: cache });
const both = ['--train', data, '--test', data];

interface Output {
  results: {
    encoder: string;
    task: string;
    head: string;
    metric: string;
    convention: string;
    value: number;
  }[];
  protocol: { name: string; hash: string };
  record: string;
  records: { encoder: string; record: string; new: boolean }[];
  comparisons: {
    a: string;
    b: string;
    scores: { head: string; a: number; b: number; difference: { value: number } }[];
  }[];
}
const json = (text: string): Output => JSON.parse(text) as Output;

describe('capi eval', () => {
  it.each([
    ['cls', ['linear', 'attentive', 'knn', 'centroid-1shot', 'logistic-1shot']],
    ['seg', ['knn', 'logreg', 'linear', 'oracle']],
  ])('%s: records, paired comparisons, found again, made again by --force', (task, heads) => {
    const out = join(folder, task);
    const command = [task, run, ...both, '--floors', '--out', out, '--json'];
    const first = evaluate(...command);
    expect(first.code, first.stderr + first.stdout).toBe(0);
    const made = json(first.stdout);
    expect(made.records.map(({ encoder }) => encoder.split(':')[0])).toEqual([
      run,
      'random',
      'pixels',
      'position',
    ]);
    for (const head of heads) {
      expect(made.results.some((r) => r.encoder === run && r.head === head && r.task === task)).toBe(true);
    }
    for (const { scores } of made.comparisons) {
      for (const { a, b, difference } of scores) expect(difference.value).toBeCloseTo(a - b, 12);
    }
    const record = JSON.parse(readFileSync(made.record, 'utf8'));
    expect(record.protocol.hash).toBe(made.protocol.hash);
    expect(record.grid.length).toBeGreaterThan(0);
    expect(record.tests[0].reads).toBe(1);

    const again = json(evaluate(...command).stdout);
    expect(again.records.map((r) => r.new)).toEqual([false, false, false, false]);
    expect(again.results).toEqual(made.results);

    const forced = json(evaluate(task, run, ...both, '--out', out, '--json', '--force').stdout);
    expect(forced.record).toBe(made.record.replace('record.json', 'record-2.json'));
    expect(forced.results.map((r) => r.value)).toEqual(
      made.results.filter((r) => r.encoder === run).map((r) => r.value),
    );
    expect(readFileSync(join(out, 'test-reads.jsonl'), 'utf8').trimEnd().split('\n')).toHaveLength(5);
  });

  it('compares a record with itself and with another, and refuses those of different tasks', () => {
    const of = (task: string, i: number): string => {
      const out = join(folder, task);
      return json(evaluate(task, run, ...both, '--floors', '--out', out, '--json').stdout).records[i]!.record;
    };
    const same = capi(['eval', 'compare', of('seg', 0), of('seg', 0), '--json']);
    const { comparisons } = JSON.parse(same.stdout) as {
      comparisons: { difference: { value: number; low: number; high: number }; differ: boolean }[];
    };
    for (const { difference, differ } of comparisons) {
      // Alike on every image, which so many images can show only so closely.
      expect(difference.value).toBe(0);
      expect(difference.high).toBeGreaterThan(0);
      expect(difference.low).toBeCloseTo(-difference.high, 12);
      expect(differ).toBe(false);
    }
    const two = capi(['eval', 'compare', of('cls', 0), of('cls', 1)]);
    expect(two.code).toBe(0);
    expect(two.stdout).toContain('attentive');
    const wrong = capi(['eval', 'compare', of('cls', 0), of('seg', 0)]);
    expect([wrong.code, wrong.stderr]).toEqual([4, expect.stringContaining('nothing to compare')]);
  });

  it('prints a table, or CSV', () => {
    const table = evaluate('seg', run, ...both, '--out', join(folder, 'seg'));
    expect(table.stdout).toContain('miou');
    expect(table.stdout).toContain('test reads');
    const csv = evaluate('seg', run, ...both, '--out', join(folder, 'seg'), '--csv')
      .stdout.trim()
      .split('\n');
    expect(csv[0]).toContain('encoder,task,test,source,head,metric,convention,value,low,high,n');
    expect(csv).toHaveLength(1 + 4 * 5);
  });

  it('plans without writing', () => {
    const out = join(folder, 'planned');
    const plan = evaluate('seg', run, ...both, '--out', out, '--dry-run', '--json');
    expect(JSON.parse(plan.stdout).plan.encoders[0]).toMatchObject({
      images: 120,
      stored: 120, // evaluated above
      diskBytes: 0,
      vectors: 120 * 16,
      width: 16,
    });
    const all = evaluate('seg', run, ...both, '--limit', '20', '--out', out, '--dry-run', '--json');
    expect(JSON.parse(all.stdout).plan.encoders[0]).toMatchObject({ images: 40, stored: 0 });
    expect(existsSync(out)).toBe(false);
  });

  it('refuses what cannot be evaluated in one line that names it', () => {
    const refusals: [string[], number, RegExp][] = [
      [['seg', run, '--train', 'idx:/nowhere', '--test', data], 4, /nowhere/],
      [['seg', 'nothing', ...both], 2, /no encoder 'nothing'/],
      [['seg', run, ...both, '--test', data], 2, /named twice/],
      [['seg', run, ...both, '--memory', 'much'], 2, /--memory is much/],
    ];
    for (const [args, code, message] of refusals) {
      const { code: actual, stderr } = evaluate(...args);
      expect([actual, stderr.trim().split('\n').at(-1)]).toEqual([code, expect.stringMatching(message)]);
    }
    const unknown = capi(['eval', 'cls', run, ...both, '--protocol', 'quik']);
    expect([unknown.code, unknown.stderr]).toEqual([
      2,
      expect.stringContaining('accepted: ablation, official, quick, quickstart'),
    ]);
    writeFileSync(join(folder, 'bad.yaml'), 'segmentation: { standardise: maybe }');
    const bad = capi(['eval', 'seg', run, ...both, '--protocol', join(folder, 'bad.yaml')]);
    expect([bad.code, bad.stderr]).toEqual([2, expect.stringContaining('segmentation.')]);
  });
});

describe('capi data cache', () => {
  const store = (...args: string[]) => capi(['data', 'cache', ...args], { CAPI_CACHE: cache });

  it('lists what evaluations stored, and removes what is chosen', () => {
    const { entries } = JSON.parse(store('--json').stdout) as { entries: { name: string; kind: string }[] };
    expect(new Set(entries.map(({ kind }) => kind))).toEqual(new Set(['features', 'labels']));
    expect(readdirSync(cache)).toEqual(expect.arrayContaining(entries.map(({ name }) => name)));
    const name = entries[0]!.name;
    expect(store('--prune', name, '--dry-run').stdout).toContain('1 entries would be removed');
    expect(readdirSync(cache)).toContain(name);
    store('--prune', name);
    expect(readdirSync(cache)).not.toContain(name);
    expect(store('--prune', name).code).toBe(2);
    expect(store('--keep', '0').stdout).toContain(`${entries.length - 1} entries removed`);
  });
});
