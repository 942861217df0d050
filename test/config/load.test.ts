// Configuration: defaults, presets and extends, --set, and the words of each refusal.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig, parseConfig, resolvedYaml } from '../../src/config/index.js';
import { presetNames } from '../../src/config/presets.js';
import { checkSizes, patchCounts } from '../../src/config/sizes.js';
import { EXIT, UsageError } from '../../src/errors.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** The message of the UsageError that `run` throws. */
function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    expect((error as UsageError).exitCode).toBe(EXIT.usage);
    expect((error as UsageError).message).not.toContain('\n');
    return (error as UsageError).message;
  }
  throw new Error('was accepted');
}

const set = (...sets: string[]) => loadConfig({ sets }).config;

describe('presets', () => {
  it('are the six published by this package, and all load, fit and can be run', () => {
    expect(presetNames()).toEqual([
      'ablation-vit-l-16',
      'fashion',
      'quickstart',
      'vit-b-14',
      'vit-l-14',
      'vit-s-14',
    ]);
    for (const preset of presetNames()) {
      const { config, source } = loadConfig({ preset });
      expect(source).toBe(preset);
      checkSizes(config);
    }
  });

  it('vit-l-14 is exactly the defaults', () => {
    expect(loadConfig({ preset: 'vit-l-14' }).config).toEqual(loadConfig().config);
  });

  it('the published models hold the values of the paper (Table 8) and its counts of patches (Table 6)', () => {
    const small = loadConfig({ preset: 'vit-s-14' }).config;
    expect([small.model.width, small.model.depth, small.model.predictor.depth]).toEqual([384, 12, 6]);
    expect([small.optim.lr, small.optim.momentum, small.optim.clustering_lr]).toEqual([2e-3, 0.998, 1e-3]);
    expect(small.train).toEqual({ steps: 500_000, batch: 16_384 });
    const base = loadConfig({ preset: 'vit-b-14' }).config;
    expect([base.model.width, base.model.depth, base.model.predictor.depth, base.optim.lr]).toEqual([
      768, 12, 6, 1e-3,
    ]);
    const ablation = loadConfig({ preset: 'ablation-vit-l-16' }).config;
    expect([ablation.train.steps, ablation.optim.lr, ablation.optim.momentum]).toEqual([
      100_000, 2e-3, 0.996,
    ]);
    // Table 6 says 7 predictions an image; the official code's rounding gives 8 at patch 14 and 6 at patch 16.
    expect(patchCounts(base)).toEqual({
      grid: [16, 16],
      patches: 256,
      visible: 90,
      masked: 166,
      predicted: 8,
      queries: 8,
    });
    expect(patchCounts(ablation)).toEqual({
      grid: [14, 14],
      patches: 196,
      visible: 69,
      masked: 127,
      predicted: 6,
      queries: 6,
    });
  });
});

describe('layers', () => {
  it('a file extends a preset by name and another file by path; lists are replaced, sections merged', () => {
    file('parent.yaml', 'extends: fashion\nmodel: {registers: 8}\ndata: {crop_scale: [0.2, 1]}\n');
    const child = file('child.yaml', 'extends: parent.yaml\ndata: {crop_scale: [0.3, 0.9]}\n');
    const { config } = loadConfig({
      preset: child,
      sets: ['model.registers=12', 'seed=3'],
      overrides: { seed: 4, 'train.steps': undefined },
    });
    expect(config.model.width).toBe(64);
    expect(config.model.registers).toBe(12);
    expect(config.data.crop_scale).toEqual([0.3, 0.9]);
    expect(config.seed).toBe(4);
    expect(config.train.steps).toBe(6862);
  });

  it('the resolved YAML reads back to the same configuration', () => {
    const sets = [
      'model.image_size=[32, 64]',
      'model.patch_size=8',
      'data.normalise={mean: [0.1,0.2,0.3], std: [1,1,1]}',
      'optim.eps=1e-12',
    ];
    const { config } = loadConfig({ preset: 'fashion', sets });
    const path = file('resolved.yaml', resolvedYaml(config));
    expect(loadConfig({ preset: path }).config).toEqual(config);
  });

  it('--set takes scalars, lists and mappings of YAML, and a source as it stands', () => {
    expect(set('optim.lr=2e-3').optim.lr).toBe(0.002);
    expect(set('model.image_size=[32, 64]').model.image_size).toEqual([32, 64]);
    expect(set('masking.roll=false').masking.roll).toBe(false);
    expect(set('engine.threads=null').engine.threads).toBeNull();
    expect(set('data.source=folder:/a b/#1: x?split=train').data.source).toBe(
      'folder:/a b/#1: x?split=train',
    );
    expect(set('model={width: 64, heads: 4}').model.width).toBe(64);
    expect(set('train.steps=5', 'train.steps=6').train.steps).toBe(6);
  });
});

describe('refusals', () => {
  it.each([
    ['model.regsters=4', 'did you mean "model.registers"'],
    ['registers=4', 'did you mean "model.registers"'],
    ['registrs=4', 'did you mean "model.registers"'],
    ['modle.width=4', 'did you mean "model.width"'],
    ['modle.predictor.depht=4', 'did you mean "model.predictor.depth"'],
    ['train.bacth=4', 'did you mean "train.batch"'],
    ['model.predictor.wdith=4', 'did you mean "model.predictor.width"'],
    ['masking.predct=1', 'did you mean "masking.predict"'],
    ['sed=1', 'did you mean "seed"'],
  ])('unknown key in --set %s', (text, expected) => {
    const message = refusal(() => set(text));
    expect(message).toContain(`"${text.split('=')[0]}"`);
    expect(message).toContain(`--set ${text}`);
    expect(message).toContain(expected);
  });

  it('unknown key in a file names the file', () => {
    const path = file('typo.yaml', 'train: {bacth: 3}\n');
    const message = refusal(() => loadConfig({ preset: path }));
    expect(message).toBe(`unknown config key "train.bacth" (${path}); did you mean "train.batch"?`);
  });

  it.each([
    [
      'model.width=abc',
      'model.width is "abc" (--set model.width=abc); accepted: a whole number of at least 1',
    ],
    ['model.width=1.5', 'model.width is 1.5 (--set model.width=1.5); accepted: a whole number of at least 1'],
    [
      'model.image_size=[1, x]',
      'model.image_size is [1,"x"] (--set model.image_size=[1, x]); accepted: a number of pixels, or [height, width]',
    ],
    [
      'masking.type=blok',
      'masking.type is "blok" (--set masking.type=blok); accepted: inverse | block | random',
    ],
    ['masking.ratio=1', 'masking.ratio is 1 (--set masking.ratio=1); accepted: a number between 0 and 1'],
    ['masking.roll=1', 'masking.roll is 1 (--set masking.roll=1); accepted: true | false'],
    [
      'data.crop_scale=[1, 0.5]',
      'data.crop_scale is [1,0.5] (--set data.crop_scale=[1, 0.5]); accepted: [low, high] with 0 < low <= high <= 1',
    ],
    ['optim.lr=.nan', 'optim.lr is NaN (--set optim.lr=.nan); accepted: a number of at least 0'],
    ['optim.lr=.inf', 'optim.lr is Infinity (--set optim.lr=.inf); accepted: a number of at least 0'],
    ['model=3', 'model is 3 (--set model=3); accepted: the keys image_size, patch_size'],
    ['train.steps=', 'train.steps is null (--set train.steps=); accepted: a whole number of at least 1'],
    ['model.width', '--set model.width: accepted: KEY=VALUE'],
    ['model.width=[1', '--set model.width=[1: the value is not YAML'],
  ])('wrong value in --set %s', (text, expected) => {
    expect(refusal(() => set(text))).toContain(expected);
  });

  it('a missing preset names the nearest; a missing file, a cycle and a file that is not YAML are named', () => {
    expect(refusal(() => loadConfig({ preset: 'fasion' }))).toContain(
      'no preset "fasion"; did you mean fashion? (presets: ablation-vit-l-16, ',
    );
    expect(refusal(() => loadConfig({ preset: 'no/such.yaml' }))).toBe('no config file no/such.yaml');
    const loop = file('loop.yaml', 'extends: loop.yaml\n');
    expect(refusal(() => loadConfig({ preset: loop }))).toContain('extends itself');
    const broken = file('broken.yaml', 'a: [1\nb: 2');
    expect(refusal(() => loadConfig({ preset: broken }))).toContain(`${broken} is not YAML: `);
    const list = file('list.yaml', '- 1\n');
    expect(refusal(() => loadConfig({ preset: list }))).toContain('accepted: a mapping');
    expect(refusal(() => loadConfig({ preset: `${folder}/` }))).toContain('cannot read config file');
  });
});

describe('sizes', () => {
  const small = ['model.image_size=32', 'model.patch_size=4', 'model.heads=4'];
  const size = (...sets: string[]) =>
    refusal(() => checkSizes(loadConfig({ preset: 'quickstart', sets: [...small, ...sets] }).config));
  it.each([
    [['model.image_size=30'], /the height 30 is not divisible by model.patch_size 4; nearest that fits: 32/],
    [['model.image_size=[32, 30]'], /the width 30 is not divisible/],
    [['model.heads=5'], /model.width 64 is not divisible by model.heads 5/],
    [['model.heads=32'], /2 channels a head, but rotary positions need a multiple of 4/],
    [['model.predictor.width=66'], /model.predictor.width 66 is not divisible by model.predictor.heads 4/],
    [['model.registers=3'], /model.registers is 3, but .*a multiple of 4/],
    [['model.registers=6'], /model.registers is 6/],
    [['masking.ratio=0.01'], /masks none of the 64 patches \(8 x 8\)/],
    [['masking.predict=0.01'], /predicts none of the 41 masked/],
    [
      ['engine.micro_batch=48'],
      /train.batch 128 is not divisible by engine.micro_batch 48 \(--micro-batch\); nearest that fit: 32 and 64/,
    ],
    [
      ['engine.micro_batch=32', 'engine.student_micro_batches=2'],
      /engine.micro_batch 32 .* cuts train.batch 128 into 4 parts, engine.student_micro_batches into 2/,
    ],
    [
      ['engine.teacher_micro_batches=3'],
      /train.batch 128 is not divisible by engine.teacher_micro_batches 3/,
    ],
    [['model.rope_min=8'], /rope_min 8 is above model.rope_max 7/],
  ])('%s', (sets, expected) => {
    expect(size(...sets)).toMatch(expected);
  });

  it('accepts no registers, any number at the origin, and images that are not square', () => {
    checkSizes(set('model.registers=0'));
    checkSizes(set('model.registers=5', 'model.register_coordinates=zeros'));
    checkSizes(set('model.image_size=[28, 70]', 'masking.predict=1'));
  });
});

describe('settings that do not go together', () => {
  it.each([
    [
      ['model.predictor.type=fused', 'model.predictor.width=512'],
      'model.predictor.width and heads are 512 and null, but a fused predictor is the encoder itself (1024 and 16); leave them null',
    ],
    [
      ['loss.type=direct', 'model.predictor.width=512'],
      'model.predictor.width is 512, but loss.type=direct compares predictions with features of the encoder, whose width is 1024: the widths must be equal',
    ],
    [
      ['loss.type=ibot', 'model.predictor.width=512'],
      "model.predictor.width is 512, but loss.type=ibot puts the teacher's copy of the head on the encoder, whose width is 1024: the widths must be equal",
    ],
  ])('%j', (sets, expected) => {
    expect(refusal(() => checkSizes(set(...sets)))).toBe(expected);
  });

  it('parseConfig completes plain values', () => {
    expect(parseConfig({ seed: 7 }).seed).toBe(7);
    expect(refusal(() => parseConfig({ sede: 7 }, 'run.yaml'))).toContain('(run.yaml); did you mean "seed"');
  });

  it('learned positions need neither four registers nor channels by fours', () => {
    checkSizes(set('model.positions=learned', 'model.registers=3', 'model.width=96', 'model.heads=16'));
  });
});
