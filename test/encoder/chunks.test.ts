// A batch in parts: how many images each has, and that they give what the whole batch gives.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { inParts, streamsOf } from '../../src/encoder/chunks.js';
import { loadEncoder } from '../../src/encoder/load.js';
import { openFrozen } from '../../src/encoder/open_frozen.js';
import { encoderProgram } from '../../src/encoder/program.js';
import { parseEncoderSpec } from '../../src/encoder/spec.js';
import { OnnxEngine } from '../../src/engine/onnx/session.js';
import { modelSizes } from '../../src/model/sizes.js';
import { relativeError } from '../support/golden.js';
import { encoderFolder, randomImages } from './support.js';

it('takes the largest part of a batch that fits the caches of the threads', () => {
  const base = { registers: 16, patches: 64, hidden: 768 }; // 240 KiB an image
  const small = { registers: 16, patches: 256, hidden: 1536 }; // 1.6 MiB
  const on = (threads?: number, name: 'onnx' | 'reference' = 'onnx') =>
    ({ name, device: 'cpu', ...(threads ? { threads } : {}) }) as const;
  const one = (images: number) => ({ images, streams: 1 });
  expect(streamsOf(base, 64, on())).toEqual(one(4));
  expect(streamsOf(base, 64, on(2))).toEqual({ images: 4, streams: 2 });
  expect(streamsOf(base, 64, on(2, 'reference'))).toEqual(one(8));
  expect(streamsOf(base, 4, on(2))).toEqual(one(4)); // no second part for the second thread
  expect(streamsOf(base, 7, on())).toEqual(one(1));
  expect(streamsOf(base, 3, on())).toEqual(one(3));
  expect(streamsOf(small, 32, on())).toEqual(one(1));
  expect(streamsOf(small, 32, on(4))).toEqual({ images: 1, streams: 4 });
  expect(streamsOf(small, 32, on(16))).toEqual(one(8)); // more threads than Node's pool has
  expect(streamsOf(small, 32, { name: 'onnx', device: 'webgpu', threads: 2 })).toEqual(one(32));
});

it('throws what a part throws, when no other goes on', async () => {
  let going = 0;
  const work = inParts(new Uint8Array(6), { parts: 6, streams: 2 }, async ([first]) => {
    going++;
    await new Promise((resolve) => setTimeout(resolve, first === 0 ? 5 : 20));
    going--;
    throw new Error('no such part');
  });
  await expect(work).rejects.toThrow('no such part');
  expect(going).toBe(0);
});

it('gives in parts what the whole batch gives', async () => {
  const preset = join(encoderFolder(), 'wide.yaml');
  writeFileSync(
    preset,
    'model: { image_size: 64, patch_size: 4, width: 256, heads: 4, depth: 1, registers: 4, predictor: { depth: 1 } }\nclustering: { prototypes: 8 }\n',
  );
  const engine = new OnnxEngine({ threads: 2 });
  const loaded = await loadEncoder(parseEncoderSpec(`random:${preset}?seed=1`));
  const sizes = modelSizes(loaded.config);
  expect(streamsOf(sizes, 3, engine)).toEqual({ images: 1, streams: 2 });
  const { mean, std } = loaded;
  const whole = await engine.load(encoderProgram(sizes, { batch: 3, mean, std }));
  whole.setState(loaded.weights);
  const images = randomImages(3, 64, 64);
  const want = await whole.run({ images });
  const encoder = await openFrozen(`random:${preset}?seed=1`, { engine, batch: 3 });
  const got = await encoder.run(images);
  // Products of other sizes round differently.
  for (const [part, name] of [
    ['global', 'global'],
    ['registers', 'registers'],
    ['patches', 'feature_map'],
  ] as const) {
    expect(relativeError(got[part]!, want[name]!), part).toBeLessThan(1e-6);
  }
  await whole.dispose();
  await encoder.close();
});
