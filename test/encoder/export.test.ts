// Exported encoders: any batch, any resolution, the same features as the encoder itself, and standard operators only.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import onnxProto from 'onnx-proto';
import { describe, expect, it } from 'vitest';
import { readSafetensors } from '../../src/base/safetensors.js';
import { resolvedYaml } from '../../src/config/index.js';
import { exportEncoder } from '../../src/encoder/export.js';
import { loadEncoder } from '../../src/encoder/load.js';
import { openFrozen } from '../../src/encoder/open_frozen.js';
import { parseEncoderSpec } from '../../src/encoder/spec.js';
import { exportOnnx } from '../../src/engine/onnx/export.js';
import { UsageError } from '../../src/errors.js';
import { studentShapes } from '../../src/model/parameters.js';
import { modelSizes } from '../../src/model/sizes.js';
import { tf } from '../../src/tensor/tf.js';
import { engines } from '../support/engines.js';
import { referenceConfig, referenceDir, relativeError } from '../support/golden.js';
import { encoderFolder, randomImages } from './support.js';

const { onnx } = onnxProto as unknown as { onnx: typeof import('onnx-proto').onnx };
const folder = encoderFolder();
const preset = join(folder, 'reference.yaml');
writeFileSync(preset, resolvedYaml(referenceConfig()));
const official = `${join(referenceDir, 'student_ema.pth')}?preset=${preset}`;
const engine = await engines[0]!.open();

async function failure(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => {
      throw new Error('nothing was refused');
    },
    (error) => error,
  );
}

describe('an exported ONNX file', () => {
  const sizes = [
    [32, 32, [1, 3, 8]],
    [48, 20, [3]],
    [4, 4, [2]],
  ] as const;
  // Both are float32 programs; they differ in the order of additions. On this model the onnx engine is up to 1.3e-6 away
  // from the reference engine, which adds in float64, and so is the file.
  const rounding = 3e-6;
  it.each(sizes)('of %i x %i px gives the same features at batches %j', async (height, width, batches) => {
    const out = join(folder, `encoder-${height}x${width}.onnx`);
    const size = { height, width };
    const result = await exportEncoder(official, { out, size });
    expect(result.difference).toBeLessThan(rounding);
    expect(result.files).toEqual([out, `${out}.yaml`]);
    for (const batch of batches) {
      const images = randomImages(batch, height, width, batch);
      const ours = await openFrozen(official, { engine, batch, size });
      const theirs = await openFrozen(out, { engine, batch });
      const [a, b] = [await ours.run(images), await theirs.run(images)];
      for (const part of ['global', 'registers', 'patches'] as const) {
        expect(relativeError(b[part]!, a[part]!), `${part} of ${batch}`).toBeLessThan(rounding);
      }
      const facts = ({ size, patch, grid, patchWidth, globalWidth, registers, batch }: typeof ours) => ({
        size,
        patch,
        grid,
        patchWidth,
        globalWidth,
        registers,
        batch,
      });
      expect(facts(theirs)).toEqual(facts(ours));
      await ours.close();
      await theirs.close();
    }
  });

  it('has an open batch, the weights by name, and operators of the standard alone', async () => {
    const out = join(folder, 'model.onnx');
    await exportEncoder(official, { out });
    const model = onnx.ModelProto.decode(readFileSync(out));
    const graph = model.graph!;
    expect(model.opsetImport!.map((o) => o.domain)).toEqual(['']);
    expect(graph.node!.filter((n) => n.domain)).toEqual([]);
    const shape = (v: { type?: unknown }) =>
      (
        v as never as { type: { tensorType: { shape: { dim: { dimParam: string; dimValue: number }[] } } } }
      ).type.tensorType.shape.dim.map((d) => d.dimParam || Number(d.dimValue));
    expect(graph.input!.map((i) => [i.name, shape(i)])).toEqual([['images', ['batch', 3, 32, 32]]]);
    expect(Object.fromEntries(graph.output!.map((o) => [o.name, shape(o)]))).toEqual({
      global: ['batch', 64],
      registers: ['batch', 4, 64],
      feature_map: ['batch', 8, 8, 64],
    });
    const stored = graph.initializer!.map((t) => t.name);
    expect(stored).toContain('backbone.encoder.blocks.2.residual2.fn.fc1.weight');
    expect(stored.filter((n) => n!.startsWith('head.'))).toEqual([]);
  });

  it('without registers has none', async () => {
    const file = join(folder, 'bare.yaml');
    writeFileSync(file, `extends: ${preset}\nmodel: { registers: 0, predictor: { width: 32, heads: 2 } }\n`);
    const out = join(folder, 'bare.onnx');
    await exportEncoder(`random:${file}?seed=3`, { out });
    const encoder = await openFrozen(out, { engine, batch: 2 });
    expect([encoder.registers, encoder.globalWidth]).toEqual([null, 32]);
    await encoder.close();
  });

  it('is not written over another file, nor left half-written', async () => {
    const out = join(folder, 'kept.onnx');
    writeFileSync(`${out}.yaml`, 'mine');
    const error = await failure(exportEncoder(official, { out }));
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toBe(
      `${out}.yaml exists: name another file with --out, or overwrite it with --force`,
    );
    expect([existsSync(out), readFileSync(`${out}.yaml`, 'utf8')]).toEqual([false, 'mine']);
    await exportEncoder(official, { out, force: true });
    expect(existsSync(out)).toBe(true);
    expect(existsSync(`${out}.partial`)).toBe(false);
  });

  it.each([
    ['pixels:8?size=32', 'a.onnx', /not of our architecture/],
    [official, 'a.txt', /accepted: FILE\.onnx or FILE\.safetensors/],
    [`${official}&size=30`, 'a.onnx', /the height 30 is not divisible by its patch 4; nearest that fits: 32/],
    [`${official}&size=32`, 'a.safetensors', /a size is for \.onnx files/],
  ])('%s to %s is refused', async (spec, name, message) => {
    const error = await failure(exportEncoder(spec, { out: join(folder, name) }));
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toMatch(message);
  });
});

describe('a program whose numbers follow the batch', () => {
  it('in another way than linearly is refused, naming the sizes', () => {
    const at = (batch: number) => ({
      name: 'square',
      inputs: { x: { shape: [batch, 4], dtype: 'float32' as const } },
      state: [],
      run: ({ x }: Record<string, never>) => ({
        y: tf.reshape(tf.tile(tf.reshape(x!, [batch, 1, 4]), [1, batch, 1]), [batch * batch, 4]),
      }),
    });
    expect(() => exportOnnx({ name: 'square', at: at as never, batchInput: 'x', weights: {} })).toThrow(
      /square cannot be exported for any batch: a size is 1018081, /,
    );
  });

  it('as a float constant is refused', () => {
    const at = (batch: number) => ({
      name: 'mean',
      inputs: { x: { shape: [batch, 4], dtype: 'float32' as const } },
      state: [],
      run: ({ x }: Record<string, never>) => ({ y: tf.mean(x!, 0) }),
    });
    expect(() => exportOnnx({ name: 'mean', at: at as never, batchInput: 'x', weights: {} })).toThrow(
      /mean cannot be exported for any batch: constant \w+ of type float32 follows the batch/,
    );
  });
});

describe('an exported safetensors file', () => {
  it('holds the whole state dict under official names, and opens as the same encoder', async () => {
    const out = join(folder, 'encoder.safetensors');
    const { difference } = await exportEncoder(official, { out });
    expect(difference).toBeUndefined();
    const { tensors } = await readSafetensors(out);
    const want = await readSafetensors(join(referenceDir, 'weights.safetensors'));
    const shapes = studentShapes(modelSizes(referenceConfig()));
    expect([...tensors.keys()].sort()).toEqual(Object.keys(shapes).sort());
    for (const [name, t] of tensors) {
      expect(t, name).toEqual(want.tensors.get(`student_ema.${name}`));
    }
    const [a, b] = await Promise.all([official, out].map((spec) => openFrozen(spec, { engine, batch: 1 })));
    expect(b!.weightsHash).toBe(a!.weightsHash);
    expect(b!.name).toBe(out);
    expect((await loadEncoder(parseEncoderSpec(out))).mean).toEqual(a!.mean);
  });
});
