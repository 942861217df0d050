// Official PyTorch weights: parity of a .pth with the official outputs, names however wrapped, and every fault in one line.
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { resolvedYaml } from '../../src/config/index.js';
import { loadEncoder } from '../../src/encoder/load.js';
import { officialNames } from '../../src/encoder/official.js';
import { openFrozen } from '../../src/encoder/open_frozen.js';
import { encoderParameters, encoderProgram } from '../../src/encoder/program.js';
import { parseEncoderSpec } from '../../src/encoder/spec.js';
import { DataError, UsageError } from '../../src/errors.js';
import { studentShapes } from '../../src/model/parameters.js';
import { modelSizes } from '../../src/model/sizes.js';
import { type StoredTensor, writeSafetensors } from '../../src/tensor/safetensors.js';
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
    const names = officialNames([...ours.map(wrap), 'model.teacher.head.layer.weight'], 'ema');
    expect([...names.keys()].sort()).toEqual([...ours].sort());
    for (const name of ours) expect(names.get(name)).toBe(wrap(name));
  });

  it('of a bare backbone get their prefix', () => {
    expect([
      ...officialNames(['mask_token', 'encoder.blocks.0.residual2.norm.weight'], 'ema').keys(),
    ]).toEqual(['backbone.mask_token', 'backbone.encoder.blocks.0.residual2.norm.weight']);
  });

  it('of student and EMA in one file are told apart', () => {
    const both = [
      'student.backbone.mask_token',
      'student_ema.backbone.mask_token',
      'teacher.backbone.mask_token',
    ];
    expect(officialNames(both, 'ema').get('backbone.mask_token')).toBe(both[1]);
    expect(officialNames(both, 'student').get('backbone.mask_token')).toBe(both[0]);
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
