// Retrieval against NumPy's rankings and scores: by class and by the lists of revisited Oxford and Paris, from images to a record's entries.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { FrozenEncoder } from '../../../src/encoder/frozen.js';
import type { ImageSource } from '../../../src/images/index.js';
import { chooseData } from '../../../src/probes/dataset.js';
import type { Entries } from '../../../src/probes/entries.js';
import { countedIn } from '../../../src/probes/predictions.js';
import type { RetrievalProtocol } from '../../../src/probes/retrieval/protocol.js';
import { task } from '../../../src/probes/retrieval/task.js';
import type { Sets } from '../../../src/probes/task.js';
import { temporaryFolder } from '../../images/support.js';
import { engines } from '../../support/engines.js';
import { suiteNeeding } from '../../support/suites.js';
import { python } from '../../support/tools.js';

type Scores = Record<string, number | null>;
interface Golden {
  k: RetrievalProtocol['k'];
  unlabelled: number[];
  lists: { easy: number[]; hard: number[]; junk: number[] }[];
  labels: number[];
  asked: number[];
  database: number[][];
  queries: number[][];
  by_class: Scores[];
  by_lists: Scores[];
}
const file = join(import.meta.dirname, '../../golden/retrieval.json');
const golden: Golden = JSON.parse(readFileSync(file, 'utf8'));
const width = golden.database[0]!.length;
const vectors = [...golden.database, ...golden.queries];
const SIDE = 8;
const folder = temporaryFolder();

/** Images whose grey is the row of `vectors` that stands for them. */
function pictures(uri: string, rows: number[], more: Partial<ImageSource>): ImageSource {
  return {
    uri,
    split: 'all',
    length: rows.length,
    name: (i) => `${uri} ${i}`,
    read: async (i) => ({
      data: new Uint8Array(SIDE * SIDE * 3).fill(rows[i]!),
      height: SIDE,
      width: SIDE,
    }),
    identity: async () => JSON.stringify([uri, rows]),
    ...more,
  };
}

/** Gives an image the vector of its grey. */
const encoder: FrozenEncoder = {
  name: 'greys',
  kind: 'pixels',
  weightsHash: 'greys',
  size: { height: SIDE, width: SIDE },
  patch: SIDE,
  grid: { rows: 1, columns: 1 },
  mean: [0, 0, 0],
  std: [1, 1, 1],
  patchWidth: width,
  globalWidth: null,
  registers: null,
  batch: 16,
  run: async (images) => ({
    patches: Float32Array.from({ length: 16 * width }, (_, at) => {
      const row = images[Math.floor(at / width) * SIDE * SIDE * 3]!;
      return vectors[row]![at % width]!;
    }),
  }),
  close: async () => {},
};

const protocol: RetrievalProtocol = {
  sources: ['global', 'average_patch'],
  transform: { image_size: null, shorter_side: 1 },
  k: golden.k,
};
const rows = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);
const size = golden.database.length;
const classes = ['a', 'b', 'c', 'd', 'e'];

const database = pictures('database', rows(0, size), {
  classes,
  labels: (i) => (golden.unlabelled.includes(i) ? [] : [golden.labels[i]!]),
  queries: { uri: 'listed', truth: golden.lists },
});
/** The first ten are images of the database. Their classes have another order. */
const asked = pictures(
  'asked',
  golden.asked.map((_, q) => (q < 10 ? 3 * q : size + q)),
  { classes: [...classes].reverse(), label: (q) => 4 - golden.asked[q]! },
);
const listed = pictures('listed', rows(size, golden.queries.length), {});

async function setsOf(train: ImageSource, ...tests: ImageSource[]): Promise<Sets> {
  const open = (source: ImageSource) => chooseData(source, null);
  return {
    train: await open(train),
    tests: await Promise.all(tests.map(async (source) => ({ name: source.uri, data: await open(source) }))),
  };
}

async function run(memory: number, ...tests: ImageSource[]): Promise<Entries> {
  const sets = await setsOf(database, ...tests);
  task.checkSets!(sets);
  return task.run({
    engine: await engines[0]!.open(),
    encoder,
    protocol,
    train: sets.train,
    tests: sets.tests.map((test) => ({ ...test, reading: async () => {} })),
    split: task.split(sets.train, protocol),
    seed: 0,
    store: join(folder, 'store'),
    memory,
    state: { load: async () => undefined, save: async () => {} },
  });
}

const mean = (values: (number | null)[]): number => {
  const known = values.filter((x) => x !== null);
  return known.reduce((a, b) => a + b, 0) / known.length;
};

/** Every score is the mean of NumPy's, over as many queries, and so are the values that are kept. */
function expectScores(entries: Entries, test: number, name: string, expected: Scores[]): void {
  const counted = countedIn(entries.predictions, 'retrieval', test, 'average_patch', 'cosine');
  const own = entries.results.filter((r) => r.test === name);
  expect(own).toHaveLength(Object.keys(expected[0]!).length);
  expect(own.every(({ source, head }) => source === 'average_patch' && head === 'cosine')).toBe(true);
  if (!counted || !('values' in counted)) throw new Error('no values');
  const samples = [...expected.keys()].filter((q) => Object.values(expected[q]!).some((x) => x !== null));
  expect([...(counted.samples as Int32Array)]).toEqual(samples);
  for (const { metric, convention, value, n } of own) {
    const key = convention === 'same class' ? metric : `${metric} ${convention}`;
    const values = expected.map((of) => of[key]!);
    expect(Math.abs(value! - mean(values)), key).toBeLessThan(1e-9);
    expect(n).toBe(values.filter((x) => x !== null).length);
    const kept = counted.values[`${metric} ${convention}`]!;
    for (const [i, q] of samples.entries()) {
      if (values[q] === null) expect(kept[i], `${key} of ${q}`).toBeNaN();
      else expect(kept[i], `${key} of ${q}`).toBeCloseTo(values[q]!, 6);
    }
  }
}

describe('capi eval retrieval', () => {
  it.each([
    ['with room', 1e9],
    ['in blocks of a few vectors', 6_000],
  ])('scores as NumPy does, %s', async (_, memory) => {
    const entries = await run(memory, asked, listed);
    expectScores(entries, 0, 'asked', golden.by_class);
    expectScores(entries, 1, 'listed', golden.by_lists);
  });

  it('refuses queries of another database, and images of which nothing is said', async () => {
    const plain = pictures('plain', rows(0, 5), { unlabelled: 'no folders' });
    const other = pictures('other', rows(0, 5), { classes, label: () => 0 });
    const check = async (train: ImageSource, test: ImageSource) => task.checkSets!(await setsOf(train, test));
    await expect(check(other, listed)).rejects.toThrow(/^listed says of no image .*revisited:DIR/);
    const alone = pictures('alone', rows(0, 5), { queries: { uri: 'listed', truth: golden.lists } });
    await expect(check(alone, other)).rejects.toThrow(/^alone is a database .* search it for listed,/);
    await expect(check(database, plain)).rejects.toThrow(/^plain says .* \(no folders\): retrieval needs/);
    await expect(check(database, asked)).resolves.toBeUndefined();
  });

  it('says what is in no ranking and what is not asked for', async () => {
    const strange = pictures('strange', rows(0, 4), { classes: ['a', 'x'], label: (i) => (i < 3 ? 0 : 1) });
    expect(task.notes!(await setsOf(database, strange, listed))).toEqual([
      '3 of 80 images of the database have no label and are in no ranking',
      '1 of 4 queries of strange have no label, or one that no image of the database has, and are not counted',
    ]);
  });
});

suiteNeeding('python')('NumPy today', () => {
  it('gives the golden values', () => {
    const { stdout, stderr } = spawnSync(python, [join(file, '../make/retrieval.py')], { encoding: 'utf8' });
    if (stdout === '') throw new Error(stderr);
    const found: Golden = JSON.parse(stdout);
    const { by_class, by_lists, ...given } = found;
    expect(golden).toMatchObject(given);
    for (const [all, expected] of [
      [by_class, golden.by_class],
      [by_lists, golden.by_lists],
    ] as const)
      for (const [q, scores] of all.entries())
        for (const [name, value] of Object.entries(scores))
          if (value === null) expect(expected[q]![name]).toBeNull();
          else expect(Math.abs(value - expected[q]![name]!)).toBeLessThan(1e-9);
  });
});
