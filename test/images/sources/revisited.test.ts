// The layout of ROxford and RParis: pickles of NumPy arrays and JSON say the same, queries are cut to their boxes, and what does not fit is one line.

import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DataError } from '../../../src/errors.js';
import { encodePng, openSource } from '../../../src/images/index.js';
import { suiteNeeding } from '../../support/suites.js';
import { python } from '../../support/tools.js';
import { failure, put, temporaryFolder } from '../support.js';

const base = temporaryFolder();
const [WIDTH, HEIGHT] = [20, 16];
const DATABASE = ['magdalen_0', 'magdalen_1', 'oxford_0', 'oxford_1', 'oxford_2'];
const QUERIES = ['query_a', 'query_b'];

/** Pixel (x, y) is (10 x, 10 y, level). */
const gradient = (level: number) =>
  encodePng({
    data: Uint8Array.from({ length: WIDTH * HEIGHT * 3 }, (_, at) => {
      const p = Math.floor(at / 3);
      return [10 * (p % WIDTH), 10 * Math.floor(p / WIDTH), level][at % 3]!;
    }),
    width: WIDTH,
    height: HEIGHT,
  });

const TRUTH = [
  { bbx: [2.5, 3.5, 12.4, 9.6], easy: [0, 2], hard: [1], junk: [3] },
  { bbx: [0, 0, 20, 16], easy: [4], hard: [], junk: [] },
];
const WHOLE = { imlist: DATABASE, qimlist: QUERIES, gnd: TRUTH };

/** A folder with images and, where it is given, a ground truth as JSON. */
async function layout(name: string, truth: unknown = WHOLE): Promise<string> {
  const root = join(base, name);
  for (const [k, image] of [...DATABASE, ...QUERIES].entries()) {
    put(join(root, `jpg/${image}.png`), await gradient(k));
  }
  if (truth !== undefined) put(join(root, 'gnd_own.json'), JSON.stringify(truth));
  return root;
}

describe('revisited', () => {
  it('opens the database in its order, with what each query looks for', async () => {
    const root = await layout('json');
    put(join(root, 'jpg/other.png'), await gradient(9));
    const source = await openSource(`revisited:${root}`);
    expect(Array.from({ length: source.length }, (_, i) => source.name(i))).toEqual(
      DATABASE.map((name) => join(root, `jpg/${name}.png`)),
    );
    const queries = await openSource(`revisited:${root}`, { split: 'test' });
    expect([source.split, queries.split, queries.queries]).toEqual(['train', 'test', undefined]);
    expect(source.queries).toEqual({
      uri: queries.uri,
      truth: TRUTH.map(({ easy, hard, junk }) => ({ easy, hard, junk })),
    });
    expect(source.leftOut).toEqual([
      { what: 'images that the ground truth does not name', count: 1, examples: ['other.png'] },
    ]);
    expect((await source.read(3)).data[2]).toBe(3);
  });

  it('cuts queries to their boxes, ends rounded to the even as Pillow does', async () => {
    const queries = await openSource(`revisited:${await layout('boxes')}?split=test`);
    expect([queries.length, queries.imagesIdentity]).toEqual([2, undefined]);
    const { data, height, width } = await queries.read(0); // 2.5 to 12.4 and 3.5 to 9.6: 2 to 12, 4 to 10
    expect([width, height]).toEqual([10, 6]);
    expect([...data.subarray(0, 3)]).toEqual([20, 40, 5]);
    expect([...data.subarray(-3)]).toEqual([110, 90, 5]);
    const whole = await queries.read(1);
    expect([whole.width, whole.height]).toEqual([WIDTH, HEIGHT]);
  });

  it('is known by images, boxes and lists, wherever they lie', async () => {
    const of = async (name: string, change: object = {}) => {
      const gnd = [{ ...TRUTH[0]!, ...change }, TRUTH[1]!];
      const root = await layout(name, { ...WHOLE, gnd });
      const [source, queries] = [
        await openSource(`revisited:${root}`),
        await openSource(`revisited:${root}?split=test`),
      ];
      return { images: await source.identity(), queries: await queries.identity() };
    };
    const first = await of('known-a');
    expect(await of('known-b')).toEqual(first);
    for (const [name, change] of [
      ['c', { hard: [4] }],
      ['d', { bbx: [1, 3, 12, 9] }],
    ] as const) {
      const other = await of(`known-${name}`, change);
      expect([other.images, other.queries === first.queries]).toEqual([first.images, false]);
    }
  });

  it.each<[string, unknown, RegExp]>([
    [
      'range',
      { ...WHOLE, gnd: [{ ...TRUTH[0]!, hard: [5] }, TRUTH[1]] },
      /in hard of query 0 what is no list of images from 0 to 4/,
    ],
    [
      'box',
      { ...WHOLE, gnd: [TRUTH[0], { ...TRUTH[1]!, bbx: [4, 4, 4, 9] }] },
      /no box .* in bbx of query 1/,
    ],
    [
      'old',
      { ...WHOLE, gnd: TRUTH.map(({ bbx, easy, junk }) => ({ bbx, ok: easy, junk })) },
      /in hard of query 0|in easy of query 0/,
    ],
    ['count', { ...WHOLE, gnd: [TRUTH[0]] }, /has 1 entries in gnd for 2 queries/],
    ['names', { ...WHOLE, imlist: [1, 2] }, /has no names in imlist/],
    ['list', [1], /has no names in imlist/],
    [
      'missing',
      { ...WHOLE, imlist: [...DATABASE, 'lost_0'] },
      /does not fit .*jpg: 1 images that are not there \(lost_0\)/,
    ],
  ])('a ground truth that does not fit (%s) is one line', async (name, truth, says) => {
    const root = await layout(`bad-${name}`, truth);
    const error = await failure(() => openSource(`revisited:${root}`));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(says);
    expect(error.message).toContain(root);
    expect(error.message).not.toContain('\n');
  });

  it('says what the folder lacks, and a box outside of its image', async () => {
    const root = await layout('lacks');
    put(join(root, 'gnd_own.pkl'), 'x');
    expect((await failure(() => openSource(`revisited:${root}`))).message).toMatch(
      /gnd_own\.json and gnd_own\.pkl: keep one/,
    );
    rmSync(join(root, 'gnd_own.json'));
    expect((await failure(() => openSource(`revisited:${root}`))).message).toMatch(/gnd_own\.pkl is damaged/);
    rmSync(join(root, 'gnd_own.pkl'));
    expect((await failure(() => openSource(`revisited:${root}`))).message).toMatch(
      /has no gnd_NAME\.pkl or gnd_NAME\.json/,
    );
    const outside = await layout('outside', {
      ...WHOLE,
      gnd: [{ ...TRUTH[0]!, bbx: [30, 1, 40, 8] }, TRUTH[1]],
    });
    const queries = await openSource(`revisited:${outside}?split=test`);
    expect((await failure(() => queries.read(0))).message).toMatch(
      /is 20 x 16 pixels, its query box \(30, 1, 40, 8\) outside of it/,
    );
  });
});

suiteNeeding('python')('ground truths that Python pickles', () => {
  const SCRIPT = `
import json, pickle, sys
import numpy as np
root, protocol, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
whole = json.loads(sys.argv[4])
cast = {
    'lists': lambda a, t: a,
    'arrays': lambda a, t: np.array(a, dtype=t),
    'scalars': lambda a, t: [np.dtype(t).type(x) for x in a],
    'objects': lambda a, t: np.array(a, dtype=object),
    'bigendian': lambda a, t: np.array(a, dtype='>i4'),
}[kind]
for g in whole['gnd']:
    for key in g: g[key] = cast(g[key], '<f8' if key == 'bbx' else '<i8')
if kind == 'arrays': whole['gnd'][0]['easy'] = whole['gnd'][0]['easy'].astype('<u2')
with open(f'{root}/gnd_own.pkl', 'wb') as f: pickle.dump(whole, f, protocol=protocol)
`;
  async function pickled(kind: string, protocol: number): Promise<string> {
    const root = await layout(`pickle-${kind}-${protocol}`);
    rmSync(join(root, 'gnd_own.json'));
    mkdirSync(root, { recursive: true });
    const { status, stderr } = spawnSync(
      python,
      ['-c', SCRIPT, root, `${protocol}`, kind, JSON.stringify(WHOLE)],
      { encoding: 'utf8' },
    );
    expect([status, stderr]).toEqual([0, '']);
    return root;
  }

  it.each(
    ['lists', 'arrays', 'scalars'].flatMap((kind) =>
      [2, 3, 4, 5].map((protocol) => [kind, protocol] as const),
    ),
  )('say the same as JSON: %s, protocol %i', async (kind, protocol) => {
    const json = await openSource(`revisited:${await layout('same')}`);
    const source = await openSource(`revisited:${await pickled(kind, protocol)}`);
    expect(source.queries!.truth).toEqual(json.queries!.truth);
    const identities = [source, json].map(async ({ queries }) => (await openSource(queries!.uri)).identity());
    expect(await identities[0]).toBe(await identities[1]);
  });

  it.each(['objects', 'bigendian'])('arrays that are no plain numbers are refused: %s', async (kind) => {
    const root = await pickled(kind, 4);
    const { message } = await failure(() => openSource(`revisited:${root}`));
    expect(message).toMatch(
      /gnd_own\.pkl is refused: its pickle asks for .*Only arrays of numbers, dicts, lists/,
    );
    expect(message).toMatch(/save the same as JSON$/);
  });

  it('a pickle that would run something is refused', async () => {
    const root = await layout('evil');
    rmSync(join(root, 'gnd_own.json'));
    const made = spawnSync(python, [
      '-c',
      `import os, pickle, sys
class Evil:
    def __reduce__(self): return (os.mkdir, (sys.argv[1] + '/made',))
pickle.dump({'imlist': Evil()}, open(sys.argv[1] + '/gnd_own.pkl', 'wb'))`,
      root,
    ]);
    expect(made.status).toBe(0);
    const { message } = await failure(() => openSource(`revisited:${root}`));
    expect(message).toMatch(/refused: its pickle asks for (posix|nt)\.mkdir/);
  });
});
