// Grids: what a file and the words of a command line come to, what is refused and how, and the names of cells.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type Grid, type GridRequest, readGrid } from '../../src/ablate/grid.js';
import { armConfig, planGrid } from '../../src/ablate/plan.js';
import { collapse } from '../../src/ablate/stages.js';
import { checkSizes } from '../../src/config/index.js';
import { flatten, type Mapping } from '../../src/config/keys.js';
import { encodePng } from '../../src/images/index.js';
import { stepFlop } from '../../src/pretrain/cost.js';
import type { StepReport } from '../../src/pretrain/metrics.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-grid-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const baseValue: GridRequest['baseValue'] = (base, set, key) =>
  flatten(armConfig({ base, set, threads: 1 }, {}) as unknown as Mapping).get(key);
const inline = (grids: string[], more: Partial<GridRequest> = {}): Grid =>
  readGrid({ grids, set: {}, baseValue, ...more });
let written = 0;
function file(text: string, more: Partial<GridRequest> = {}): Grid {
  const path = join(folder, `grid${written++}.yaml`);
  writeFileSync(path, text);
  return inline([path], more);
}
const names = ({ arms }: Grid): string[] => arms.map(({ name }) => name);
function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was refused');
}
const small = `
base: quickstart
set:
  train: { steps: 4, batch: 8 }
  model: { image_size: 32, width: 16, depth: 1, predictor: { depth: 1 } }
  data.source: 'synthetic:scenes?size=32'
evals: [{ task: seg, protocol: quickstart, limit: 20 }]
seeds: 2
`;

describe('inline grids', () => {
  it('are crossed, and the baseline is the arm that changes nothing', () => {
    const grid = inline(['predictor=fused,self,cross', 'registers=0,4,16']);
    expect(grid.arms).toHaveLength(9);
    expect(names(grid)[0]).toBe('predictor=fused registers=0');
    expect(names(grid)[grid.baseline]).toBe('predictor=cross registers=4');
    expect(grid).toMatchObject({ design: 'crossed', seeds: [0, 1, 2], probeSeeds: [0], threads: 1 });
    expect(grid.evals.map(({ name }) => name)).toEqual(['cls', 'seg']);
  });

  it('vary one factor at a time around the base, whose own values are its row', () => {
    const grid = inline(['masking=random,random@0.9,block,inverse,inverse+roll', 'loss=capi,pixel'], {
      design: 'one-factor',
    });
    expect(names(grid)).toEqual([
      'base',
      'masking=random',
      'masking=random@0.9',
      'masking=block',
      'masking=inverse',
      'loss=pixel',
    ]);
    expect(grid.arms[0]!.values).toEqual({ masking: 'inverse+roll', loss: 'capi' });
    expect(grid.arms[1]!.settings).toEqual({ 'masking.type': 'random', 'masking.roll': false });
    expect(grid.arms[2]!.settings).toMatchObject({ 'masking.ratio': 0.9 });
    expect(grid.arms[4]!.values).toEqual({ masking: 'inverse', loss: 'capi' });
  });

  it('split values at top-level commas, and take any config key', () => {
    const grid = inline(['data.crop_scale=[0.2,1],[0.6,1]', 'clustering.prototypes=64,128'], {
      design: 'one-factor',
    });
    expect(names(grid)).toEqual(['base', 'data.crop_scale=[0.2,1]', 'clustering.prototypes=64']);
    expect(grid.arms[1]!.settings).toEqual({ 'data.crop_scale': [0.2, 1] });
  });

  it('take seeds, probe seeds, evaluations and changes of the base', () => {
    const grid = inline(['sinkhorn=none,standard'], {
      seeds: 2,
      probeSeeds: 3,
      evals: ['seg'],
      set: { 'train.steps': 7 },
      base: 'fashion',
    });
    expect(grid).toMatchObject({
      seeds: [0, 1],
      probeSeeds: [0, 1, 2],
      base: 'fashion',
      set: { 'train.steps': 7 },
    });
    expect(grid.evals.map(({ task }) => task)).toEqual(['seg']);
    expect(grid.name).toMatch(/^fashion-[0-9a-f]{8}$/);
  });
});

describe('evaluations of an inline grid', () => {
  const baseEvals = () => [
    {
      task: 'seg' as const,
      train: 'a',
      test: ['b', 'c'],
      protocol: 'quick',
      weights: 'student' as const,
      limit: 9,
    },
  ];
  it('are those of the base preset where it has some, else both on its data', () => {
    expect(inline(['registers=0'], { baseEvals }).evals).toEqual([{ name: 'seg', ...baseEvals()[0] }]);
    expect(inline(['registers=0'], { baseEvals, evals: ['cls'] }).evals).toMatchObject([
      { task: 'cls', train: null, test: null },
    ]);
    expect(inline(['registers=0'], { baseEvals: () => [] }).evals.map(({ task }) => task)).toEqual([
      'cls',
      'seg',
    ]);
  });
});

describe('grid files', () => {
  it('have named arms, a baseline of their own, lists of seeds', () => {
    const grid = file(
      `${small}arms:\n  wide: { model.predictor.width: 32, registers: 0 }\n  plain:\nbaseline: wide\nname: mine`,
    );
    expect(names(grid)).toEqual(['base', 'wide', 'plain']);
    expect(grid.baseline).toBe(1);
    expect(grid.arms[1]!.settings).toEqual({ 'model.predictor.width': 32, 'model.registers': 0 });
    expect(grid).toMatchObject({ name: 'mine', design: 'named', seeds: [0, 1] });
    expect(grid.set['model.predictor.depth']).toBe(1);
  });

  it('give way to --set', () => {
    expect(
      file(`${small}arms: { a: { registers: 0 } }`, { set: { 'train.steps': 9 } }).set['train.steps'],
    ).toBe(9);
  });
});

describe('refusals', () => {
  it.each([
    [() => inline(['predcitor=fused']), /^unknown axis "predcitor"; did you mean "predictor"\?/],
    [() => inline(['model.registerz=1']), /unknown axis "model\.registerz"; did you mean/],
    [
      () => inline(['engine.threads=1,2']),
      /engine\.threads cannot be an axis: seeds, probe seeds and threads are keys of the grid/,
    ],
    [
      () => inline(['predictor=fused,crossed']),
      /predictor has the value crossed; accepted: cross, self, fused$/,
    ],
    [
      () => inline(['masking=random@65']),
      /masking has the value random@65; accepted: inverse, block, random, each with an optional \+roll and @RATIO/,
    ],
    [() => inline(['nowhere.yaml']), /is no file and does not read AXIS=V1,V2/],
    [() => inline(['registers=0', 'registers=4']), /names the axis registers twice/],
    [() => file(`${small}axes: { registers: [0] }`), /design is missing; accepted: crossed/],
    [
      () => file(`${small}arms: { a: { registers: 0 } }\nbaseline: bb`),
      /baseline is bb, which is no arm; did you mean a\?/,
    ],
    [() => file('evals: [{ task: seg }, { task: seg }]'), /two evaluations are named seg/],
    [
      () => file(`${small}paper: { nobody: { seg.knn: 3 } }`),
      /paper names the arm nobody, which the grid does not have/,
    ],
    [() => file(`${small}seeds2: 3`), /unknown key seeds2; did you mean seeds\?/],
    [() => file('a: ['), /is not YAML/],
    [() => file(small, { seeds: 4 }), /--seeds is for inline grids/],
  ])('%s', (work, message) => {
    expect(refusal(work)).toMatch(message);
  });

  it('lists all faults of a file at once', () => {
    const text = refusal(() =>
      file(
        `${small}design: crossed\naxes: { predcitor: [a], registers: [-1], loss: [dino] }\narms: { x: { sinkhorn: maybe } }`,
      ),
    );
    expect(text).toMatch(
      /^4 faults: \(1\) unknown axis "predcitor".*\(2\) registers has the value -1.*\(3\) loss has the value dino.*\(4\) sinkhorn has the value maybe/,
    );
  });

  it('lists all faults of arms and data at once, before anything starts', async () => {
    const grid = file(`
base: quickstart
set: { data.source: 'folder:/nowhere/at/all' }
evals: [{ name: a, task: seg, protocol: quik }, { name: b, task: cls, train: 'ade20k:/not/here', test: 'ade20k:/not/here' }]
design: one-factor
axes: { masking: [random, random@0.65], registers: [6], model.heads: [3] }`);
    const text = await planGrid(grid).then(String, (error) => (error as Error).message);
    expect(text).toMatch(/arm registers=6: model\.registers is 6, but register_coordinates "edge"/);
    expect(text).toMatch(/arm model\.heads=3: model\.width 64 is not divisible by model\.heads 3/);
    expect(text).toMatch(
      /the arms masking=random and masking=random@0\.65 are the same: no setting that counts differs/,
    );
    expect(text).toMatch(/\/nowhere\/at\/all does not exist/);
    expect(text).toMatch(/no protocol quik/);
    expect(text).toMatch(/\/not\/here does not exist/);
    expect(text).toMatch(/^\d faults: \(1\) /);
  });

  it('names a source without what the evaluation needs, and too few images', async () => {
    const plan = (evals: string) =>
      planGrid(file(small.replace(/evals:.*/, `evals: [${evals}]`))).then(
        String,
        (error) => (error as Error).message,
      );
    expect(await plan('{ task: seg, protocol: quickstart, limit: 2 }')).toMatch(
      /evaluation seg: 2 training images leave 0 of them for selection/,
    );
    const pictures = join(folder, 'pictures');
    mkdirSync(pictures);
    for (let i = 0; i < 12; i++) {
      const picture = { data: new Uint8Array(32 * 32 * 3).fill(20 * i), height: 32, width: 32 };
      writeFileSync(join(pictures, `${i}.png`), await encodePng(picture));
    }
    expect(await plan(`{ task: seg, train: 'folder:${pictures}', protocol: quickstart }`)).toMatch(
      /evaluation seg: folder:.*pictures has no label maps: segmentation needs a source that has/,
    );
    expect(await plan(`{ task: cls, train: 'folder:${pictures}', protocol: quick }`)).toMatch(
      /evaluation cls: folder:.*pictures has no class labels/,
    );
  });
});

describe('names of cells', () => {
  const idsOf = async (text: string) => {
    const { cells, grid } = await planGrid(file(text));
    return new Map(
      cells.map(({ id, arm, seed, probeSeed }) => [`${grid.arms[arm]!.name}/${seed}/${probeSeed}`, id]),
    );
  };
  const arms = 'arms: { a: { registers: 0 } }\n';

  it('do not change with other arms and seeds, and not with the name of an arm', async () => {
    const before = await idsOf(small + arms);
    const after = await idsOf(
      `${small.replace('seeds: 2', 'seeds: 3')}probe_seeds: 2\narms: { b: { loss: pixel }, renamed: { registers: 0 } }\n`,
    );
    for (const seed of [0, 1]) {
      expect(after.get(`base/${seed}/0`)).toBe(before.get(`base/${seed}/0`));
      expect(after.get(`renamed/${seed}/0`)).toBe(before.get(`a/${seed}/0`));
    }
    expect(new Set(after.values()).size).toBe(after.size);
    expect(after.size).toBe(3 * 3 * 2);
  });

  it.each([
    ['steps', (text: string) => text.replace('steps: 4', 'steps: 5')],
    ['threads', (text: string) => `${text}threads: 2\n`],
    ['the limit', (text: string) => text.replace('limit: 20', 'limit: 24')],
    ['the protocol', (text: string) => text.replace('protocol: quickstart', 'protocol: quick')],
    ['the data', (text: string) => text.replace('size=32', 'size=32&difficulty=1')],
    ['the weights', (text: string) => text.replace('limit: 20', 'limit: 20, weights: student')],
  ])('change with %s', async (_, change) => {
    const [before, after] = [await idsOf(small), await idsOf(change(small))];
    for (const [cell, id] of before) expect(after.get(cell)).not.toBe(id);
  });
});

describe('the published and the small grids', () => {
  const root = join(import.meta.dirname, '../../benchmarks/ablations');
  const files = ['paper', 'small'].flatMap((kind) =>
    readdirSync(join(root, kind)).map((name) => `${kind}/${name}`),
  );
  const traced = new Map<string, number>();

  it.each(files)('%s: every arm fits and traces', (name) => {
    const grid = inline([join(root, name)]);
    expect(grid.arms.length).toBeGreaterThan(1);
    for (const arm of grid.arms) {
      const config = armConfig(grid, arm.settings);
      checkSizes(config);
      // The widths, patches and prototypes of the arm; fewer of its equal blocks, and two images.
      const { model } = config;
      const shallow = {
        ...model,
        depth: Math.min(2, model.depth),
        predictor: { ...model.predictor, depth: Math.min(2, model.predictor.depth) },
      };
      const engine = { ...config.engine, teacher_micro_batches: 1, student_micro_batches: 1 };
      const short = {
        ...config,
        model: shallow,
        engine,
        train: { ...config.train, batch: 2, steps: 1 },
        seed: 0,
        data: { ...config.data, source: '' },
      };
      const key = JSON.stringify(short);
      const flop = traced.get(key) ?? stepFlop(short);
      traced.set(key, flop);
      expect(flop).toBeGreaterThan(1e6);
    }
  });

  it('there is one for each table of the paper', () => {
    expect(files.filter((f) => f.startsWith('paper/')).sort()).toEqual(
      ['fig6-data', 'fig6-length', 'fig6-prototypes', ...'abcdefghi'].map(
        (n) => `paper/${n.length === 1 ? `table1${n}` : n}.yaml`,
      ),
    );
  });
});

describe('collapse', () => {
  const report = (step: number, health: object): StepReport => ({ step, steps: 100, health }) as StepReport;
  it.each([
    [report(24, { deadShare: 127 / 128 }), undefined],
    [report(25, { deadShare: 126 / 128 }), undefined],
    [report(25, { deadShare: 127 / 128 }), 'collapsed at step 25 of 100: 1 of 128 prototypes in use'],
    [report(99, { spread: 0.02, positionShare: 1 }), undefined],
    [
      report(99, { spread: 0.005 }),
      'collapsed at step 99 of 100: the target features vary by 0.50 % of their square',
    ],
    [report(99, {}), undefined],
    [{ ...report(99, {}), health: undefined } as unknown as StepReport, undefined],
  ])('%#', (r, expected) => {
    expect(collapse(r, 128)).toBe(expected);
  });
});
