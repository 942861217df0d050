// Labels of a grid say what is trained: keys set twice, keys that the grid owns, names that cannot be told apart, sizes beyond reason.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type GridRequest, readGrid } from '../../src/ablate/grid.js';
import { lookOf, nameFaults } from '../../src/ablate/labels.js';
import { armConfig, planGrid } from '../../src/ablate/plan.js';
import { flatten, type Mapping } from '../../src/config/keys.js';
import { prepareRun } from '../../src/pretrain/prepare.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-labels-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const baseValue: GridRequest['baseValue'] = (base, set, key) =>
  flatten(armConfig({ base, set, threads: 1 }, {}) as unknown as Mapping).get(key);
const inline = (grids: string[], more: Partial<GridRequest> = {}) =>
  readGrid({ grids, set: {}, baseValue, ...more });
let written = 0;
function file(text: string) {
  const path = join(folder, `grid${written++}.yaml`);
  writeFileSync(path, `evals: [{ task: seg }]\n${text}`);
  return inline([path]);
}
function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    expect((error as Error).message).not.toContain('\n');
    return (error as Error).message;
  }
  throw new Error('nothing was refused');
}

describe('a key that is set twice', () => {
  it('by two axes is refused, on the command line and in a file, crossed or not', () => {
    const both = /the axes masking and masking\.ratio both set masking\.ratio/;
    expect(refusal(() => inline(['masking=random@0.9,block', 'masking.ratio=0.5,0.75']))).toMatch(both);
    expect(
      refusal(() => file('design: one-factor\naxes: { masking: [random@0.9], masking.ratio: [0.5] }')),
    ).toMatch(both);
    expect(refusal(() => inline(['registers=0,4', 'model.registers=8']))).toMatch(
      /both set model\.registers/,
    );
    expect(refusal(() => inline(['masking=random,block', 'masking.roll=true,false']))).toMatch(
      /masking\.roll/,
    );
  });

  it('is none where the axes share a section alone', () => {
    const { arms } = inline(['masking=random,block', 'masking.ratio=0.5,0.75']);
    expect(arms.map(({ name, settings }) => [name, settings['masking.ratio']])).toEqual([
      ['masking=random masking.ratio=0.5', 0.5],
      ['masking=random masking.ratio=0.75', 0.75],
      ['masking=block masking.ratio=0.5', 0.5],
      ['masking=block masking.ratio=0.75', 0.75],
    ]);
  });

  it.each([
    ['arms: { a: { masking: random@0.9, masking.ratio: 0.5 } }', /the arm a sets masking\.ratio twice/],
    ['arms: { registers=0: { registers: 8 } }', /sets model\.registers to 8, and its name says registers=0/],
    [
      'set: { train.steps: 4, train: { steps: 5 } }\narms: { a: { registers: 8 } }',
      /set has train\.steps twice/,
    ],
    [
      'set: { model.registers: 8 }\ndesign: crossed\naxes: { registers: [0, 4] }',
      /set has model\.registers, which the axis registers sets in every arm/,
    ],
  ])('%s', (text, message) => {
    expect(refusal(() => file(text))).toMatch(message);
  });

  it('by set and an axis is the base of a one-factor grid, and of the values that leave it alone', () => {
    const grid = file('set: { model.registers: 8 }\ndesign: one-factor\naxes: { registers: [0, 8] }');
    expect(grid.arms.map(({ name, values }) => [name, values.registers])).toEqual([
      ['base', '8'],
      ['registers=0', '0'],
    ]);
    expect(
      file('set: { masking.ratio: 0.5 }\ndesign: crossed\naxes: { masking: [random@0.9, block] }').arms,
    ).toHaveLength(2);
  });
});

describe('keys that the grid owns', () => {
  it.each(['seed: 7', 'engine.threads: 2', 'engine: { threads: 2 }', 'evals: []'])('set: { %s }', (set) => {
    expect(refusal(() => file(`set: { ${set} }\narms: { a: { registers: 8 } }`))).toMatch(
      /^set has (seed|engine\.threads|evals), which would be passed over/,
    );
  });

  it('are refused on the command line, with what says it there', () => {
    expect(refusal(() => inline(['registers=0'], { set: { seed: 7 } }))).toMatch(/--seeds/);
    expect(refusal(() => inline(['registers=0'], { set: { 'engine.threads': 2 } }))).toMatch(/threads: 2/);
  });

  it('are named together with all other faults of labels', () => {
    const text = refusal(() =>
      file(
        'set: { seed: 7, engine.threads: 2 }\ndesign: crossed\naxes: { masking: [random@0.9], masking.ratio: [0.5] }\narms: { wide: {}, Wide: {} }',
      ),
    );
    expect(text).toMatch(
      /^4 faults: .*set has seed.*set has engine\.threads.*both set masking\.ratio.*look alike/,
    );
  });
});

describe('names', () => {
  it.each([
    ['wide', 'WIDE'],
    ['a b', 'a  b'],
    ['a b', 'a\u00a0b'],
    ['wide a', 'wide \u0430'],
    ['HOPE', '\u041d\u041e\u0420\u0415'],
    ['x', '\uff58'],
    ['caf\u00e9', 'cafe\u0301'],
    ['a-b', 'a\u2212b'],
    ['lr=1', 'lr\ua78a1'],
  ])('%s and %s look alike', (a, b) => {
    expect(lookOf(a)).toBe(lookOf(b));
    expect(nameFaults([a, b], 'arm').join()).toMatch(/look alike/);
  });

  it.each([
    ['a', 'b'],
    ['caf\u00e9', 'cafe'],
    ['5 x 1536', '21 x 768'],
    ['\u03bb=1', '\u03bc=1'],
    ['registers=1', 'registers=11'],
  ])('%s and %s do not', (a, b) => {
    expect(nameFaults([a, b], 'arm')).toEqual([]);
  });

  it.each([
    ['', /give it one that can be read/],
    [' \u2003', /give it one that can be read/],
    ['\u200b', /give it one that can be read/],
    ['a ', /begins or ends with white space/],
    ['a\nb', /"a\\\\nb" has a control or invisible character/],
    ['a\u202eb', /control or invisible character/],
    ['wi\u00adde', /control or invisible character/],
    ['x'.repeat(201), /has 201 characters: at most 200/],
  ])('%j is refused', (name, message) => {
    expect(nameFaults([name], 'arm').join()).toMatch(message);
  });

  it('of arms: base is taken, and a value of an axis stands once', () => {
    expect(refusal(() => file('arms: { base: { registers: 8 } }'))).toMatch(/two arms have the name "base"/);
    expect(refusal(() => inline(['registers=0,0']))).toMatch(/two arms have the name "registers=0"/);
    expect(refusal(() => file('arms: { __proto__: { registers: 8 } }'))).toMatch(/__proto__/);
  });
});

describe('grids beyond reason', () => {
  it.each([
    ['seeds: 100000000', /seeds: is 100000000; accepted: how many \(1 to 10,000\), or a list/],
    ['probe_seeds: 100000000', /probe_seeds: is 100000000/],
    ['seeds: 0', /seeds: is 0; accepted/],
    ['seeds: [-1]', /seeds: is \[-1\]; accepted/],
    ['seeds: [0.5]', /seeds: is \[0\.5\]; accepted/],
    ['seeds: []', /seeds: is \[\]; accepted/],
    ['seeds: [2, 2]', /a seed stands twice/],
    ['seeds: 1000\nprobe_seeds: 1000', /has 2,000,000 cells \(2 arms x 1,000 seeds x 1,000 probe seeds/],
  ])('%s', (text, message) => {
    expect(refusal(() => file(`${text}\narms: { a: { registers: 8 } }`))).toMatch(message);
  });

  it('are counted, not made', () => {
    const values = Array.from({ length: 100 }, (_, i) => (i + 1) / 1000).join(',');
    const axes = [
      'optim.lr',
      'optim.eps',
      'optim.weight_decay',
      'optim.beta1',
      'optim.beta2',
      'optim.momentum',
    ];
    expect(refusal(() => inline(axes.map((axis) => `${axis}=${values}`)))).toMatch(
      /the grid has 1,000,000,000,000 arms; accepted: at most 4,096/,
    );
    expect(refusal(() => inline(['registers=0'], { seeds: 100_000_000 }))).toMatch(/--seeds is 100000000/);
  });
});

describe('arms of other image sizes', () => {
  const grid = (source: string) =>
    file(
      `set: { data.source: '${source}', train: { batch: 8, steps: 4 } }\ndesign: one-factor\naxes: { model.image_size: [32, 64] }\nseeds: 1`,
    );

  it('are evaluated on the same pictures, or the source is asked for its size', async () => {
    const text = await planGrid(grid('synthetic:scenes?count=40')).then(
      String,
      (error) => (error as Error).message,
    );
    expect(text).toMatch(
      /arms of 64 and 32 pixels would be evaluated on different pictures.*count=40&size=64/,
    );
  });

  it('have the identity that their own process will work out', async () => {
    const { runs } = await planGrid(grid('synthetic:scenes?count=40&size=32'));
    for (const run of runs)
      expect((await prepareRun(run.config)).identity.hash.startsWith(run.id)).toBe(true);
  });
});

it('an arm that cannot learn is refused with the other faults of the grid', async () => {
  const grid = file('arms: { one: { train.batch: 1 }, odd: { registers: 6 } }');
  const text = await planGrid(grid).then(String, (error) => (error as Error).message);
  expect(text).toMatch(/^2 faults: .*arm one: .*all targets are uniform.*arm odd: model\.registers is 6/);
});
