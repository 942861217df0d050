// Official PyTorch weights: parity of a .pth with the official outputs, names however wrapped, and every fault in one line.
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type StoredTensor, writeSafetensors } from '../../src/base/safetensors.js';
import { resolvedYaml } from '../../src/config/index.js';
import { loadEncoder } from '../../src/encoder/load.js';
import { openFrozen } from '../../src/encoder/open_frozen.js';
import { encoderParameters, encoderProgram } from '../../src/encoder/program.js';
import { parseEncoderSpec } from '../../src/encoder/spec.js';
import { officialNames, type WeightsName } from '../../src/encoder/weight_groups.js';
import { DataError, UsageError } from '../../src/errors.js';
import { studentShapes } from '../../src/model/parameters.js';
import { modelSizes } from '../../src/model/sizes.js';
import { checkpoint, op, pickle } from '../checkpoint/handmade.js';
import { engines, onEveryEngine } from '../support/engines.js';
import { reference, referenceConfig, referenceDir, relativeError, tensors } from '../support/golden.js';
import { encoderFolder } from './support.js';

const folder = encoderFolder();
const c = reference.config;
const preset = join(folder, 'reference.yaml');
writeFileSync(preset, resolvedYaml(referenceConfig()));
const pth = join(referenceDir, 'student_ema.pth');
const official = `${pth}?preset=${preset}`;
const sizes = modelSizes(referenceConfig());
const load = (spec: string) => loadEncoder(parseEncoderSpec(spec));

async function failure(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => {
      throw new Error('nothing was refused');
    },
    (error) => error,
  );
}

onEveryEngine('official .pth', (engine) => {
  it('gives the official evaluation outputs', async () => {
    const { weights } = await load(official);
    const want = await tensors('forward.safetensors');
    const images = (await tensors('batch.safetensors')).get('images')!.data;
    const program = encoderProgram(sizes, { batch: c.batch, planes: true });
    const executable = await (await engine.open()).load(program, weights);
    const out = await executable.run({ images: Float32Array.from(images) });
    for (const name of ['global', 'registers', 'feature_map']) {
      // float32 against float64 through a few blocks; the bound
      expect(relativeError(out[name]!, want.get(`eval.${name}`)!.data)).toBeLessThan(1e-5);
    }
    await executable.dispose();
  });
});

describe('weights of a .pth', () => {
  it('are those of the safetensors file with the same content, bit for bit', async () => {
    const { weights, kind, mean } = await load(official);
    const all = await tensors('weights.safetensors');
    expect(Object.keys(weights)).toEqual(Object.keys(encoderParameters(sizes)));
    for (const [name, values] of Object.entries(weights)) {
      expect(values, name).toEqual(all.get(`student_ema.${name}`)!.data);
    }
    expect([kind, mean]).toEqual(['capi', [0.485, 0.456, 0.406]]);
  });

  it('open as a frozen encoder whose hash does not depend on the file or the size', async () => {
    const engine = await engines[0]!.open();
    const copy = join(folder, 'official.safetensors');
    const all = await tensors('weights.safetensors');
    const stored = new Map<string, StoredTensor>();
    for (const [name, shape] of Object.entries(studentShapes(sizes))) {
      const data = all.get(`student_ema.${name}`)!.data as Float32Array;
      stored.set(`student_ema.${name}`, { dtype: 'F32', shape, data });
      stored.set(`student.${name}`, { dtype: 'F32', shape, data: data.map((x) => 2 * x) });
    }
    await writeSafetensors(copy, stored);
    const specs = [official, `${official}&size=48x16`, `${copy}?preset=${preset}`];
    const [a, b, s, student] = await Promise.all([
      ...specs.map((spec) => openFrozen(spec, { engine, batch: 1 })),
      openFrozen(`${copy}?preset=${preset}`, { engine, batch: 1, weights: 'student' }),
    ]);
    expect(b!.weightsHash).toBe(a!.weightsHash);
    expect(s!.weightsHash).toBe(a!.weightsHash);
    expect(student!.weightsHash).not.toBe(a!.weightsHash);
    expect(student!.name).toBe(`${copy}?preset=${preset}&weights=student`);
    expect([b!.size, b!.grid]).toEqual([
      { height: 48, width: 16 },
      { rows: 48 / c.patch_size, columns: 16 / c.patch_size },
    ]);
  });
});

describe('names', () => {
  const namesOf = (names: string[], which: WeightsName = 'ema') => officialNames('x.pth', names, which).names;
  const ours = [
    'backbone.mask_token',
    'backbone.encoder.blocks.0.residual1.fn.q_proj.weight',
    'head.last_layer.weight_g',
  ];
  it.each([
    ['as they are', (n: string) => n],
    ['under model.', (n: string) => `model.${n}`],
    ['of a data-parallel module', (n: string) => `module.${n}`],
    [
      'of a compiled, sharded and checkpointed module',
      (n: string) =>
        `_orig_mod.${n.replace('backbone.', 'backbone._fsdp_wrapped_module.').replace('blocks.0.', 'blocks.0._checkpoint_wrapped_module.')}`,
    ],
    ['of a training checkpoint', (n: string) => `model.student_ema.${n}`],
  ])('%s', (_, wrap) => {
    const names = namesOf([...ours.map(wrap), 'model.teacher.head.layer.weight']);
    expect([...names.keys()].sort()).toEqual([...ours].sort());
    for (const name of ours) expect(names.get(name)).toBe(wrap(name));
  });

  it('of a bare backbone get their prefix', () => {
    expect([...namesOf(['mask_token', 'encoder.blocks.0.residual2.norm.weight']).keys()]).toEqual([
      'backbone.mask_token',
      'backbone.encoder.blocks.0.residual2.norm.weight',
    ]);
  });

  it('of student and EMA in one file are told apart', () => {
    const both = [
      'student.backbone.mask_token',
      'student_ema.backbone.mask_token',
      'teacher.backbone.mask_token',
    ];
    expect(namesOf(both).get('backbone.mask_token')).toBe(both[1]);
    expect(namesOf(both, 'student').get('backbone.mask_token')).toBe(both[0]);
  });
});

describe('of several models in a file', () => {
  it('the counter of an AveragedModel is no part of it', () => {
    const own = 'model_ema.module.backbone.mask_token';
    const { names } = officialNames('x.pth', ['model_ema.n_averaged', own], 'ema');
    expect([...names]).toEqual([['backbone.mask_token', own]]);
  });

  const taken = (prefixes: string[], which: WeightsName = 'ema') => {
    const names = prefixes.flatMap((p) => [`${p}backbone.mask_token`, `${p}head.last_layer.weight_g`]);
    const all = ['optimizer.state.0.exp_avg', 'optimizer.state.backbone.mask_token.exp_avg', 'rng', ...names];
    const found = officialNames('x.pth', all, which);
    return {
      from: found.names.get('backbone.mask_token')!.replace('backbone.mask_token', ''),
      notes: found.notes,
    };
  };

  it.each<[string[], WeightsName, string]>([
    [['model.', 'model_ema.'], 'ema', 'model_ema.'],
    [['model.', 'model_ema.'], 'student', 'model.'],
    [['model.module.', 'ema.module.'], 'ema', 'ema.module.'],
    [['state_dict.', 'state_dict_ema.'], 'ema', 'state_dict_ema.'],
    [['state_dict.model.', 'state_dict.ema_model.'], 'ema', 'state_dict.ema_model.'],
    [['student.', 'teacher.'], 'ema', 'teacher.'],
    [['student.', 'teacher.'], 'student', 'student.'],
    [['model.student.', 'model.student_ema.', 'model.teacher.'], 'ema', 'model.student_ema.'],
    [['student.'], 'ema', 'student.'],
    [['weird.'], 'ema', 'weird.'],
  ])('%s: --weights %s takes %s, and says so', (prefixes, which, expected) => {
    const { from, notes } = taken(prefixes, which);
    expect(from).toBe(expected);
    expect(notes.length).toBe(1);
    expect(notes[0]).toContain(`${expected.replace('module.', '')}*`);
    const others = prefixes.filter((p) => p !== expected);
    if (others.length > 0) expect(notes[0]).toContain(`; not ${others[0]!.replace('module.', '')}*`);
  });

  it('nothing is said where there is no choice', () => {
    expect(taken([''])).toEqual({ from: '', notes: [] });
    expect(taken(['model.'])).toEqual({ from: 'model.', notes: [] });
  });

  it('what could mean two is refused, and the EMA is never taken for the student', () => {
    expect(() => taken(['ema.', 'model_ema.'])).toThrow(
      /several models that could be the EMA: ema\.\*, model_ema\.\*/,
    );
    expect(() => taken(['model.', 'net.'])).toThrow(/several models/);
    expect(() => taken(['model_ema.'], 'student')).toThrow(/no student weights, only model_ema\.\*/);
    expect(() => taken(['teacher.'], 'student')).toThrow(/no student weights, only teacher\.\*/);
    expect(() => officialNames('x.pth', ['module.mask_token', 'backbone.mask_token'], 'ema')).toThrow(
      /holds backbone\.mask_token twice/,
    );
  });
});

describe('what was never filled', () => {
  const made = async (
    file: string,
    change: (name: string, values: Float32Array) => Float32Array,
    more = {},
  ) => {
    const all = await tensors('weights.safetensors');
    const stored = new Map<string, StoredTensor>(Object.entries(more));
    for (const [name, shape] of Object.entries(studentShapes(sizes))) {
      const values = Float32Array.from(all.get(`student_ema.${name}`)!.data as Float32Array);
      stored.set(name, { dtype: 'F32', shape, data: change(name, values) });
    }
    const path = join(folder, file);
    await writeSafetensors(path, stored);
    return `${path}?preset=${preset}`;
  };

  it('is refused by name: all zeros, some zeros, one value, norms of zero', async () => {
    const refused = async (file: string, pattern: RegExp, change: (v: Float32Array) => Float32Array) =>
      (await failure(load(await made(file, (n, v) => (pattern.test(n) ? change(v) : v))))).message;
    expect(await refused('z1.safetensors', /./, (v) => v.fill(0))).toMatch(
      /z1\.safetensors was never filled with weights: \d+ of its \d+ tensors hold one value alone \(backbone\./,
    );
    expect(await refused('z2.safetensors', /encoder\.blocks\.1\..*q_proj/, (v) => v.fill(0))).toMatch(
      /1 of its \d+ tensors hold one value alone \(backbone\.encoder\.blocks\.1\.residual1\.fn\.q_proj\.weight: 0\)/,
    );
    expect(await refused('z3.safetensors', /fc1\.weight/, (v) => v.fill(0.5))).toMatch(/fc1\.weight: 0\.5/);
    expect(await refused('z4.safetensors', /blocks\.0\.residual2\.norm/, (v) => v.fill(0))).toMatch(
      /norm\.weight: 0/,
    );
    expect(await refused('z5.safetensors', /fc2/, (v) => v.fill(Number.NaN, 3, 4))).toMatch(/holds NaN/);
  });

  it('in part is said', async () => {
    const half = await made('half.safetensors', (n, v) => (/fc1/.test(n) ? v.fill(0, v.length / 2) : v));
    expect((await load(half)).notes).toEqual([
      expect.stringMatching(/% of the weights in .*half.* are exactly 0$/),
    ]);
    expect((await load(await made('whole.safetensors', (_, v) => v))).notes).toEqual([]);
  });

  it('beside the EMA is not what is loaded', async () => {
    const plain = await load(official);
    const both = new Map<string, StoredTensor>();
    for (const [name, shape] of Object.entries(studentShapes(sizes))) {
      const values =
        plain.weights[name] ??
        Float32Array.from(
          (await tensors('weights.safetensors')).get(`student_ema.${name}`)!.data as Float32Array,
        );
      both.set(`model_ema.module.${name}`, { dtype: 'F32', shape, data: values });
      both.set(`model.${name}`, { dtype: 'F32', shape, data: new Float32Array(values.length) });
    }
    const path = join(folder, 'both.safetensors');
    await writeSafetensors(path, both);
    const found = await load(`${path}?preset=${preset}`);
    expect(found.weights).toEqual(plain.weights);
    expect(found.notes).toEqual(['weights model_ema.* of the file were taken (the EMA); not model.*']);
    expect((await failure(load(`${path}?preset=${preset}&weights=student`))).message).toMatch(/never filled/);
  });
});

describe('what does not fit', () => {
  const other = (changes: string) => {
    const file = join(folder, `other-${changes.replace(/\W+/g, '-')}.yaml`);
    writeFileSync(file, `extends: ${preset}\n${changes}\n`);
    return `${pth}?preset=${file}`;
  };

  it('is reported together: missing, unexpected and wrongly shaped tensors', async () => {
    const error = await failure(load(other('model: { depth: 4, predictor: { depth: 1 }, mlp_ratio: 2 }')));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(
      /student_ema\.pth does not fit the sizes of .*\.yaml: 9 missing \(backbone\.encoder\.blocks\.3\.\S+; .*; and 6 more\), 9 unexpected \(backbone\.decoder\.blocks\.1\..*\), 8 of another shape \(backbone\.decoder\.blocks\.0\.residual2\.fn\.fc1\.weight is \[256,64\], should be \[128,64\]/,
    );
    expect(error.message).not.toContain('\n');
  });

  it('a preset must be named, and exist', async () => {
    expect(await failure(load(pth))).toBeInstanceOf(UsageError);
    expect((await failure(load(pth))).message).toMatch(/does not say its sizes: name the preset/);
    expect((await failure(load(`${pth}?preset=vit-l-41`))).message).toMatch(/did you mean vit-l-14/);
  });

  it('a file of other tensors is no backbone', async () => {
    const file = join(folder, 'other.safetensors');
    copyFileSync(join(referenceDir, 'batch.safetensors'), file);
    expect((await failure(load(`${file}?preset=${preset}`))).message).toMatch(
      /holds no CAPI backbone: none of its \d+ tensors is named backbone\.\* \(it has \w+/,
    );
  });

  it('a dict that holds itself is no backbone either', async () => {
    const file = join(folder, 'self.pth');
    writeFileSync(file, checkpoint(pickle('}q\x00', op.text('model'), 'h\x00s')));
    expect((await failure(load(`${file}?preset=${preset}`))).message).toMatch(
      /holds no CAPI backbone: none of its 0/,
    );
  });

  it('weights that are not finite are refused by name', async () => {
    const all = await tensors('weights.safetensors');
    const stored = new Map<string, StoredTensor>();
    for (const [name, shape] of Object.entries(studentShapes(sizes))) {
      stored.set(name, { dtype: 'F32', shape, data: Float32Array.from(all.get(`student.${name}`)!.data) });
    }
    (stored.get('backbone.mask_token')!.data as Float32Array)[3] = Number.NaN;
    const file = join(folder, 'nan.safetensors');
    await writeSafetensors(file, stored);
    expect((await failure(load(`${file}?preset=${preset}`))).message).toMatch(
      /backbone\.mask_token holds NaN or infinity$/,
    );
  });
});
