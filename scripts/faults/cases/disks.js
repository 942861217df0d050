// Full and read-only disks, folders that go away, too little address space, and torn files of every kind that the product writes.

import { spawnSync } from 'node:child_process';
import { readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mayMount, quoted, shell, shellWithMounts } from '../shell.js';

export const part = 'disks';

const source = 'synthetic:scenes?size=32&count=60&difficulty=0';
const cls = (out = 'evals', ...more) => [
  ...['eval', 'cls', 'pixels:8?size=32', '--train', source, '--test', source],
  ...['--protocol', 'knn.yaml', '--out', out, ...more],
];
const pretrain = (out = 'run', ...more) => ['pretrain', 'tiny.yaml', '--out', out, ...more];
const ablate = (out = 'grid') => ['ablate', '--grid', 'grid.yaml', '--out', out];
const report = (out) => ['report', 'grid', '--out', out];
const encoder = (out) => ['export', 'random:tiny.yaml?seed=1', '--out', `${out}/a.onnx`];
const viz = (out) => ['eval', 'viz', 'pixels:8?size=32', '--data', 'synthetic:scenes?size=32', '--out', out];

const prepare = ({ dir, make }) => {
  make.file(join(dir, 'tiny.yaml'), make.TINY);
  make.file(join(dir, 'knn.yaml'), make.KNN);
  make.file(
    join(dir, 'grid.yaml'),
    `name: g\nbase: tiny.yaml\nseeds: 1\nset: { train.steps: 2 }\narms: { lr: { optim.lr: 1.0e-3 } }\nevals: [{ task: cls, protocol: knn.yaml, train: '${source}', test: '${source}' }]\n`,
  );
};
const prepared =
  (...args) =>
  async (o) => {
    prepare(o);
    await o.capi(args.flat());
  };

/** A command on a disk of `size`, which may be enough; with more space the same command must work. */
const full = (what, size, args, { before, cache = false, ci = false } = {}) => ({
  name: `${what}, on a disk of ${size}`,
  ci,
  within: 60,
  make: before ? prepared(before) : prepare,
  run: ({ dir }) =>
    shellWithMounts(
      `mkdir disk; mount -t tmpfs -o size=${size} none disk; ${cache ? 'export CAPI_CACHE=$PWD/disk/cache;' : ''}
       $CAPI ${quoted(args)}; first=$?; [ $first = 0 ] && exit 0
       mount -o remount,size=64m disk
       $CAPI ${quoted(args)} > again 2>&1 || { cat again; exit 99; }
       [ -z "$(find disk -name '*.partial*')" ] || { find disk -name '*.partial*'; exit 98; }
       exit $first`,
      dir,
    ),
  code: [0, 4],
  says: /^error: .*disk full|^(?!error)/m,
});

/** Cells that fail on a full disk are counted, not fatal: the ablation says why, and the same command makes them with more space. */
const fullAblation = (size) => {
  const one = full('an ablation', size, ablate('disk/grid'));
  return {
    ...one,
    within: 90,
    run: async (o) => {
      const result = await one.run(o);
      return result.code === 1 ? { ...result, code: 0 } : result;
    },
    code: [0, 4],
    says: /disk full/,
  };
};

/** A command whose output lies on a disk that cannot be written. */
const readOnly = (what, args, before) => ({
  name: `${what}, to a read-only disk`,
  within: 60,
  make: before ? prepared(before) : prepare,
  run: ({ dir }) =>
    shellWithMounts(
      `mkdir disk; mount -t tmpfs none disk; mount -o remount,ro disk; $CAPI ${quoted(args)}`,
      dir,
    ),
  code: 4,
  says: /cannot write .*EROFS/,
});

const evaluated = ({ dir }) => {
  const found = readdirSync(join(dir, 'evals')).filter((name) => /^[0-9a-f]{16}$/.test(name));
  return found.length === 1 ? undefined : `${found.length} records`;
};

/** An evaluation whose cache cannot be written: it works, says so once, and leaves no temporary features behind. */
const withCache = (name, before, { says = /features are not kept: /, mounts = true, env } = {}) => ({
  name,
  make: prepare,
  run: ({ dir }) => {
    const script = `mkdir -p cache tmp; export TMPDIR=$PWD/tmp; ${before}\n$CAPI ${quoted(cls())}`;
    return mounts ? shellWithMounts(script, dir) : shell(script, dir, { env });
  },
  says,
  check: (o) => {
    const times = o.result.stderr.match(/features are not kept/g)?.length ?? 0;
    if (says.test('features are not kept: ') && times !== 1) return `it is said ${times} times`;
    const left = readdirSync(join(o.dir, 'tmp')).filter((file) => file.startsWith('capi-'));
    return left.length > 0 ? `${left} are left` : evaluated(o);
  },
});

const torn = (name, args, find, { texts = ['', 40], again = args, code = 0, says } = {}) =>
  texts.map((text) => ({
    name: `${name}, ${text === '' ? 'empty' : text === 0 ? 'zeros' : 'cut off'}`,
    within: 60,
    make: async (o) => {
      prepare(o);
      await o.capi(args);
      const path = spawnSync('find', ['.', '-name', find], { cwd: o.dir, encoding: 'utf8' }).stdout.split(
        '\n',
      )[0];
      if (!path) throw new Error(`there is no ${find}`);
      const file = join(o.dir, path);
      if (typeof text === 'string') writeFileSync(file, text);
      else truncateSync(file, text);
    },
    run: again,
    code,
    ...(says ? { says } : {}),
  }));

const limited = (megabytes) => ({
  name: `${megabytes} MB of address space`,
  make: prepare,
  run: ({ dir }) => shell(`ulimit -v ${megabytes * 1000}; $CAPI ${quoted(pretrain())}`, dir),
  code: [0, 2, 4],
  says: /^error: too little memory|^error: .*does not load|^(?!error)/m,
});

const onMounts = [
  ...['64k', '128k', '256k', '512k', '1m', '2m', '4m', '8m'].map((size) =>
    full('a run', size, pretrain('disk/run', '--set', 'clustering.prototypes=1024'), { ci: size === '256k' }),
  ),
  ...['4k', '16k', '32k'].map((size) =>
    full('an evaluation', size, cls('disk/evals'), { ci: size === '4k' }),
  ),
  ...['8k', '16k', '64k'].map((size) => full('the cache', size, cls(), { cache: true, ci: size === '16k' })),
  ...['16k', '128k', '512k'].map(fullAblation),
  full('a report', '8k', report('disk/report'), { before: ablate() }),
  full('an export', '16k', encoder('disk')),
  full('pictures', '8k', viz('disk/pictures')),
  readOnly('a run', pretrain('disk/run')),
  readOnly('an evaluation', cls('disk/evals')),
  readOnly('an ablation', ablate('disk/grid')),
  readOnly('a report', report('disk/report'), ablate()),
  readOnly('an export', encoder('disk')),
  readOnly('pictures', viz('disk/pictures')),
  { ...withCache('an empty cache on a read-only disk', 'mount -t tmpfs -o ro none cache'), ci: true },
  withCache(
    'a cache on a read-only disk, without locks of the system',
    'mount -t tmpfs -o ro none cache; export CAPI_LOCKS=names',
  ),
  withCache(
    'a filled cache on a read-only disk is used',
    `$CAPI ${quoted(cls('other'))} > /dev/null 2>&1; mount --bind cache cache; mount -o remount,ro,bind cache`,
    { says: /accuracy|top-1|k-NN/i },
  ),
];

export const cases = [
  ...(mayMount ? onMounts : []),
  withCache('a cache that is a file', 'rmdir cache; echo mine > cache', { mounts: false }),
  withCache('a cache below a file', 'rmdir cache; echo mine > cache; export CAPI_CACHE=$PWD/cache/a/b', {
    mounts: false,
  }),
  withCache('a cache where no file can be', 'export CAPI_CACHE=/proc', { mounts: false }),
  withCache('a cache below a folder that takes none', 'export CAPI_CACHE=/proc/no/cache', { mounts: false }),
  {
    name: 'a run into a folder that takes no files',
    make: prepare,
    run: pretrain('/proc/run'),
    code: [2, 4],
    says: /\/proc/,
  },
  ...['rm -rf run', 'mv run moved'].map((what) => ({
    name: `${what} while it is trained`,
    make: prepare,
    run: ({ dir }) =>
      shell(
        `$CAPI ${quoted(pretrain('run', '--steps', '3000'))} & child=$!; i=0
         until [ -s run/metrics.jsonl ] || [ $((i++)) = 200 ]; do sleep 0.1; done; ${what}; wait $child`,
        dir,
      ),
    code: 4,
    says: /cannot write|ENOENT|gone/,
  })),
  // Below 2500 MB Node itself may die (V8 reserves its code range, libraries throw bad_alloc) before a line of ours can be said.
  ...[3000, 12000].map(limited),
  ...torn('an entry of the cache', cls(), 'entry.json', { again: cls('evals', '--force') }),
  ...torn('features', cls(), 'patches.mat', { again: cls('evals', '--force') }),
  ...torn('features of another evaluation', cls(), 'patches.mat', {
    again: cls('other'),
    code: 4,
    says: /capi data cache --prune/,
  }),
  ...torn('the plan of an ablation', ablate(), 'plan.json'),
  ...torn('the runs of an ablation', ablate(), 'runs.json'),
  ...torn('the outcome of a run', ablate(), 'outcome.json'),
  ...torn('a cell', ablate(), 'cell.json'),
  ...torn('test readings', cls(), 'test-reads.jsonl', { again: cls('evals', '--force') }),
  ...torn('predictions', cls(), 'predictions-*.safetensors', { again: cls('evals', '--force') }),
  ...torn('the lines of metrics', pretrain(), 'metrics.jsonl'),
  ...torn('the environment of a run', pretrain(), 'environment.json'),
  {
    name: 'a list of jobs that is torn says what to do',
    make: async (o) => {
      prepare(o);
      await o.capi(ablate());
      o.make.file(join(o.dir, 'grid/slurm/jobs.json'), '[{"job":');
    },
    run: [...ablate(), '--executor', 'slurm'],
    code: 4,
    says: /jobs\.json is damaged .* delete the file, and run the same command again/,
  },
];
