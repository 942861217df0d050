// `capi verify`: what is stored comes out intact; flipped bits, swapped files and edited scores are found in every kind of file.
import {
  cpSync,
  mkdirSync,
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
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sealedText, writeSealed } from '../../src/base/files/seal.js';
import { hashOf, sha256 } from '../../src/base/hash.js';
import { stream } from '../../src/base/random.js';
import { checkFile } from '../../src/verify/files.js';
import { makeStudy } from '../support/made_study.js';
import { capi, root } from './capi.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-verify-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (...names: string[]): string => join(folder, ...names);
const whole = at('whole');

/** Two evaluations with their features, a run, both kinds of export, and an ablation's cells. */
beforeAll(async () => {
  mkdirSync(whole);
  writeFileSync(
    at('tiny.yaml'),
    `model: { image_size: 32, patch_size: 8, width: 32, heads: 2, depth: 1, registers: 4, drop_path: 0, predictor: { depth: 1 } }
masking: { predict: 1 }
clustering: { prototypes: 16 }
data: { source: 'synthetic:scenes?size=32&difficulty=0&count=200' }
train: { steps: 4, batch: 8 }
checkpoint: { every: 2 }
`,
  );
  writeFileSync(
    at('logreg.yaml'),
    `segmentation: { transform: { image_size: null }, validation_share: 0.2, split_seed: 42, standardise: true, metric: official,
  knn: null, logreg: { C: [1.0], max_iterations: 20, tolerance: 1e-4 }, linear: null }
`,
  );
  const run = (...args: string[]): void => {
    const { code, stderr } = capi(args, { CAPI_CACHE: join(whole, 'cache') });
    expect(code, stderr).toBe(0);
  };
  for (const patch of [8, 16]) {
    const data = 'synthetic:scenes?size=32&difficulty=0&count=40';
    run(
      'eval',
      'seg',
      `pixels:${patch}?size=32`,
      '--train',
      data,
      '--test',
      `${data}&seed=1`,
      '--protocol',
      at('logreg.yaml'),
      '--out',
      join(whole, 'evals'),
    );
  }
  run('pretrain', at('tiny.yaml'), '--out', join(whole, 'run'));
  run('export', join(whole, 'run'), '--out', join(whole, 'e.safetensors'));
  run('export', join(whole, 'run'), '--out', join(whole, 'e.onnx'));
  await makeStudy(join(whole, 'study'), {
    arms: [{ name: 'base', axis: null, values: {} }],
    seeds: [0, 1],
    cells: [0, 1].map((seed) => ({
      ...{ arm: 'base', seed, evaluation: 'cls' as const },
      scores: [
        {
          ...{
            head: 'knn',
            source: 'patches',
            metric: 'top1',
            convention: 'any label',
            value: (1 + seed) / 4,
          },
          ...{ images: 4, hits: { samples: [0, 1, 2, 3], hits: [1, seed, 0, 0] } },
        },
      ],
    })),
  });
}, 120_000);

const filesOf = (home: string): string[] =>
  readdirSync(home, { recursive: true })
    .map((name) => join(home, `${name}`))
    .filter((file) => statSync(file).isFile())
    .sort();

/** A copy of everything, to spoil. */
let copies = 0;
function copy(): string {
  const home = at(`copy-${copies++}`);
  cpSync(whole, home, { recursive: true });
  return home;
}

async function states(home: string): Promise<Record<string, string>> {
  const found = await Promise.all(filesOf(home).map(checkFile));
  return Object.fromEntries(
    found
      .filter(({ faults }) => faults.length > 0)
      .map(({ file, state }) => [file.slice(home.length + 1), state]),
  );
}

describe('capi verify', () => {
  it('finds nothing wrong with what was just written', () => {
    const { code, stdout } = capi(['verify', whole, '--json']);
    const result = JSON.parse(stdout);
    expect(result.faults).toEqual([]);
    expect([code, result.intact]).toEqual([0, true]);
    for (const kind of [
      'record',
      'predictions',
      'features',
      'entry',
      'checkpoint',
      'metrics',
      'identity',
      'cell',
      'counts',
      'weights',
      'model',
      'readings',
    ])
      expect(result.kinds[kind]?.intact, kind).toBeGreaterThan(0);
  });

  it('says what is wrong in a line each, with exit code 4, and reads neither links nor pipes', () => {
    const home = copy();
    const file = filesOf(home).find((f) => basename(f) === 'record.json')!;
    writeFileSync(file, readFileSync(file, 'utf8').slice(0, 200));
    symlinkSync('/dev/zero', join(home, 'record.json'));
    const { code, stdout, stderr } = capi(['verify', home]);
    expect([code, stderr.match(/^error: .*$/gm)]).toEqual([4, [expect.stringMatching(/1 of \d+ files/)]]);
    expect(stdout).toMatch(/^torn: .*record\.json is torn .*evaluate again with --force/m);
    expect(stdout).toMatch(/^not read: .* is a link$/m);
    expect(capi(['verify', join(folder, 'nowhere')]).code).toBe(2);
  });

  it('reads the committed studies, which have no digests, and finds an edited score by its counts', async () => {
    const home = at('old');
    cpSync(join(root, 'results/context'), home, { recursive: true });
    expect(await states(home)).toEqual({});
    const file = filesOf(home).find((f) => basename(f) === 'cell.json')!;
    const cell = JSON.parse(readFileSync(file, 'utf8'));
    const { value } = cell.results[0];
    cell.results[0].value = value + 0.01;
    writeFileSync(file, JSON.stringify(cell));
    const [line, ...more] = (await checkFile(file)).faults;
    expect(more).toEqual([]);
    expect(line).toContain(`is ${value + 0.01}, its counts give ${value}`.slice(0, 40));
    const report = capi(['report', home, '--format', 'csv', '--out', at('rebuilt')]);
    expect([report.code, report.stderr]).toEqual([4, expect.stringMatching(/cell\.json: .*its counts give/)]);
  });
});

describe('faults', () => {
  it('of 400 flipped bits in all kinds of files every one is found', async () => {
    const home = copy();
    const random = stream(3, 'flips');
    const unseen: string[] = [];
    const files = filesOf(home).filter(
      (file) => !/(log\.txt|config\.yaml|plan\.json|\.partial|\.lock)$/.test(file),
    );
    for (let n = 0; n < 400; n++) {
      const file = files[n % files.length]!;
      const bytes = readFileSync(file);
      const bit = random.int(8 * bytes.length);
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      writeFileSync(file, flipped);
      const asked = file.endsWith('.onnx.yaml') ? file.slice(0, -5) : file;
      const { state } = await checkFile(asked);
      if (state === 'intact' || state === 'unsealed' || state === 'other')
        unseen.push(`${file} bit ${bit}: ${state}`);
      writeFileSync(file, bytes);
    }
    expect(unseen).toEqual([]);
    expect(await states(home)).toEqual({});
  }, 120_000);

  const swap = (a: string, b: string): void => {
    renameSync(a, `${a}.other`);
    renameSync(b, a);
    renameSync(`${a}.other`, b);
  };
  const two = (home: string, name: string | RegExp): [string, string] => {
    const found = filesOf(home).filter((file) =>
      typeof name === 'string' ? basename(file) === name : name.test(file),
    );
    return [found[0]!, found.at(-1)!];
  };

  it.each([
    ['records', 'record.json', 'foreign'],
    ['cells', 'cell.json', 'foreign'],
    ['entries', 'entry.json', 'foreign'],
    ['features of two entries', 'patches.mat', 'foreign'],
  ])('swapped %s are foreign', async (_, name, state) => {
    const home = copy();
    swap(...two(home, name));
    expect(Object.values(await states(home))).toEqual([state, state]);
  });

  it('swapped predictions are no longer those of their records', async () => {
    const home = copy();
    swap(...two(home, /predictions-/));
    const found = await states(home);
    expect(Object.keys(found).filter((file) => file.endsWith('record.json'))).toHaveLength(2);
  });

  it('a folder of a record under another name, and a record of another encoder in it', async () => {
    const home = copy();
    const [a, b] = two(home, 'record.json').map(dirname) as [string, string];
    renameSync(a, join(dirname(a), '0123456789abcdef'));
    cpSync(b, a, { recursive: true });
    const found = await states(home);
    expect(Object.values(found)).toEqual(['foreign', 'foreign']);
  });

  it('missing predictions and counts', async () => {
    const home = copy();
    for (const file of filesOf(home)) if (/predictions-|counts-/.test(basename(file))) rmSync(file);
    expect(new Set(Object.values(await states(home)))).toEqual(new Set(['missing']));
  });

  /** A record whose seal is right and whose contents are not. */
  const edited = (home: string, name: string, edit: (value: Record<string, never>) => void): string => {
    const [file] = two(home, name);
    const { sha256: _, ...value } = JSON.parse(readFileSync(file, 'utf8'));
    edit(value);
    writeFileSync(file, sealedText(value));
    return file;
  };

  // biome-ignore lint/suspicious/noExplicitAny: any part of a record is edited
  it.each<[string, (r: any) => void, RegExp]>([
    ['a score', (r) => (r.results[0].value += 0.001), /is 0\.\d+, its counts give 0\.\d+: evaluate again/],
    [
      'an interval',
      (r) => (r.results[0].interval.low -= 0.01),
      /the interval of .* as its low end, its predictions give/,
    ],
    ['a number of images', (r) => (r.results[0].n += 1), /is of 41 images, its counts are of 40/],
    [
      'an encoder',
      (r) => (r.encoder.weights_hash = 'f'.repeat(64)),
      /is not the record of its id: its weights/,
    ],
    ['a protocol card', (r) => (r.protocol.card.settings.validation_share = 0.3), /protocol card/],
    ['a key', (r) => (r.key.seed = 7), /its parts make/],
    ['a head', (r) => (r.results[0].head = 'knn'), /its predictions lack knn/],
    [
      'a path',
      (r) => (r.predictions.file = '../../secret'),
      /predictions\.file: accepted: the name of a file/,
    ],
    ['a type', (r) => (r.results = {}), /is not a record of capi eval: results/],
  ])('%s edited and sealed anew is found', async (_, edit, message) => {
    const file = edited(copy(), 'record.json', edit);
    expect((await checkFile(file)).faults).toEqual([expect.stringMatching(message)]);
  });

  it('counts that cannot be, and a bomb, are refused though their digests are right', async () => {
    const home = copy();
    const head = { test: 0, source: 'patches', head: 'knn' };
    const put = async (content: Buffer): Promise<readonly string[]> => {
      const digest = sha256(content);
      const name = `counts-${digest.slice(0, 12)}.json.gz`;
      const file = edited(home, 'cell.json', (cell) => {
        Object.assign(cell, { counts: { file: name, sha256: digest } });
      });
      writeFileSync(join(dirname(file), name), content);
      return (await checkFile(file)).faults;
    };
    const counts = (own: object): Buffer =>
      gzipSync(JSON.stringify({ schema: 1, heads: [{ ...head, ...own }], left_out: [] }));
    const pixels = (row: number[]) => ({ pixels: { classes: 4, ignore: [], images: [row] } });
    for (const [own, message] of [
      [{ hits: { samples: [0, 1, 2, 3], hits: [1, 0, 0, 2] } }, /hits\.3/],
      [{ hits: { samples: [0, 1, 1, 3], hits: [1, 0, 0, 0] } }, /image 1 after image 1/],
      [{ hits: { samples: [0], hits: [1, 0] } }, /2 hits of 1 images/],
      [{ hits: { samples: [0, 1, 2, -3], hits: [1, 0, 0, 0] } }, /samples\.3/],
      [{ hits: { samples: [0, 1, 2, 3], hits: [1, 1, 1, 1] } }, /its counts give 1/],
      [pixels([1, 5, 4, 9]), /5 hits of class 1 in 4 pixels/],
      [pixels([4, 0, 4, 9]), /class 4 of image 0, of 4/],
      [pixels([1, 0, 4]), /3 numbers of image 0/],
      [pixels([1, 0, 1e30, 9]), /pixels\.images/],
      [{}, /none or several/],
    ] as const) {
      expect(await put(counts(own))).toEqual([expect.stringMatching(message)]);
    }
    expect(await put(gzipSync(Buffer.alloc(300e6, ' ')))).toEqual([
      expect.stringMatching(/cannot be unpacked/),
    ]);
    expect(await put(Buffer.from('no gzip'))).toEqual([expect.stringMatching(/cannot be unpacked/)]);
  });

  it('metrics with damaged, missing, doubled, foreign or edited lines', async () => {
    const [file] = two(whole, 'metrics.jsonl');
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    const spoilt = at('spoilt', 'metrics.jsonl');
    cpSync(dirname(file), dirname(spoilt), { recursive: true });
    for (const [now, message] of [
      [lines.slice(0, 1).concat(lines.slice(2)), /steps that are missing: 2 \(1/],
      [[...lines, lines[1]], /steps that stand there twice: 2/],
      [[lines[1], lines[0], ...lines.slice(2)], /steps out of order: 1/],
      [[lines[0], 'hello', ...lines.slice(1)], /cannot be read or are of no step: 2/],
      [[lines[0], '{"step": 1.5}', ...lines.slice(1)], /cannot be read or are of no step: 2/],
      [
        lines.map((line, i) => (i === 1 ? line.replace(/"capi_loss":\d/, '"capi_loss":9') : line)),
        /was changed after it was written/,
      ],
    ] as const) {
      writeFileSync(spoilt, `${now.join('\n')}\n`);
      expect((await checkFile(spoilt)).faults).toEqual([expect.stringMatching(message)]);
    }
  });

  it('a resumed run says so, keeps the file as it was, and stays marked', () => {
    const home = at('resumed');
    cpSync(join(whole, 'run'), home, { recursive: true });
    rmSync(join(home, 'checkpoints/step-00000004.safetensors'));
    const file = join(home, 'metrics.jsonl');
    const text = readFileSync(file, 'utf8');
    const changed = text.replace(/"capi_loss":\d/, '"capi_loss":9');
    writeFileSync(file, changed);
    const { code, stderr } = capi(['pretrain', at('tiny.yaml'), '--out', home]);
    expect([code, stderr]).toEqual([0, expect.stringMatching(/warning: metrics\.jsonl was changed after/)]);
    expect(readFileSync(join(home, 'metrics.damaged.jsonl'), 'utf8')).toBe(changed);
    const { stdout } = capi(['verify', home]);
    expect(stdout).toMatch(/marked when the run went on at step 2: metrics\.jsonl was changed/);
  });
});

describe('what reads', () => {
  it('eval, compare and reproduce refuse a record whose score is not that of its predictions', async () => {
    const home = copy();
    const records = filesOf(home).filter((file) => basename(file) === 'record.json');
    const [file] = records as [string];
    const { sha256: _, ...value } = JSON.parse(readFileSync(file, 'utf8'));
    value.results[0].value += 0.001;
    await writeSealed(file, value);
    for (const args of [
      ['eval', 'compare', ...records],
      ['reproduce', file, '--out', at('again')],
    ]) {
      const { code, stderr } = capi(args);
      expect([code, stderr]).toEqual([
        4,
        expect.stringMatching(/^error: .*record\.json: miou .*its counts give/m),
      ]);
    }
    expect(hashOf(value.key).slice(0, 16)).toBe(value.id);
  });

  it('damaged and swapped features are refused with what removes them', () => {
    const home = copy();
    const mats = filesOf(home).filter((file) => basename(file) === 'patches.mat');
    for (const file of mats) {
      const bytes = readFileSync(file);
      bytes[100]! ^= 4;
      writeFileSync(file, bytes);
    }
    const data = 'synthetic:scenes?size=32&difficulty=0&count=40';
    const args = [
      'eval',
      'seg',
      'pixels:8?size=32',
      '--train',
      data,
      '--test',
      `${data}&seed=1`,
      '--protocol',
      at('logreg.yaml'),
    ];
    const spoilt = capi([...args, '--out', at('new')], { CAPI_CACHE: join(home, 'cache') });
    expect([spoilt.code, spoilt.stderr]).toEqual([
      4,
      expect.stringMatching(
        /patches\.mat is damaged in rows 0 to \d+: remove the entry: capi data cache --prune [0-9a-f]{24}/,
      ),
    ]);
  });
});
