// The generated sources: the same picture for the same address, splits that share no garment, labels that brightness does not give away.

import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../../../../src/base/hash.js';
import { DataError } from '../../../../src/errors.js';
import { type ImageSource, openSource } from '../../../../src/images/index.js';
import { suiteNeeding } from '../../../support/suites.js';
import { fashionMnist } from '../../../support/tools.js';
import { failure, temporaryFolder, writeIdx } from '../../support.js';

const folder = temporaryFolder();
const garments = writeIdx(join(folder, 'garments'), { train: 30, test: 20 }, false);

/** Pixels and labels of scene `i` as one digest. */
async function digest(source: ImageSource, i: number): Promise<string> {
  return sha256((await source.read(i)).data, (await source.labelMap!(i)).data);
}

describe.each([
  ['synthetic', 'synthetic:scenes'],
  ['fashion-scenes', `fashion-scenes:${garments}`],
])('%s', (_, uri) => {
  it('a scene depends on seed, split and index only', async () => {
    const source = await openSource(uri);
    const forwards = [await digest(source, 0), await digest(source, 1), await digest(source, 2)];
    const again = await openSource(source.uri);
    expect([await digest(again, 2), await digest(again, 1), await digest(again, 0)].reverse()).toEqual(
      forwards,
    );
    expect(new Set(forwards).size).toBe(3);
    const others = [
      await digest(await openSource(uri, { seed: 1 }), 0),
      await digest(await openSource(uri, { split: 'test' }), 0),
      await digest(await openSource(uri, { size: 65 }), 0),
    ];
    expect(new Set([forwards[0], ...others]).size).toBe(4);
    const join = uri.includes('?') ? '&' : '?';
    const shorter = await openSource(`${uri}${join}count=2`);
    expect([await digest(shorter, 0), await digest(shorter, 1)]).toEqual(forwards.slice(0, 2));
  });

  it('has the promised sizes and counts, and labels inside of the classes', async () => {
    expect((await openSource(uri)).length).toBe(60_000);
    expect((await openSource(uri, { split: 'test' })).length).toBe(2_000);
    for (const size of [32, 64, 224]) {
      const source = await openSource(uri, { size });
      expect(source.nativeSize).toEqual({ height: size, width: size });
      for (let i = 0; i < 4; i++) {
        const image = await source.read(i);
        const map = await source.labelMap!(i);
        expect([image.height, image.width, image.data.length]).toEqual([size, size, size * size * 3]);
        expect([map.height, map.width, map.data.length]).toEqual([size, size, size * size]);
        const highest = map.data.reduce((a, b) => Math.max(a, b), 0);
        expect(highest).toBeLessThan(source.labelMapClasses!.length);
        // the main object is in front, so the image's label is always to be seen
        expect(map.data).toContain(source.label!(i)! + 1);
      }
    }
  });

  it('an unknown index is an error', async () => {
    const source = await openSource(uri);
    await expect(source.read(60_000)).rejects.toThrow(RangeError);
  });

  it('identity names what decides the pictures', async () => {
    const identity = async (text: string) => (await openSource(text)).identity();
    const first = await identity(uri);
    expect(await identity(`${uri}?seed=0&size=64`)).toBe(first);
    expect(await identity(`${uri}?seed=1`)).not.toBe(first);
    expect(await identity(`${uri}?split=test`)).not.toBe(first);
  });
});

describe('synthetic scenes', () => {
  it('are these very pictures (when they change on purpose, change VERSION in src/images/sources/synthetic.ts too)', async () => {
    const source = await openSource('synthetic:scenes');
    expect(sha256(await digest(source, 0), await digest(source, 1)).slice(0, 16)).toBe('9eec4f4704a602b4');
  });

  it('spread image labels evenly over the twelve classes', async () => {
    const source = await openSource('synthetic:scenes');
    const counts = Array<number>(12).fill(0);
    for (let i = 0; i < 6000; i++) counts[source.label!(i)!]!++;
    const chi2 = counts.reduce((sum, n) => sum + (n - 500) ** 2 / 500, 0);
    expect(chi2).toBeLessThan(31.3); // 11 degrees of freedom, p = 0.001
  });

  it('get more crowded and noisier with difficulty', async () => {
    const objects = async (difficulty: number) => {
      const source = await openSource(`synthetic:scenes?difficulty=${difficulty}`);
      let seen = 0;
      for (let i = 0; i < 60; i++) seen += new Set((await source.labelMap!(i)).data).size - 1;
      return seen / 60;
    };
    expect(await objects(0)).toBe(1);
    expect(await objects(1)).toBeGreaterThan(1.8);
  });
});

describe('fashion scenes', () => {
  it('of one split read the garments of that split only', async () => {
    for (const [split, file] of [
      ['train', 't10k'],
      ['test', 'train'],
    ] as const) {
      const half = join(folder, `only-${split}`);
      cpSync(garments, half, { recursive: true });
      rmSync(join(half, `${file}-images-idx3-ubyte`));
      rmSync(join(half, `${file}-labels-idx1-ubyte`));
      const whole = await openSource(`fashion-scenes:${garments}`, { split });
      const alone = await openSource(`fashion-scenes:${half}`, { split });
      expect(await digest(alone, 5)).toBe(await digest(whole, 5));
    }
  });

  it('say how to get the garments', async () => {
    const error = await failure(() => openSource('fashion-scenes:/nowhere'));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toContain('dataset-fashion-mnist');
  });
});

/** Share of the variance of pixel brightness that the label map explains, and the share of background. */
async function brightness(
  source: ImageSource,
  scenes: number,
): Promise<{ explained: number; background: number }> {
  const classes = source.labelMapClasses!.length;
  const count = new Float64Array(classes);
  const sum = new Float64Array(classes);
  let squares = 0;
  for (let i = 0; i < scenes; i++) {
    const { data } = await source.read(i);
    const labels = (await source.labelMap!(i)).data;
    labels.forEach((label, p) => {
      const level = (data[p * 3]! + data[p * 3 + 1]! + data[p * 3 + 2]!) / 3;
      count[label]!++;
      sum[label]! += level;
      squares += level * level;
    });
  }
  const n = count.reduce((a, b) => a + b, 0);
  const mean = sum.reduce((a, b) => a + b, 0) / n;
  let between = 0;
  for (let k = 0; k < classes; k++)
    if (count[k]! > 0) between += count[k]! * (sum[k]! / count[k]! - mean) ** 2;
  return { explained: between / (squares - n * mean * mean), background: count[0]! / n };
}

it('synthetic scenes do not give their labels away by brightness', async () => {
  const { explained, background } = await brightness(await openSource('synthetic:scenes'), 250);
  // measured 0.003 over 600 scenes; a class that was always light or dark would explain a tenth or more
  expect(explained).toBeLessThan(0.03);
  expect(background).toBeGreaterThan(0.5);
  expect(background).toBeLessThan(0.85);
});

suiteNeeding('fashion-mnist')('fashion scenes of Fashion-MNIST', () => {
  it('at difficulty 0.5 do not give their labels away by brightness', async () => {
    const source = await openSource(`fashion-scenes:${fashionMnist}?difficulty=0.5`, { split: 'test' });
    const { explained, background } = await brightness(source, 250);
    expect(explained).toBeLessThan(0.03); // measured 0.007 over 600 scenes
    expect(background).toBeGreaterThan(0.5);
    expect(background).toBeLessThan(0.85);
  });

  it('show every garment, main ones evenly', async () => {
    const source = await openSource(`fashion-scenes:${fashionMnist}`, { split: 'test' });
    expect(source.labelMapClasses!.slice(0, 3)).toEqual(['background', 'T-shirt', 'trouser']);
    const counts = Array<number>(10).fill(0);
    for (let i = 0; i < 2000; i++) counts[source.label!(i)!]!++;
    const chi2 = counts.reduce((sum, n) => sum + (n - 200) ** 2 / 200, 0);
    expect(chi2).toBeLessThan(27.9); // 9 degrees of freedom, p = 0.001
  });

  it('are these very pictures (when they change on purpose, change VERSION in src/images/sources/fashion_scenes.ts too)', async () => {
    const pictures = async (query: string) => {
      const source = await openSource(`fashion-scenes:${fashionMnist}${query}`, { split: 'test' });
      return sha256(await digest(source, 0), await digest(source, 1)).slice(0, 16);
    };
    expect(await pictures('')).toBe('a28563de73abb585');
    expect(await pictures('?difficulty=0.5')).toBe('ae94a50f0566cac9');
  });
});
