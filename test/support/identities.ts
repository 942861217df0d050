// What names runs, records, cells and stored features today, computed through the product: for the snapshot in test/golden/identities.json.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { readGrid } from '../../src/ablate/grid.js';
import { armConfig, planGrid } from '../../src/ablate/plan.js';
import { hashOf } from '../../src/base/hash.js';
import { type Config, identity, loadConfig, presetsDirectory } from '../../src/config/index.js';
import { flatten, type Mapping } from '../../src/config/keys.js';
import type { FrozenEncoder } from '../../src/encoder/frozen.js';
import { openFrozen } from '../../src/encoder/open_frozen.js';
import type { Engine } from '../../src/engine/program.js';
import { openSource, type SourceOptions } from '../../src/images/index.js';
import { defaultRunFolder, resolveEngine } from '../../src/pretrain/prepare.js';
import { cardOf } from '../../src/probes/card.js';
import { featuresKey, type InputTransform, patchMapsOf } from '../../src/probes/dataset.js';
import { type EvaluateOptions, evaluate } from '../../src/probes/evaluate.js';
import { loadProtocol, protocolNames } from '../../src/probes/protocol.js';
import { openSets } from '../../src/probes/sets.js';
import { loadTask } from '../../src/probes/task.js';
import { recordId } from '../../src/results/record.js';

/** Set to 1, the snapshot is written anew instead of compared: only for a change of names that is meant. */
const RENEW = process.env.CAPI_RENEW_IDENTITIES === '1';
const SNAPSHOT = new URL('../golden/identities.json', import.meta.url);

/** Compares one part of the snapshot with what the code makes now. */
export function expectAsBefore(part: string, now: unknown): void {
  const snapshot = existsSync(SNAPSHOT) ? JSON.parse(readFileSync(SNAPSHOT, 'utf8')) : {};
  if (RENEW) {
    snapshot[part] = now;
    const sorted = Object.fromEntries(Object.entries(snapshot).sort(([a], [b]) => (a < b ? -1 : 1)));
    const lines = JSON.stringify(sorted, null, 1);
    const compact = lines.replace(
      /\[\s+([^[\]{}"]*?)\s+\]/g,
      (_, numbers) => `[${numbers.replace(/\s+/g, ' ')}]`,
    );
    writeFileSync(SNAPSHOT, `${compact}\n`);
  }
  expect(JSON.parse(JSON.stringify(now))).toEqual(snapshot[part]);
}

/** Tasks of the snapshot. */
type Task = 'cls' | 'seg';

const ENGINES = [
  { name: 'onnx', device: 'cpu', threads: 2 },
  { name: 'onnx', device: 'cuda' },
  { name: 'reference', device: 'cpu' },
] as unknown as Pick<Engine, 'name' | 'device'>[];

/** Names of the presets of benchmarks/presets, sorted. */
const presetNames = (): string[] =>
  readdirSync(presetsDirectory())
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => name.slice(0, -'.yaml'.length))
    .sort();

/** The identity of every preset's run on each engine, with settings that count and settings that do not, and the folder it goes to. */
export function presetIdentities(): unknown {
  const known = (config: Config) =>
    ENGINES.map((engine) => {
      const run = identity(resolveEngine(config, engine), { dataIdentity: 'the images' });
      return `${engine.name} ${engine.device}: ${run.hash}, ${defaultRunFolder('quickstart.yaml', run)}`;
    });
  return Object.fromEntries(
    presetNames().map((preset) => {
      const { config } = loadConfig({ preset });
      const engine = { name: 'onnx', device: 'cpu', threads: 2 } as const;
      return [
        preset,
        {
          runs: known(config),
          'seed 1': known(loadConfig({ preset, overrides: { seed: 1 } }).config),
          'direct loss': known(loadConfig({ preset, overrides: { 'loss.type': 'direct' } }).config),
          settings: identity(resolveEngine(config, engine), { dataIdentity: 'the images' }).canonical,
        },
      ];
    }),
  );
}

const SYNTHETIC: [uri: string, options?: SourceOptions][] = [
  ['synthetic:scenes'],
  ['synthetic:scenes', { split: 'test', size: 96, seed: 3 }],
  ['synthetic:scenes?size=32&count=11'],
  ['synthetic:scenes?size=32&difficulty=0&count=200', { split: 'train' }],
  ['synthetic:scenes?seed=2&split=test'],
];
const GARMENTS: typeof SYNTHETIC = [
  ['fashion-scenes:/usr/share/datasets/fashion-mnist?seed=0'],
  ['fashion-scenes:/usr/share/datasets/fashion-mnist?size=64&difficulty=0.2', { split: 'test' }],
  ['idx:/usr/share/datasets/fashion-mnist', { split: 'train' }],
  ['idx:/usr/share/datasets/fashion-mnist', { split: 'test' }],
];

/** Sources of files, made in `folder` of bytes that are always the same. */
export function fileSources(folder: string): typeof SYNTHETIC {
  const golden = (name: string) => new URL(`../golden/images/${name}`, import.meta.url);
  const copy = (name: string, ...to: string[]) => {
    mkdirSync(join(folder, ...to.slice(0, -1)), { recursive: true });
    copyFileSync(golden(name), join(folder, ...to));
  };
  copy('large.jpg', 'pairs', 'images', 'a.jpg');
  copy('large_labels.png', 'pairs', 'labels', 'a.png');
  for (let i = 0; i < 5; i++) {
    copy('tall.png', 'pairs', 'images', `b${i}.png`);
    copy('tall_labels.png', 'pairs', 'labels', `b${i}.png`);
  }
  for (const split of ['train', 'val'])
    for (const name of ['large.jpg', 'small.png', 'tall.png'])
      copy(name, 'classes', split, name === 'tall.png' ? 'long' : 'wide', `${split}-${name}`);
  const idx = join(folder, 'idx');
  mkdirSync(idx);
  for (const [part, count] of [
    ['train', 20],
    ['t10k', 8],
  ] as const) {
    const images = Buffer.from([0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 4, 0, 0, 0, 4]);
    const pixels = Buffer.from(Array.from({ length: 16 * count }, (_, i) => (i * 7 + count) % 251));
    const labels = Buffer.from([
      0,
      0,
      8,
      1,
      0,
      0,
      0,
      count,
      ...Array.from({ length: count }, (_, i) => i % 3),
    ]);
    writeFileSync(join(idx, `${part}-images-idx3-ubyte`), Buffer.concat([images, pixels]));
    writeFileSync(join(idx, `${part}-labels-idx1-ubyte`), labels);
  }
  const pairs = `pairs:${join(folder, 'pairs/images')},${join(folder, 'pairs/labels')}`;
  const classes = `folder:${join(folder, 'classes')}`;
  return [
    [`idx:${idx}`, { split: 'train' }],
    [`idx:${idx}?split=test`],
    [`${classes}?split=train`],
    [classes, { split: 'test' }],
    [`${classes}?classes=own&split=val`],
    [`${pairs}?classes=21&ignore=255,0`],
    [`${pairs}?classes=21&holdout=0.4`, { split: 'test' }],
  ];
}

/** Canonical URI, identities and what the card says of each source; `folder` is written as FOLDER. */
export async function sourceIdentities(sources: typeof SYNTHETIC, folder = ''): Promise<unknown> {
  const plain = (text: string) => (folder === '' ? text : text.replaceAll(folder, 'FOLDER'));
  const all: Record<string, unknown> = {};
  for (const [text, options] of sources) {
    const source = await openSource(text, options ?? {});
    all[plain(`${text} ${JSON.stringify(options ?? {})}`)] = {
      uri: plain(source.uri),
      images: source.length,
      identity: await source.identity(),
      ofImages: await source.imagesIdentity?.(),
      former: await source.formerIdentity?.(),
      settings: source.settings,
    };
  }
  return all;
}

export const syntheticIdentities = () => sourceIdentities(SYNTHETIC);
export const garmentIdentities = () => sourceIdentities(GARMENTS);

/** What an evaluation is asked for, apart from its encoder. */
export interface Asked {
  readonly train: string;
  readonly tests: readonly string[];
  readonly limit: number | null;
  readonly seed: number;
}

const SCENES = 'synthetic:scenes?size=64&difficulty=0&count=60';
const ENCODERS = [
  'random:quickstart?seed=1',
  'random:fashion?size=32x48',
  'pixels:14?size=56',
  'position:14?size=56',
];
const CASES: Asked[] = [
  { train: SCENES, tests: [SCENES], limit: null, seed: 0 },
  { train: SCENES, tests: [SCENES, 'synthetic:scenes?size=64&count=50'], limit: 40, seed: 3 },
];

/** As `evaluate` opens it for a protocol, whose size goes before the encoder's own; without a size that does not fit. */
async function encoderFor(engine: Engine, text: string, side: number | null): Promise<FrozenEncoder> {
  const size = side === null ? {} : { size: { height: side, width: side } };
  return openFrozen(text, { engine, batch: 2, weights: 'ema', ...size });
}

/** Card and id of one evaluation, by the functions that `evaluate` makes them with. */
async function named(
  task: Task,
  protocolName: string,
  encoder: FrozenEncoder,
  asked: Asked,
  engine: Engine,
): Promise<{ id: string; hash: string; card: Record<string, unknown> }> {
  const protocol = await loadProtocol(protocolName, task);
  const { limit, seed } = asked;
  const sets = await openSets(protocol.task, { ...asked, allowOverlap: true }, encoder);
  const split = protocol.task.split(sets.train, protocol.settings);
  const card = cardOf({ task, engine, limit }, protocol, encoder, sets, split);
  const hash = hashOf(card);
  const id = recordId({
    task,
    protocol: hash,
    weights: encoder.weightsHash,
    train: sets.train.identity,
    tests: sets.tests.map(({ data }) => data.identity),
    seed,
    limit,
    size: [encoder.size.height, encoder.size.width],
  });
  return { id, hash, card };
}

/** Protocols that have a part for the task. */
async function protocolsOf(task: Task): Promise<string[]> {
  const found: string[] = [];
  for (const name of protocolNames()) {
    try {
      await loadProtocol(name, task);
      found.push(name);
    } catch (error) {
      if (!/has no key/.test((error as Error).message)) throw error;
    }
  }
  return found;
}

/** For every task and protocol: the whole card of the first encoder, and hash and record id of all encoders, sets and engines. */
export async function evaluationIdentities(engine: Engine): Promise<unknown> {
  const all: Record<string, unknown> = {};
  for (const task of ['cls', 'seg'] as const) {
    for (const protocol of await protocolsOf(task)) {
      const side = (await loadProtocol(protocol, task)).settings.transform.image_size;
      const ids: Record<string, string> = {};
      let card: unknown;
      for (const text of ENCODERS) {
        const own = side === null ? text : text.replace(/[?&]size=\w+/, '');
        const encoder = await encoderFor(engine, own, side);
        const add = async (name: string, asked: Asked, on: Engine) => {
          const made = await named(task, protocol, encoder, asked, on);
          card ??= made.card;
          ids[`${own}, ${name}`] = `${made.id}, card ${made.hash}`;
        };
        await add('scenes', CASES[0]!, engine);
        await add('two sets, limit 40, seed 3', CASES[1]!, engine);
        const { close: _, ...plain } = engine as never as Record<string, unknown>;
        await add('reference engine', CASES[0]!, { ...plain, name: 'reference', device: 'cpu' } as never);
        const extractor = { name: 'onnx', device: 'cuda' };
        await add('CUDA extractor', CASES[0]!, { ...plain, name: 'onnx', device: 'cpu', extractor } as never);
        await encoder.close();
      }
      all[`${task} ${protocol}`] = { card, ids };
    }
  }
  return all;
}

/** Cards and ids of evaluations on files, whose options stand in the card. */
export async function fileEvaluationIdentities(engine: Engine, folder: string): Promise<unknown> {
  const encoder = await encoderFor(engine, 'pixels:8?size=32', null);
  const [train, test, , , own, pairs] = fileSources(folder).map(([text]) => text);
  const ask = (train: string, test: string): Asked => ({ train, tests: [test], limit: null, seed: 0 });
  return {
    idx: await named('cls', 'quick', encoder, ask(train!, test!), engine),
    'classes of its own': await named('cls', 'quick', encoder, ask(train!, own!), engine),
    pairs: await named('seg', 'quick', encoder, ask(pairs!, pairs!), engine),
  };
}

/** A protocol that takes a second, of both tasks. */
const TINY = `classification:
  sources: [average_patch]
  features: cached
  transform: { image_size: null, shorter_side: 1, crop_scale: [1, 1], crop_ratio: [1, 1], flip: 0 }
  validation_share: 0.25
  split_seed: 42
  learning_rates: [1e-2]
  weight_decays: [5e-4]
  batch: 8
  reference_batch: 8
  steps: 3
  warmup_steps: 1
  betas: [0.9, 0.95]
  eps: 1e-8
  init_std: 0.02
  knn: { sources: [average_patch], k: [3], votes: [weighted], temperature: 0.07 }
  few_shot: null
segmentation:
  transform: { image_size: null }
  validation_share: 0.25
  split_seed: 42
  standardise: true
  metric: official
  knn: { k: [3], metrics: [cosine] }
  logreg: { C: [0.01], max_iterations: 20, tolerance: 1e-6 }
  linear: null
`;

/** Evaluations from the first to the last line, so that ids and cards are those that `evaluate` itself writes. */
export async function evaluatedIdentities(engine: Engine, folder: string): Promise<unknown> {
  const protocol = join(folder, 'tiny.yaml');
  writeFileSync(protocol, TINY);
  const all: Record<string, unknown> = {};
  for (const task of ['cls', 'seg'] as const) {
    const options: EvaluateOptions = {
      task,
      engine,
      encoders: ['pixels:16?size=64'],
      train: SCENES,
      tests: [SCENES],
      protocol,
      weights: 'ema',
      floors: false,
      memory: 1e9,
      limit: 24,
      seed: 5,
      out: join(folder, 'evals'),
      store: join(folder, 'store'),
      force: false,
    };
    const [done] = await evaluate(options);
    const { id, key, protocol: own, split, tests, train } = done!.record;
    all[task] = { id, key, hash: own.hash, card: own.card, split, train, tests };
  }
  all.store = readdirSync(join(folder, 'store'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.mat'))
    .sort();
  return all;
}

/** What features and label maps lie under in the store. */
export async function storeKeys(engine: Engine, folder: string): Promise<unknown> {
  const transforms: InputTransform[] = [{ kind: 'squash' }, { kind: 'resize-crop', shorter: 8 / 7 }];
  const all: Record<string, unknown> = {};
  for (const text of ENCODERS) {
    const encoder = await encoderFor(engine, text, null);
    const sets = await openSets(await loadTask('seg'), { ...CASES[0]!, limit: 3 }, encoder);
    const store = join(folder, hashOf(text).slice(0, 8));
    all[text] = transforms.map((transform) => {
      const { key, folder: entry } = featuresKey(encoder, sets.train, transform, store);
      return { ...key, entry: entry.slice(store.length + 1) };
    });
    await (await patchMapsOf('labels', encoder, sets.train, store)).close();
    all[`${text}, label maps`] = readdirSync(store);
    await encoder.close();
  }
  return all;
}

const GRIDS = new URL('../../benchmarks/ablations/', import.meta.url).pathname;

/** Grid files of a folder of benchmarks/ablations, by name. */
export const gridFiles = (kind: 'paper' | 'small'): [name: string, file: string][] =>
  readdirSync(join(GRIDS, kind))
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .map((name) => [`${kind}/${name}`, join(GRIDS, kind, name)]);

/** Ids of the runs and cells of a grid as it is planned today, on the CPU, whatever this machine has; data that is not here by its address. */
export async function gridIds(
  words: string[],
): Promise<{ name: string; runs: string[]; cells: { id: string; arm: string; evaluation: string }[] }> {
  const grid = readGrid({
    grids: words,
    set: { 'engine.name': 'onnx', 'engine.device': 'cpu' },
    baseValue: (base, set, key) =>
      flatten(armConfig({ base, set, threads: 1 }, {}) as unknown as Mapping).get(key),
  });
  const { runs, cells } = await planGrid(grid, { mayMiss: true });
  return {
    name: grid.name,
    runs: runs.map(({ id, arm, seed }) => `${id} ${grid.arms[arm]!.name}, seed ${seed}`),
    cells: cells.map(({ id, arm, seed, probeSeed, evaluation }) => ({
      id,
      arm: grid.arms[arm]!.name,
      evaluation: `${evaluation.name}, seed ${seed}, probe seed ${probeSeed}`,
    })),
  };
}

/** The same in lines for the snapshot. */
export async function gridIdentities(words: string[]): Promise<unknown> {
  const { name, runs, cells } = await gridIds(words);
  return { name, runs, cells: cells.map(({ id, arm, evaluation }) => `${id} ${arm}: ${evaluation}`) };
}
