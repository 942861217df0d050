// The floors: pixels as they are, positions that a linear probe can tell apart, random weights that depend on the seed alone.
import { describe, expect, it } from 'vitest';
import { positionFeatures } from '../../src/encoder/floors.js';
import { openFrozen } from '../../src/encoder/open_frozen.js';
import { UsageError } from '../../src/errors.js';
import { engines } from '../support/engines.js';
import { randomImages } from './support.js';

const engine = await engines[0]!.open();
const open = (spec: string, more: object = {}) => openFrozen(spec, { engine, batch: 2, ...more });

describe('pixels', () => {
  it('are the normalised bytes of each patch, channel by channel', async () => {
    const encoder = await open('pixels:4?size=8x12');
    const images = randomImages(2, 8, 12);
    const { patches, global, registers } = await encoder.run(images);
    expect([global, registers, encoder.globalWidth, encoder.registers]).toEqual([
      undefined,
      undefined,
      null,
      null,
    ]);
    expect([encoder.patchWidth, encoder.grid]).toEqual([48, { rows: 2, columns: 3 }]);
    const at = (b: number, y: number, x: number, c: number) => images[((b * 8 + y) * 12 + x) * 3 + c]!;
    for (const [b, y, x, c] of [
      [0, 0, 0, 0],
      [0, 3, 5, 1],
      [1, 7, 11, 2],
      [1, 4, 0, 1],
    ] as const) {
      const patch = b * 6 + Math.floor(y / 4) * 3 + Math.floor(x / 4);
      const value = patches[patch * 48 + c * 16 + (y % 4) * 4 + (x % 4)]!;
      const want = (at(b, y, x, c) / 255 - encoder.mean[c]!) / encoder.std[c]!;
      expect(value).toBe(Math.fround(want));
    }
  });

  it.each([
    ['pixels:8?size=64', 'pixels:8?size=64'],
    ['pixels:?patch=8&size=64x32', 'pixels:8?size=64x32'],
    ['position:4?size=64', 'position:4?size=64'],
  ])('%s is called %s, which opens it again', async (spec, name) => {
    const a = await open(spec);
    expect(a.name).toBe(name);
    const b = await open(a.name);
    expect([b.weightsHash, b.size]).toEqual([a.weightsHash, a.size]);
  });

  it('take the size of the caller, but their own first', async () => {
    const size = { height: 16, width: 32 };
    expect((await open('pixels:8', { size })).name).toBe('pixels:8?size=16x32');
    expect((await open('pixels:8?size=8', { size })).size).toEqual({ height: 8, width: 8 });
  });

  it.each([
    ['pixels:8', /does not say its size; for example pixels:8\?size=64/],
    ['pixels:?size=8', /does not say its patch/],
    ['pixels:8?patch=8&size=8', /names its patch twice/],
    ['pixels:8?size=20', /the height 20 is not divisible by its patch 8; nearest that fits: 24/],
    ['pixels:0?size=8', /patch=0; it must be a whole number of at least 1/],
    ['pixels:8?size=big', /is 'big'; accepted: pixels such as 224/],
    ['pixels:8?sise=8', /unknown option 'sise'; known options: patch, size/],
    ['pixel:8', /unknown scheme 'pixel'; accepted: a run folder/],
    ['runs/none', /no encoder 'runs\/none': accepted: a run folder/],
  ])('%s is a usage error', async (spec, message) => {
    const error = await open(spec).then(
      () => new Error('it opened'),
      (e: Error) => e,
    );
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toMatch(message);
  });
});

describe('positions', () => {
  it('are an orthogonal basis without the constant, so that a linear map can single out each one', () => {
    for (const [rows, columns] of [
      [4, 6],
      [1, 5],
      [16, 16],
    ] as const) {
      const n = rows * columns;
      const f = positionFeatures(rows, columns);
      const width = n - 1;
      expect(f.length).toBe(n * width);
      // f f^T = n I - 1 1^T: rows are the corners of a regular simplex around 0. Rounding of sums of n float32 values.
      let worst = 0;
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) {
          let dot = 0;
          for (let k = 0; k < width; k++) dot += f[i * width + k]! * f[j * width + k]!;
          worst = Math.max(worst, Math.abs(dot - ((i === j ? n : 0) - 1)));
        }
      }
      expect(worst).toBeLessThan(1e-6 * n);
    }
  });

  it('keep at most 16 x 16 frequencies, and tell the patches of a finer grid apart', () => {
    const f = positionFeatures(40, 40);
    const width = 255;
    expect(f.length).toBe(1600 * width);
    const texts = new Set(Array.from({ length: 1600 }, (_, i) => f.slice(i * width, (i + 1) * width).join()));
    expect(texts.size).toBe(1600);
  });

  it('do not look at the image', async () => {
    const encoder = await open('position:8?size=24x16');
    const a = await encoder.run(randomImages(2, 24, 16, 1));
    const b = await encoder.run(randomImages(2, 24, 16, 2));
    expect(a).toEqual(b);
    const half = a.patches.length / 2;
    expect(a.patches.slice(half)).toEqual(a.patches.slice(0, half));
    expect(positionFeatures(1, 1)).toEqual(Float32Array.of(1));
  });
});

describe('random', () => {
  it('depends on the seed alone, and says so', async () => {
    const images = randomImages(2, 64, 64);
    const run = async (spec: string) => {
      const encoder = await open(spec);
      const features = await encoder.run(images);
      await encoder.close();
      return { encoder, features };
    };
    const [a, b, c] = [
      await run('random:quickstart'),
      await run('random:quickstart?seed=0'),
      await run('random:quickstart?seed=1'),
    ];
    expect([a.encoder.name, a.encoder.kind]).toEqual(['random:quickstart?seed=0', 'random']);
    expect(b.encoder.weightsHash).toBe(a.encoder.weightsHash);
    expect(b.features).toEqual(a.features);
    expect(c.encoder.weightsHash).not.toBe(a.encoder.weightsHash);
    expect(c.features.patches).not.toEqual(a.features.patches);
  });

  it('says the nearest preset', async () => {
    await expect(open('random:quickstrat')).rejects.toThrow(/did you mean quickstart/);
    await expect(open('random:')).rejects.toThrow(/names no preset/);
    await expect(open('random:quickstart?seed=x')).rejects.toThrow(/seed=x; it must be a whole number/);
    await expect(open('random:quickstart?size=60')).rejects.toThrow(
      /the height 60 is not divisible by its patch 8/,
    );
  });
});
