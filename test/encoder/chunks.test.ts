// A batch in parts: how many images each has, and that they give what the whole batch gives.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { imagesAtOnce } from '../../src/encoder/chunks.js';
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
  const cpu = (threads?: number) => ({ device: 'cpu', ...(threads ? { threads } : {}) }) as const;
  expect(imagesAtOnce(base, 64, cpu())).toBe(4);
  expect(imagesAtOnce(base, 64, cpu(2))).toBe(8);
  expect(imagesAtOnce(base, 7, cpu())).toBe(1);
  expect(imagesAtOnce(base, 3, cpu())).toBe(3);
  expect(imagesAtOnce(small, 32, cpu())).toBe(1);
  expect(imagesAtOnce(small, 32, cpu(16))).toBe(8);
  expect(imagesAtOnce(small, 32, { device: 'webgpu' })).toBe(32);
});

it('gives in parts what the whole batch gives', async () => {
  const preset = join(encoderFolder(), 'wide.yaml');
  writeFileSync(
    preset,
    'model: { image_size: 64, patch_size: 4, width: 256, heads: 4, depth: 1, registers: 4, predictor: { depth: 1 } }\nclustering: { prototypes: 8 }\n',
  );
  const engine = new OnnxEngine({ threads: 1 });
  const loaded = await loadEncoder(parseEncoderSpec(`random:${preset}?seed=1`));
  const sizes = modelSizes(loaded.config);
  expect(imagesAtOnce(sizes, 3, engine)).toBe(1);
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
