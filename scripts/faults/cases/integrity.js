// Stored files that are not what was written: flipped bits, cuts, edits, digests taken out, swapped and missing files of every kind.

import { createHash } from 'node:crypto';
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

export const part = 'integrity';

const STUDY = fileURLToPath(new URL('../../../results/context', import.meta.url));
const CLS = ['--train', 'folder:data', '--test', 'folder:data', '--protocol', 'knn.yaml', '--out', 'evals'];
const SEG = 'synthetic:scenes?size=32&difficulty=0&count=20';
const seg = (patch) => [
  ...['eval', 'seg', `pixels:${patch}?size=32`, '--train', SEG, '--test', `${SEG}&seed=1`],
  ...['--protocol', 'logreg.yaml', '--out', 'evals'],
];

/** Evaluations with their features, a run and its exports: made once, then copied. */
let made;
async function base({ dir, make, capi }) {
  made ??= (async () => {
    const home = mkdtempSync(join(tmpdir(), 'capi-integrity-'));
    process.on('exit', () => rmSync(home, { recursive: true, force: true }));
    make.file(join(home, 'tiny.yaml'), make.TINY);
    make.file(join(home, 'knn.yaml'), make.KNN);
    make.file(join(home, 'logreg.yaml'), make.LOGREG);
    await make.classFolders(join(home, 'data'));
    for (const args of [
      ['eval', 'cls', 'pixels:8?size=16', ...CLS],
      seg(8),
      seg(4),
      ['pretrain', 'tiny.yaml', '--out', 'run'],
      ['export', 'run', '--out', 'e.safetensors'],
      ['export', 'run', '--out', 'e.onnx'],
    ]) {
      const { code, stderr } = await capi(args, { cwd: home, env: { CAPI_CACHE: join(home, 'cache') } });
      if (code !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
    }
    return home;
  })();
  cpSync(await made, dir, { recursive: true, preserveTimestamps: true });
}

const all = (dir, name) =>
  readdirSync(dir, { recursive: true })
    .map((file) => join(dir, `${file}`))
    .filter((file) => statSync(file).isFile() && name.test(basename(file)))
    .sort();
const one = (dir, name) => all(dir, name)[0];
const edit = (file, change) => writeFileSync(file, change(readFileSync(file)));
const flip = (share) => (bytes) => {
  const copy = Buffer.from(bytes);
  copy[Math.floor(share * (copy.length - 1))] ^= 1;
  return copy;
};
const swap = (a, b) => {
  renameSync(a, `${a}.x`);
  renameSync(b, a);
  renameSync(`${a}.x`, b);
};

/** The text of an object with a right digest, as whoever edits a score could make it. */
const canonical = (value) =>
  Array.isArray(value)
    ? `[${value.map(canonical).join(',')}]`
    : value !== null && typeof value === 'object'
      ? `{${Object.keys(value)
          .sort()
          .map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`)
          .join(',')}}`
      : JSON.stringify(value);
const sealed = ({ sha256: _, ...value }) =>
  `${JSON.stringify({ ...value, sha256: createHash('sha256').update(canonical(value)).digest('hex') }, null, 1)}\n`;
const resealed = (file, change) =>
  edit(file, (text) => {
    const value = JSON.parse(text);
    change(value);
    return sealed(value);
  });

const verify = { run: ['verify', '.'], code: 4, says: /files? (is|are) not what was written/ };
const spoil = (name, spoiling, more = {}) => ({
  name,
  ...verify,
  make: async (tools) => {
    await base(tools);
    await spoiling(tools.dir);
  },
  ...more,
});

const KINDS = {
  'a record': /^record\.json$/,
  predictions: /^predictions-/,
  'the list of readings': /^test-reads\.jsonl$/,
  'an identity': /^identity\.json$/,
  'an environment': /^environment\.json$/,
  metrics: /^metrics\.jsonl$/,
  'digests of metrics': /^metrics\.seal\.json$/,
  'a checkpoint': /^step-/,
  'an entry': /^entry\.json$/,
  features: /^patches\.mat$/,
  'label maps': /^labels\.mat$/,
  'exported weights': /^e\.safetensors$/,
  'an exported model': /^e\.onnx$/,
  'an adapter': /^e\.onnx\.yaml$/,
};

const kinds = Object.entries(KINDS).flatMap(([kind, name], i) => [
  spoil(`${kind}: a flipped bit`, (dir) => edit(one(dir, name), flip((i + 1) / 16)), { ci: i % 3 === 0 }),
  spoil(`${kind}: cut`, (dir) =>
    edit(one(dir, name), (bytes) => bytes.subarray(0, Math.floor(bytes.length / 2))),
  ),
]);

const withoutDigest = ['a record', 'an identity', 'an environment', 'an entry'].map((kind) =>
  spoil(`${kind}: its digest taken out`, (dir) =>
    edit(one(dir, KINDS[kind]), (text) => `${text}`.replace(/,\s*"sha256": "[0-9a-f]{64}"\s*}\s*$/, '\n}\n')),
  ),
);

const swaps = ['a record', 'predictions', 'an entry', 'features'].map((kind) =>
  spoil(`${kind}: swapped with another`, (dir) => {
    const found = all(dir, KINDS[kind]);
    swap(found[0], found.at(-1));
  }),
);

/** The record of a segmentation. */
const record = (dir) =>
  all(join(dir, 'evals'), /^record\.json$/).find((file) => JSON.parse(readFileSync(file)).task === 'seg');
const edits = Object.entries({
  'a score': (r) => {
    r.results[0].value += 0.01;
  },
  'an end of an interval': (r) => {
    r.results[0].interval.high += 0.01;
  },
  'the encoder': (r) => {
    r.encoder.weights_hash = 'f'.repeat(64);
  },
  'the seed': (r) => {
    r.seed = 9;
  },
  'the path of its predictions': (r) => {
    r.predictions.file = '../../../etc/passwd';
  },
  'its results, to a word': (r) => {
    r.results = 'good';
  },
  'a number, to one that JSON cannot hold': (r) => {
    r.seconds = 1e308 * 10;
  },
}).map(([what, change]) =>
  spoil(`a record: ${what} edited and sealed anew`, (dir) => resealed(record(dir), change)),
);

/** A committed study, which has no digests: its counts tell. */
const study = (name, spoiling, more) => ({
  name,
  run: ['report', 'study', '--format', 'csv', '--out', 'rebuilt'],
  code: 4,
  make: async ({ dir }) => {
    cpSync(STUDY, join(dir, 'study'), { recursive: true });
    await spoiling(join(dir, 'study'));
  },
  ...more,
});
const cellOf = (home) => one(home, /^cell\.json$/);
const change = (file, to) =>
  edit(file, (text) => {
    const value = JSON.parse(text);
    to(value);
    return JSON.stringify(value);
  });
const counted = (home, content) =>
  change(cellOf(home), (cell) => {
    const digest = createHash('sha256').update(content).digest('hex');
    cell.counts = { file: `counts-${digest.slice(0, 12)}.json.gz`, sha256: digest };
    writeFileSync(join(dirname(cellOf(home)), cell.counts.file), content);
  });

export const cases = [
  {
    name: 'everything that was written is found intact',
    ci: true,
    make: base,
    run: ['verify', '.'],
    says: /nothing is wrong/,
  },
  ...kinds,
  ...withoutDigest,
  ...swaps,
  ...edits,
  spoil('predictions that are gone', (dir) => rmSync(one(dir, KINDS.predictions))),
  spoil('metrics that are gone', (dir) => rmSync(one(dir, KINDS.metrics))),
  spoil('a record as an empty file', (dir) => writeFileSync(record(dir), '')),
  spoil('a record as null', (dir) => writeFileSync(record(dir), 'null')),
  spoil('a record of 20,000 brackets', (dir) => writeFileSync(record(dir), `{"a":${'['.repeat(20000)}`)),
  spoil('a record in a folder of another name', (dir) =>
    renameSync(dirname(record(dir)), join(dir, 'evals', '0123456789abcdef')),
  ),
  {
    name: 'a link to an endless device is not followed',
    make: async (tools) => {
      await base(tools);
      symlinkSync('/dev/zero', join(tools.dir, 'evals', 'record.json'));
    },
    run: ['verify', '.'],
    says: /not read: .* is a link/,
  },
  {
    name: 'a folder that is not there is not verified',
    run: ['verify', 'nowhere'],
    code: 2,
    says: /nowhere does not exist/,
  },
  spoil(
    'eval finds a record with an edited score',
    (dir) =>
      resealed(record(dir), (r) => {
        r.results[0].value += 0.01;
      }),
    {
      run: async ({ dir, capi }) => {
        const { encoder } = JSON.parse(readFileSync(record(dir)));
        return capi(seg(encoder.patch));
      },
      says: /its counts give/,
    },
  ),
  spoil(
    'eval compare of an edited score',
    (dir) =>
      resealed(record(dir), (r) => {
        r.results[0].value += 0.01;
      }),
    {
      run: async ({ dir, capi }) => capi(['eval', 'compare', record(dir), record(dir)]),
      says: /record\.json: miou .* its counts give/,
    },
  ),
  spoil(
    'eval reads damaged features',
    (dir) => {
      for (const file of all(dir, /\.mat$/)) edit(file, flip(0.05));
      rmSync(join(dir, 'evals'), { recursive: true });
    },
    { run: seg(8), says: /\.mat is damaged .*capi data cache --prune/ },
  ),
  spoil('eval of an exported model that was changed', (dir) => edit(join(dir, 'e.onnx'), flip(0.5)), {
    run: ['eval', 'cls', 'e.onnx', ...CLS],
    says: /e\.onnx or its adapter .* was changed after it was exported/,
  }),
  spoil('eval of exported weights that were changed', (dir) => edit(join(dir, 'e.safetensors'), flip(0.9)), {
    run: ['eval', 'cls', 'e.safetensors', ...CLS],
    says: /e\.safetensors was changed after it was written/,
  }),
  spoil(
    'a run goes on and says what is wrong with its metrics',
    (dir) => {
      rmSync(all(dir, KINDS['a checkpoint']).at(-1));
      edit(one(dir, KINDS.metrics), (text) => `${text}`.replace('"step":1,', '"step":2,'));
    },
    {
      run: ['pretrain', 'tiny.yaml', '--out', 'run'],
      code: 0,
      says: /warning: metrics\.jsonl has steps that are missing: 1 /,
    },
  ),
  study('a committed study rebuilds', () => {}, { code: 0, ci: true }),
  study(
    'a cell with an edited score',
    (home) =>
      change(cellOf(home), (cell) => {
        cell.results[0].value += 0.01;
      }),
    { says: /cell\.json: .* its counts give/, ci: true },
  ),
  study(
    "two cells in each other's folders",
    (home) => {
      const cells = all(home, /^cell\.json$/);
      swap(dirname(cells[0]), dirname(cells[1]));
    },
    { says: /cell\.json is not the cell of its folder/ },
  ),
  study(
    'counts of another cell',
    (home) => {
      const counts = all(home, /^counts-/);
      writeFileSync(counts[0], readFileSync(counts[1]));
    },
    { says: /is not the file that its cell was written with/ },
  ),
  study('counts that unpack to 300 MB', (home) => counted(home, gzipSync(Buffer.alloc(300e6, ' '))), {
    says: /counts-.* cannot be unpacked/,
    megabytes: 900,
  }),
  study(
    'counts with more hits than pixels',
    (home) =>
      counted(
        home,
        gzipSync(
          JSON.stringify({
            schema: 1,
            heads: [
              {
                test: 0,
                source: 'patches',
                head: 'knn',
                pixels: { classes: 4, ignore: [], images: [[1, 5, 4, 9]] },
              },
            ],
            left_out: [],
          }),
        ),
      ),
    { says: /counts that cannot be .* 5 hits of class 1 in 4 pixels/ },
  ),
  study(
    'a cell whose pictures lie elsewhere',
    (home) =>
      change(cellOf(home), (cell) => {
        cell.pictures = '../../../../../etc/passwd';
      }),
    { says: /pictures/ },
  ),
  study(
    'a cell of another seed than the plan says',
    (home) =>
      change(cellOf(home), (cell) => {
        cell.seed += 1;
      }),
    { says: /seed/ },
  ),
  study(
    'a plan with a key of another kind',
    (home) =>
      change(join(home, 'plan.json'), (plan) => {
        plan.seeds = 'many';
      }),
    { says: /plan\.json is not the plan of an ablation: seeds/ },
  ),
];
