// What decides a number is in its name: data that was edited in place, options of sources, stored things, runs and their configs.

import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';

export const part = 'identity';

/** An uncompressed picture: all have one size, whatever they show. */
async function plain(path, grey, seed, make, side = 16) {
  mkdirSync(join(path, '..'), { recursive: true });
  const data = make.noise(side * side * 3, seed).map((v) => Math.min(255, grey + (v >> 3)));
  await sharp(data, { raw: { width: side, height: side, channels: 3 } })
    .tiff({ compression: 'none' })
    .toFile(path);
}

/** `data/train` and `data/test`, two classes of six and four pictures, dark and light. */
async function folders({ dir, make }) {
  let seed = 1;
  for (const [name, count] of [
    ['train', 6],
    ['test', 4],
  ])
    for (const [c, grey] of [20, 200].entries())
      for (let i = 0; i < count; i++)
        await plain(join(dir, 'data', name, `c${c}`, `${i}.tif`), grey, seed++, make);
  make.file(join(dir, 'knn.yaml'), make.KNN);
}

async function pairs({ dir, make }) {
  await make.pairs(join(dir, 'data'), { train: 4, test: 2 });
  make.file(join(dir, 'logreg.yaml'), make.LOGREG);
  make.file(join(dir, 'names.txt'), 'ground\none\ntwo\nthr\n');
}

const cls = (train = 'folder:data', test = train, ...more) => [
  'eval',
  'cls',
  'pixels:8?size=16',
  '--train',
  train,
  '--test',
  test,
  '--protocol',
  'knn.yaml',
  '--out',
  'evals',
  ...more,
];
const seg = (options, ...more) => {
  const source = `pairs:data/images,data/labels?${options}`;
  return [
    'eval',
    'seg',
    'pixels:8?size=32',
    '--train',
    source,
    '--test',
    source,
    '--protocol',
    'logreg.yaml',
    '--out',
    'evals',
    ...more,
  ];
};

const idOf = ({ stdout, stderr }) => /evals\/([0-9a-f]{16})\//.exec(stdout)?.[1] ?? `no record: ${stderr}`;

/** Replaces a file's bytes and gives it its old times back. */
function inPlace(path, bytes) {
  const { atime, mtime } = statSync(path);
  writeFileSync(path, bytes);
  utimesSync(path, atime, mtime);
}

/** Evaluates, does something, evaluates again: the record is the same one, or another. */
const twice = (
  name,
  what,
  { prepare = folders, first = cls(), second = first, same = false, ci = false, change = () => {} } = {},
) => ({
  name: `${name}: ${same ? 'the same' : 'another'} record`,
  ci,
  make: prepare,
  run: async ({ dir, capi, make }) => {
    const before = await capi(first);
    if (before.code !== 0) return before;
    await (what ?? change)({ dir, make, capi });
    const after = await capi(second);
    if (after.code !== 0) return after;
    const equal = idOf(before) === idOf(after);
    if (equal !== same) throw new Error(`${idOf(before)} then ${idOf(after)}`);
    return after;
  },
});

const train = (dir) => join(dir, 'data/train/c0/0.tif');
const tiny =
  (more = '') =>
  ({ dir, make }) =>
    make.file(join(dir, 'tiny.yaml'), make.TINY + more);

/** A run on two dozen pictures. */
async function trained({ dir, make, capi }, normalise = '') {
  let seed = 1;
  for (let i = 0; i < 12; i++) await plain(join(dir, 'data', `${i}.tif`), 20 * i, seed++, make, 32);
  make.file(
    join(dir, 'tiny.yaml'),
    make.TINY.replace(/data: .*/, `data: { source: 'folder:data'${normalise} }`),
  );
  const made = await capi(['pretrain', 'tiny.yaml', '--out', 'run']);
  if (made.code !== 0) throw new Error(made.stderr);
}
const resume = ['pretrain', 'tiny.yaml', '--out', 'run'];
const evalRun = cls('synthetic:scenes?count=60&size=32').map((word) =>
  word === 'pixels:8?size=16' ? 'run' : word,
);

const edit = (path, from, to) => {
  const text = readFileSync(path, 'utf8');
  if (!text.includes(from)) throw new Error(`${path} does not hold ${from}`);
  writeFileSync(path, text.replace(from, to));
};

/** A finished run whose config.yaml or identity.json was edited, then a command on it. */
const edited = (name, file, from, to, run, code, says, ci = false) => ({
  name,
  ci,
  make: async (at) => {
    tiny()(at);
    at.make.file(join(at.dir, 'knn.yaml'), at.make.KNN);
    const made = await at.capi(['pretrain', 'tiny.yaml', '--out', 'run']);
    if (made.code !== 0) throw new Error(made.stderr);
    if (from === undefined) writeFileSync(join(at.dir, file), to);
    else edit(join(at.dir, file), from, to);
  },
  run,
  code,
  says,
});

export const cases = [
  {
    name: 'test images of the names and sizes of training images get features of their own',
    ci: true,
    make: async ({ dir, make }) => {
      let seed = 1;
      for (const part of ['train', 'test'])
        for (const c of [0, 1])
          for (let i = 0; i < 12; i++)
            await plain(join(dir, 'data', part, `c${c}`, `${i}.tif`), 60, seed++, make);
      make.file(join(dir, 'knn.yaml'), make.KNN);
    },
    run: cls(),
    not: /knn .* 100\.0/,
  },
  twice('nothing changed', () => {}, { same: true, ci: true }),
  twice(
    'pixels edited in place, size and time kept',
    ({ dir }) => {
      const bytes = readFileSync(train(dir));
      bytes[bytes.length >> 1] ^= 255;
      inPlace(train(dir), bytes);
    },
    { ci: true },
  ),
  twice('two files of different classes change places', ({ dir }) => {
    const other = join(dir, 'data/train/c1/0.tif');
    const [a, b] = [readFileSync(train(dir)), readFileSync(other)];
    inPlace(train(dir), b);
    inPlace(other, a);
  }),
  twice('a file replaced by one of the same size and times', ({ dir }) => {
    const { atime, mtime } = statSync(train(dir));
    const bytes = readFileSync(train(dir));
    bytes[bytes.length >> 1] ^= 255;
    const fresh = join(dir, 'fresh.tif');
    writeFileSync(fresh, bytes);
    utimesSync(fresh, atime, mtime);
    renameSync(fresh, train(dir));
  }),
  twice('a link turned to another file', async ({ dir, make }) => {
    await plain(join(dir, 'other.tif'), 220, 99, make);
    unlinkSync(train(dir));
    symlinkSync(join(dir, 'other.tif'), train(dir));
  }),
  twice('a byte behind the picture', ({ dir }) =>
    writeFileSync(train(dir), Buffer.concat([readFileSync(train(dir)), Buffer.from([0])])),
  ),
  twice('a file that was touched', ({ dir }) => utimesSync(train(dir), new Date(), new Date()), {
    same: true,
  }),
  twice(
    'files renamed in their order',
    ({ dir }) => renameSync(train(dir), join(dir, 'data/train/c0/0_.tif')),
    { same: true },
  ),
  twice('a class renamed', ({ dir }) => {
    for (const name of ['train', 'test'])
      renameSync(join(dir, 'data', name, 'c1'), join(dir, 'data', name, 'd1'));
  }),
  twice('one training image fewer', ({ dir }) => unlinkSync(train(dir))),
  twice(
    'the folder copied elsewhere',
    ({ dir }) => cpSync(join(dir, 'data'), join(dir, 'copy'), { recursive: true }),
    { same: true, second: cls('folder:copy') },
  ),
  twice('the parts named as folders of their own', () => {}, {
    same: true,
    second: cls('folder:data/train', 'folder:data/test'),
    ci: true,
  }),
  {
    name: 'a test folder of some classes scores as the test part does, and with classes=own as asked for',
    make: async (at) => {
      await folders(at);
      for (let i = 0; i < 6; i++)
        await plain(join(at.dir, 'data/train/c2', `${i}.tif`), 120, 500 + i, at.make);
    },
    run: async ({ capi }) => {
      const [by, itself, own] = [
        await capi(cls()),
        await capi(cls('folder:data', 'folder:data/test')),
        await capi(cls('folder:data', 'folder:data/test?classes=own')),
      ];
      if (idOf(by) !== idOf(itself)) throw new Error('two paths, two records');
      if (idOf(own) === idOf(by)) throw new Error('another question, one record');
      return own;
    },
    says: /classes=own/,
  },
  {
    name: 'classes=some is no option',
    make: folders,
    run: cls('folder:data?classes=c0'),
    code: 2,
    says: /classes=own/,
  },
  twice(
    'labels.csv with other labels of the same size',
    ({ dir }) => writeFileSync(join(dir, 'flat/labels.csv'), '0.tif,b\n1.tif,a\n2.tif,a\n3.tif,b\n'),
    {
      prepare: async (at) => {
        await folders(at);
        for (let i = 0; i < 4; i++) await plain(join(at.dir, 'flat', `${i}.tif`), 60 * i, 40 + i, at.make);
        writeFileSync(join(at.dir, 'flat/labels.csv'), '0.tif,a\n1.tif,b\n2.tif,a\n3.tif,b\n');
        cpSync(join(at.dir, 'flat'), join(at.dir, 'tested'), { recursive: true });
        for (let i = 0; i < 4; i++) await plain(join(at.dir, 'tested', `${i}.tif`), 60 * i, 80 + i, at.make);
      },
      first: cls('folder:flat', 'folder:tested'),
    },
  ),
  twice('another ignored label', () => {}, {
    prepare: pairs,
    first: seg('classes=4'),
    second: seg('classes=4&ignore=0,255'),
    ci: true,
  }),
  twice('ignored labels in another order', () => {}, {
    prepare: pairs,
    first: seg('classes=4&ignore=255,0'),
    second: seg('classes=4&ignore=0,255'),
    same: true,
  }),
  twice('another number of classes', () => {}, {
    prepare: pairs,
    first: seg('classes=4'),
    second: seg('classes=5'),
  }),
  twice('names for the classes', () => {}, {
    prepare: pairs,
    first: seg('classes=4'),
    second: seg('names=names.txt'),
  }),
  twice(
    'other names of the same size',
    ({ dir }) => inPlace(join(dir, 'names.txt'), 'ground\ntwo\none\nthr\n'),
    { prepare: pairs, first: seg('names=names.txt') },
  ),
  twice(
    'a label map of other labels',
    ({ dir, make }) =>
      make.labelMap(join(dir, 'data/labels/train/train0.png'), new Uint8Array(1024).fill(3), 32, 32),
    { prepare: pairs, first: seg('classes=4') },
  ),
  {
    name: 'a label outside of the classes names its file, though the maps are stored',
    ci: true,
    make: async (at) => {
      await pairs(at);
      await at.capi(seg('classes=4'));
    },
    run: seg('classes=2'),
    code: 4,
    says: /labels\/train\/train\d\.png holds the labels? /,
  },
  {
    name: 'records that ignore different labels are not compared',
    make: pairs,
    run: async ({ capi }) => {
      const ids = [idOf(await capi(seg('classes=4'))), idOf(await capi(seg('classes=4&ignore=0,255')))];
      return capi(['eval', 'compare', ...ids.map((id) => `evals/${id}`)]);
    },
    code: 4,
    says: /under other settings: ignore/,
  },
  {
    name: '--force computes features anew',
    make: folders,
    run: async ({ dir, capi }) => {
      const features = () =>
        readdirSync(join(dir, 'cache'))
          .filter((name) => name !== 'digests')
          .flatMap((entry) =>
            readdirSync(join(dir, 'cache', entry))
              .filter((f) => f.endsWith('.mat'))
              .map((f) => join(dir, 'cache', entry, f)),
          );
      await capi(cls());
      const old = new Date(0);
      for (const file of features()) utimesSync(file, old, old);
      const again = await capi(cls(undefined, undefined, '--force'));
      if (features().length === 0) throw new Error('no features are stored');
      for (const file of features())
        if (statSync(file).mtimeMs === 0) throw new Error(`${file} is the old one`);
      return again;
    },
  },
  {
    name: '--force does not go on with what an unfinished evaluation left',
    make: folders,
    run: async ({ dir, capi }) => {
      const id = idOf(await capi(cls()));
      mkdirSync(join(dir, 'evals', id, 'state'), { recursive: true });
      writeFileSync(join(dir, 'evals', id, 'state/probes.safetensors'), 'left behind');
      return capi(cls(undefined, undefined, '--force'));
    },
  },
  ...[
    ['a flipped bit', (bytes) => bytes.map((b, i) => (i === 40 ? b ^ 1 : b))],
    ['half of it gone', (bytes) => bytes.subarray(0, bytes.length >> 1)],
    ['nothing in it', () => ''],
    ['binary junk in it', (_, make) => make.noise(5000, 3)],
  ].map(([how, damage]) =>
    twice(
      `a cache of digests with ${how}`,
      ({ dir, make }) => {
        const folder = join(dir, 'cache/digests');
        for (const name of readdirSync(folder))
          writeFileSync(join(folder, name), damage(readFileSync(join(folder, name)), make));
      },
      { same: true },
    ),
  ),
  twice(
    'a file where the cache of digests should be',
    ({ dir }) => {
      rmSync(join(dir, 'cache/digests'), { recursive: true, force: true });
      writeFileSync(join(dir, 'cache/digests'), 'x');
    },
    { same: true },
  ),
  {
    name: 'a run is not resumed on other pixels of the same names and sizes',
    ci: true,
    make: async (at) => {
      await trained(at);
      const path = join(at.dir, 'data/3.tif');
      const bytes = readFileSync(path);
      bytes[bytes.length >> 1] ^= 255;
      inPlace(path, bytes);
    },
    run: resume,
    code: 2,
    says: /holds another run; what differs: data\.source/,
  },
  {
    name: 'a run goes on with its images in another place',
    make: async (at) => {
      await trained(at);
      renameSync(join(at.dir, 'data'), join(at.dir, 'moved'));
      edit(join(at.dir, 'tiny.yaml'), 'folder:data', 'folder:moved');
    },
    run: ['pretrain', 'tiny.yaml', '--out', 'run'],
    says: /is complete: 4 steps/,
  },
  {
    name: 'an encoder keeps the statistics of the images that it was trained on',
    make: async (at) => {
      await trained(at, ', normalise: dataset');
      at.make.file(join(at.dir, 'knn.yaml'), at.make.KNN);
    },
    run: async ({ dir, capi }) => {
      const before = await capi(evalRun);
      rmSync(join(dir, 'data'), { recursive: true });
      const after = await capi(evalRun);
      if (after.code === 0 && idOf(before) !== idOf(after)) throw new Error('another encoder');
      return after;
    },
  },
  edited(
    'eval does not read a config.yaml that was edited',
    'run/config.yaml',
    'registers: 4',
    'registers: 2',
    evalRun,
    4,
    /config\.yaml was edited.*model\.registers 4 -> 2/,
    true,
  ),
  edited(
    'export does not read a config.yaml that was edited',
    'run/config.yaml',
    'heads: 2',
    'heads: 4',
    ['export', 'run', '--out', 'x.onnx'],
    4,
    /model\.heads 2 -> 4/,
  ),
  edited(
    'an untrained twin of a run does not read an edited config.yaml',
    'run/config.yaml',
    'depth: 1',
    'depth: 2',
    evalRun.map((word) => (word === 'run' ? 'random:run' : word)),
    4,
    /config\.yaml was edited/,
  ),
  edited(
    'a config.yaml that is no YAML',
    'run/config.yaml',
    undefined,
    'model: [',
    evalRun,
    [2, 4],
    /config\.yaml/,
  ),
  edited(
    'an identity.json whose settings were edited',
    'run/identity.json',
    '"model.registers": 4',
    '"model.registers": 2',
    resume,
    4,
    /identity\.json is damaged/,
  ),
  edited(
    'an identity.json whose hash was edited',
    'run/identity.json',
    '"hash": "',
    '"hash": "0',
    resume,
    4,
    /identity\.json is damaged/,
  ),
  edited(
    'an empty identity.json of a finished run',
    'run/identity.json',
    undefined,
    '',
    resume,
    0,
    /is complete: 4 steps/,
  ),
  {
    name: 'an empty identity.json lets no run go on with other pixels',
    make: async (at) => {
      await trained(at);
      const path = join(at.dir, 'data/3.tif');
      const bytes = readFileSync(path);
      bytes[bytes.length >> 1] ^= 255;
      inPlace(path, bytes);
      writeFileSync(join(at.dir, 'run/identity.json'), '');
    },
    run: resume,
    code: 2,
    says: /data\.source/,
  },
  edited('an identity.json of null', 'run/identity.json', undefined, 'null', resume, 4, /identity\.json/),
  {
    name: 'reproduce does not take other images for those of the record',
    make: folders,
    run: async ({ dir, capi }) => {
      const id = idOf(await capi(cls()));
      const bytes = readFileSync(train(dir));
      bytes[bytes.length >> 1] ^= 255;
      inPlace(train(dir), bytes);
      return capi(['reproduce', `evals/${id}/record.json`, '--out', 'again']);
    },
    code: 4,
    says: /holds other images or labels now/,
  },
  {
    name: 'reproduce does not take another protocol for that of the record',
    make: folders,
    run: async ({ dir, capi }) => {
      const id = idOf(await capi(cls()));
      edit(join(dir, 'knn.yaml'), 'k: [1, 3]', 'k: [3]');
      return capi(['reproduce', `evals/${id}/record.json`, '--out', 'again']);
    },
    code: 4,
    says: /has other settings now/,
  },
];
