// Two processes on one folder, stops, closed pipes, limits, and files that a kill left torn.

import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { race } from '../race.js';
import { shell } from '../shell.js';

export const part = 'processes';

const source = 'synthetic:scenes?size=32&count=60&difficulty=0';
const cls = (...more) => [
  ...['eval', 'cls', 'pixels:8?size=32', '--train', source, '--test', source],
  ...['--protocol', 'knn.yaml', '--out', 'evals', ...more],
];
const pretrain = (...more) => ['pretrain', 'tiny.yaml', '--out', 'run', ...more];
const ablate = (...more) => ['ablate', '--grid', 'grid.yaml', '--out', 'grid', ...more];

const prepare = ({ dir, make }) => {
  make.file(join(dir, 'tiny.yaml'), make.TINY);
  make.file(join(dir, 'knn.yaml'), make.KNN);
  make.file(
    join(dir, 'grid.yaml'),
    `name: g\nbase: tiny.yaml\nseeds: 1\nset: { train.steps: 2 }\narms: { lr: { optim.lr: 1.0e-3 } }\nevals: [{ task: cls, protocol: knn.yaml, train: '${source}', test: '${source}' }]\n`,
  );
};
const lines = (file) => readFileSync(file, 'utf8').trimEnd().split('\n');
const record = (dir) => {
  const id = readdirSync(join(dir, 'evals')).find((name) => /^[0-9a-f]{16}$/.test(name));
  return join(dir, 'evals', id, 'record.json');
};

const several = async (capi, count, args) => {
  const all = await Promise.all(Array.from({ length: count }, () => capi(args)));
  return { ...all[0], all };
};

/** A record that a fault left as `text`, then the same command. */
const tornRecord = (name, text) => ({
  name: `a record that is ${name} is made again`,
  make: async (o) => {
    prepare(o);
    await o.capi(cls());
    writeFileSync(record(o.dir), text(readFileSync(record(o.dir), 'utf8')));
  },
  run: cls(),
  says: /was torn, .* it is record\.json\.torn-1 now, and made again/,
  check: ({ dir }) => {
    JSON.parse(readFileSync(record(dir), 'utf8'));
  },
});

const tornFile = (name, file, args, text = '') => ({
  name,
  within: 60,
  make: async (o) => {
    prepare(o);
    await o.capi(args);
    const path = file(o.dir);
    if (text === null) truncateSync(path, 40);
    else writeFileSync(path, text);
  },
  run: args,
  check: ({ dir }) => {
    JSON.parse(readFileSync(file(dir), 'utf8'));
    return existsSync(`${file(dir)}.torn-1`) ? undefined : 'the torn file was not set aside';
  },
});

const stop = (signal, code) => ({
  name: `${signal} in the middle of a run writes a checkpoint`,
  ci: signal === 'SIGHUP',
  make: prepare,
  run: ({ capi }) => capi(pretrain('--steps', '100000'), { signal, after: /"step"/ }),
  code,
  says: new RegExp(`interrupted by ${signal} at step \\d+ of 100000; checkpoint:`),
  check: ({ dir }) => (readdirSync(join(dir, 'run/checkpoints')).length > 0 ? undefined : 'no checkpoint'),
});

const pipe = (name, script, extra = {}) => ({
  name,
  make: prepare,
  run: ({ dir }) => shell(script, dir),
  ...extra,
});

const limited = (name, limit, args) => ({
  name,
  make: prepare,
  run: ({ dir }) => shell(`${limit}; $CAPI ${args.map((word) => `'${word}'`).join(' ')}`, dir),
  code: [0, 2, 4],
  says: /^error: too few file descriptors|^(?!error)/m,
  check: ({ result }) =>
    /Cannot find module|ERR_MODULE|core dumped|terminate called/.test(result.stderr)
      ? `it ends with ${result.stderr.slice(0, 200)}`
      : undefined,
});

/** Processes of capi that work in a folder. */
function workersIn(dir) {
  const real = realpathSync(dir);
  return readdirSync('/proc').filter((pid) => {
    try {
      return (
        /^\d+$/.test(pid) &&
        readlinkSync(`/proc/${pid}/cwd`) === real &&
        readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('main.js')
      );
    } catch {
      return false; // it ended meanwhile
    }
  });
}

export const cases = [
  {
    name: 'a second pretrain on a folder is refused',
    within: 90,
    make: prepare,
    run: async ({ capi }) => {
      const both = await Promise.all([1, 2].map(() => capi(pretrain('--steps', '300'))));
      const second = both.findIndex(({ code }) => code !== 0);
      return { ...both[Math.max(0, second)], first: both[second === 0 ? 1 : 0] };
    },
    code: 2,
    says: /run is in use by process \d+ on .* \(capi pretrain\), since/,
    check: ({ dir, result }) => {
      if (result.first.code !== 0) return 'neither ended well';
      const n = lines(join(dir, 'run/metrics.jsonl')).length;
      return n === 300 ? undefined : `${n} lines of metrics, 300 steps`;
    },
  },
  {
    name: 'three evaluations at once read the test set once',
    ci: true,
    make: prepare,
    run: ({ capi }) => several(capi, 3, cls()),
    check: ({ dir, result }) => {
      if (result.all.some(({ code }) => code !== 0)) return 'one of them failed';
      const reads = lines(join(dir, 'evals/test-reads.jsonl')).length;
      return reads === 1 ? undefined : `the test set was read ${reads} times`;
    },
  },
  {
    name: 'three ablations at once run every cell once',
    within: 60,
    make: prepare,
    run: ({ capi }) => several(capi, 3, ablate()),
    check: ({ result }) => {
      if (result.all.some(({ code }) => code !== 0)) return 'one of them failed';
      const done = result.all.flatMap(({ stderr }) => stderr.match(/seed 0: done/g) ?? []).length;
      return done === 2 ? undefined : `${done} runs were done, the grid has 2`;
    },
  },
  {
    name: 'two exports of one file at once',
    make: prepare,
    run: ({ capi }) => several(capi, 2, ['export', 'random:tiny.yaml?seed=1', '--out', 'a.onnx']),
    code: [0, 2],
    check: ({ dir, result }) => {
      if (!result.all.some(({ code }) => code === 0)) return 'none ended well';
      const left = readdirSync(dir).filter((name) => /partial|lock/.test(name));
      return left.length === 0 ? undefined : `${left} are left`;
    },
  },
  {
    name: 'a lock that a killed process left is no lock',
    ci: true,
    make: (o) => {
      prepare(o);
      mkdirSync(join(o.dir, 'run'));
      writeFileSync(join(o.dir, 'run/run.lock'), '{"pid":1,"host":"elsewhere","start":"","doing":"x"}');
    },
    run: pretrain(),
    says: /trained 4 steps/,
  },
  ...['', 'null', '[]', '{"pid":0}', '{"pid":-1,"host":"h"}', '\0\0\0'].map((text) => ({
    name: `a lock file that holds ${JSON.stringify(text)}`,
    make: (o) => {
      prepare(o);
      mkdirSync(join(o.dir, 'run'));
      writeFileSync(join(o.dir, 'run/run.lock'), text);
    },
    run: pretrain(),
    says: /trained 4 steps/,
  })),
  ...['', 'null', '{"pid":0}'].map((text) => ({
    name: `a lock file that holds ${JSON.stringify(text)}, without the system's locks`,
    make: (o) => {
      prepare(o);
      mkdirSync(join(o.dir, 'run'));
      writeFileSync(join(o.dir, 'run/run.lock'), text);
    },
    run: ({ capi }) => capi(pretrain(), { env: { CAPI_LOCKS: 'names' } }),
    says: /trained 4 steps/,
  })),
  ...[
    { minutes: 0, code: 2, says: /run is in use by process 7 on another/ },
    { minutes: 11, code: 0, says: /trained 4 steps/ },
  ].map(({ minutes, code, says }) => ({
    name: `a lock of another machine, renewed ${minutes} minutes ago, without the system's locks`,
    make: (o) => {
      prepare(o);
      mkdirSync(join(o.dir, 'run'));
      const file = join(o.dir, 'run/run.lock');
      writeFileSync(file, '{"pid":7,"host":"another","start":"","doing":"capi pretrain"}');
      const time = new Date(Date.now() - minutes * 60_000);
      utimesSync(file, time, time);
    },
    run: ({ capi }) => capi(pretrain(), { env: { CAPI_LOCKS: 'names' } }),
    code,
    says,
  })),
  ...['system', 'names'].map((kind) => ({
    name: `60 races of six processes for a dead lock, one holder each (${kind})`,
    within: 60,
    ci: true,
    run: () => undefined,
    check: async ({ dir }) => (await race({ dir, kind, rounds: 60, processes: 6 })).join('; ') || undefined,
  })),
  {
    name: 'three reports of one ablation at once',
    within: 60,
    make: async (o) => {
      prepare(o);
      await o.capi(ablate());
    },
    run: ({ capi }) => several(capi, 3, ['report', 'grid', '--out', 'report']),
    check: ({ dir, result }) => {
      if (result.all.some(({ code }) => code !== 0)) return 'one of them failed';
      const left = readdirSync(join(dir, 'report')).filter((name) => /partial|lock/.test(name));
      return left.length === 0 ? undefined : `${left} are left`;
    },
  },
  {
    name: 'an ablation that is killed ends its children, and goes on',
    within: 90,
    make: async (o) => {
      prepare(o);
      const file = join(o.dir, 'grid.yaml');
      writeFileSync(file, readFileSync(file, 'utf8').replace('train.steps: 2', 'train.steps: 600'));
      await o.capi(ablate(), { signal: 'SIGKILL', after: /"running":\[[^\]]/ });
      let left = workersIn(o.dir);
      for (let i = 0; i < 40 && left.length > 0; i++) {
        await new Promise((resolve) => setTimeout(resolve, 500));
        left = workersIn(o.dir);
      }
      writeFileSync(join(o.dir, 'left.txt'), left.join(' '));
    },
    run: ablate(),
    says: /seed 0: done/,
    check: ({ dir }) => {
      const left = readFileSync(join(dir, 'left.txt'), 'utf8');
      return left === '' ? undefined : `processes ${left} went on 20 s after their parent was killed`;
    },
  },
  stop('SIGINT', 130),
  stop('SIGTERM', 130),
  stop('SIGHUP', 130),
  stop('SIGUSR2', 130),
  {
    name: 'a run that was stopped goes on',
    make: async (o) => {
      prepare(o);
      await o.capi(pretrain('--steps', '300'), { signal: 'SIGHUP', after: /"step"/ });
    },
    run: pretrain('--steps', '300'),
    check: ({ dir }) => {
      const n = lines(join(dir, 'run/metrics.jsonl')).length;
      return n === 300 ? undefined : `${n} lines of metrics`;
    },
  },
  {
    name: 'a cell that was stopped is stopped, not done',
    ci: true,
    make: (o) => {
      prepare(o);
      const grid = readFileSync(join(o.dir, 'grid.yaml'), 'utf8').replace(
        'train.steps: 2',
        'train.steps: 50000',
      );
      writeFileSync(join(o.dir, 'grid.yaml'), grid);
    },
    run: ({ capi }) => capi(ablate(), { signal: 'SIGINT', after: /pretrain/ }),
    code: 130,
    says: /interrupted by SIGINT/,
    not: /seed 0: done/,
    check: async ({ capi }) => {
      const { stdout } = await capi(ablate('--status'));
      return /stopped/.test(stdout) && !/ done/.test(stdout) ? undefined : stdout;
    },
  },
  pipe('help into a closed pipe', 'set -o pipefail; $CAPI pretrain --help | true', { ci: true }),
  pipe('the list of commands into a closed pipe', 'set -o pipefail; $CAPI --help | true'),
  pipe('doctor into a closed pipe', 'set -o pipefail; $CAPI doctor 2>&1 | head -1'),
  pipe(
    'a run into a closed pipe goes on',
    'set -o pipefail; $CAPI pretrain tiny.yaml --out run 2>&1 | head -1',
    {
      ci: true,
      check: ({ dir }) =>
        lines(join(dir, 'run/metrics.jsonl')).length === 4 ? undefined : 'it did not go on',
    },
  ),
  pipe(
    'an ablation into a closed pipe goes on',
    'set -o pipefail; $CAPI ablate --grid grid.yaml --out grid 2>&1 | true',
    {
      check: ({ dir }) =>
        readdirSync(join(dir, 'grid/cells')).length === 2 ? undefined : 'cells are missing',
    },
  ),
  pipe('standard error closed', '$CAPI pretrain tiny.yaml --out run 2>&-'),
  pipe('both closed', '$CAPI pretrain tiny.yaml --out run >&- 2>&-'),
  pipe('output to a full device', '$CAPI pretrain tiny.yaml --out run --json > /dev/full', {
    code: 4,
    says: /standard output cannot be written \(ENOSPC\)/,
  }),
  tornRecord('empty', () => ''),
  tornRecord('cut off', (text) => text.slice(0, text.length / 2)),
  tornRecord('full of zeros', (text) => '\0'.repeat(text.length)),
  {
    name: 'a record that is not ours stays',
    make: async (o) => {
      prepare(o);
      await o.capi(cls());
      writeFileSync(record(o.dir), 'my notes');
    },
    run: cls(),
    code: 4,
    says: /record\.json/,
    check: ({ dir }) => (readFileSync(record(dir), 'utf8') === 'my notes' ? undefined : 'it is gone'),
  },
  tornFile(
    'an empty identity of a finished run is made again',
    (dir) => join(dir, 'run/identity.json'),
    pretrain(),
  ),
  tornFile('a cut identity is made again', (dir) => join(dir, 'run/identity.json'), pretrain(), null),
  tornFile(
    'an empty cell is made again',
    (dir) => join(dir, 'grid/cells', readdirSync(join(dir, 'grid/cells'))[0], 'cell.json'),
    ablate(),
  ),
  tornFile('an empty plan is made again', (dir) => join(dir, 'grid/plan.json'), ablate()),
  {
    name: 'a cut line of test readings swallows none',
    make: async (o) => {
      prepare(o);
      await o.capi(cls());
      writeFileSync(join(o.dir, 'evals/test-reads.jsonl'), '{"schema":2,"time":"20');
    },
    run: cls('--force'),
    check: ({ dir }) =>
      JSON.parse(lines(join(dir, 'evals/test-reads.jsonl')).at(-1)).n === 1 ? undefined : 'no reading',
  },
  {
    name: 'an out folder that is a link',
    make: (o) => {
      prepare(o);
      mkdirSync(join(o.dir, 'real'));
      symlinkSync('real', join(o.dir, 'run'));
    },
    run: pretrain(),
    check: ({ dir }) =>
      existsSync(join(dir, 'real/identity.json')) ? undefined : 'nothing lies behind the link',
  },
  ...[20, 24, 28, 32, 40, 48, 64].map((n) => limited(`${n} file descriptors`, `ulimit -n ${n}`, pretrain())),
];
