// The overlap guard: copies that must be found however they were saved, pictures that must not be, and the search against all pairs.

import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp, { type Sharp } from 'sharp';
import { describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import {
  compareFingerprints,
  findOverlap,
  type ImageSource,
  openSource,
  overlapWarning,
} from '../../src/images/index.js';
import { type Fingerprints, fingerprints, MAX_DISTANCE, MIN_CORRELATION } from '../../src/images/overlap.js';
import { type Fingerprint, fingerprintOf, THUMB } from '../../src/images/read/fingerprint.js';
import { suiteNeeding } from '../support/suites.js';
import { fashionMnist } from '../support/tools.js';
import { compiledImages, put, temporaryFolder } from './support.js';

const golden = fileURLToPath(new URL('../golden/images', import.meta.url));
const folder = temporaryFolder();
/** Grey as JPEG and Pillow make it (ITU-R BT.601). */
const luma: [number, number, number] = [0.299, 0.587, 0.114];

/** A source made of what `images` give, without files. */
function made(
  name: string,
  count: number,
  grey: (i: number, p: number) => number,
  side = THUMB,
): ImageSource {
  return {
    uri: name,
    split: 'all',
    length: count,
    name: (i) => `${name} ${i}`,
    read: async (i) => ({
      data: Uint8Array.from({ length: side * side * 3 }, (_, at) => grey(i, Math.floor(at / 3))),
      height: side,
      width: side,
    }),
    identity: async () => name,
  };
}

/** Folders of the reference pictures: as they are, and changed. */
async function changed(
  name: string,
  change: (image: Sharp) => Sharp | Promise<Sharp>,
  ending = 'png',
): Promise<ImageSource> {
  for (const picture of ['small.png', 'tall.png', 'large.jpg']) {
    const image = await change(sharp(join(golden, picture)));
    put(join(folder, name, `${picture.slice(0, -4)}.${ending}`), await image.toBuffer());
  }
  return openSource(`folder:${join(folder, name)}`);
}

describe('findOverlap', () => {
  it('finds equal pixels in other files', async () => {
    const originals = await changed('originals', (image) => image.png());
    const again = await changed('again', (image) => image.webp({ lossless: true }), 'webp');
    const { same, near, images } = await findOverlap(originals, again);
    expect(images).toEqual({ a: 3, b: 3 });
    expect(near).toEqual([]);
    expect(same.map(({ a, b }) => [a, b])).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
    ]);
    expect(same[1]!.nameB).toBe(join(folder, 'again/small.webp'));
  });

  it.each<[string, (image: Sharp) => Sharp | Promise<Sharp>]>([
    ['recompressed', (image) => image.jpeg({ quality: 40 })],
    [
      'halved',
      async (image) => image.resize({ width: Math.round((await image.metadata()).width / 2) }).jpeg(),
    ],
    ['squashed', (image) => image.resize(224, 224, { fit: 'fill' }).png()],
    ['grey', (image) => image.recomb([luma, luma, luma]).png()],
    ['darker', (image) => image.linear(0.8, 0).png()],
  ])('finds copies that were %s', async (name, change) => {
    const originals = await changed('originals', (image) => image.png());
    const { same, near } = await findOverlap(originals, await changed(name, change));
    expect(same).toEqual([]);
    expect(near.map(({ a, b }) => [a, b])).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
    ]);
    for (const { correlation } of near) expect(correlation).toBeGreaterThanOrEqual(MIN_CORRELATION);
  });

  it('does not take different generated scenes for each other', async () => {
    for (const difficulty of [0, 0.5, 1]) {
      const [a, b] = await Promise.all(
        ['train', 'test'].map((split) =>
          openSource(`synthetic:scenes?size=32&count=300&difficulty=${difficulty}&split=${split}`),
        ),
      );
      expect(await findOverlap(a!, b!)).toMatchObject({ same: [], near: [] });
    }
  });

  it('does not compare flat pictures but for equality', async () => {
    const a = made('a', 3, (i) => 40 * i);
    const b = made('b', 3, (i, p) => 40 * i + (i === 1 ? p % 2 : 0)); // the second is nearly a's second, and flat
    const { same, near, flat } = await findOverlap(a, b);
    expect(same.map((match) => match.b)).toEqual([0, 2]);
    expect([near, flat]).toEqual([[], 1]);
  });

  it('compares a spread part where it is limited, and gives indices of the sources', async () => {
    const source = made('noise', 40, (i, p) => stream(i, 'noise', p).int(256), 8);
    const { same, images } = await findOverlap(source, source, { limit: 4 });
    expect(images).toEqual({ a: 4, b: 4 });
    expect(same.map(({ a, b }) => [a, b])).toEqual([0, 10, 20, 30].map((i) => [i, i]));
  });

  it('gives the same from threads', async () => {
    const compiled = await compiledImages();
    copyFileSync(join(golden, 'small.jpg'), put(join(folder, 'mixed/x.jpg'), ''));
    const [a, b] = await Promise.all(
      [`folder:${folder}/originals`, `folder:${folder}/mixed`].map((uri) => compiled.openSource(uri)),
    );
    const threaded = await compiled.findOverlap(a!, b!, { workers: 2 });
    expect(threaded).toEqual(await findOverlap(a!, b!));
    expect(threaded.near).toHaveLength(1);
  });
});

describe('compareFingerprints', () => {
  const count = 400;
  const random = stream(5, 'hashes');
  /** Prints with hashes around a few centres, so that many are near each other, and thumbs of a few kinds. */
  function prints(name: string): Fingerprints {
    const source = made(name, count, () => 0);
    const hashes = new Uint32Array(2 * count);
    const thumbs = new Uint8Array(count * THUMB * THUMB);
    for (let i = 0; i < count; i++) {
      hashes.set([0x9e3779b9 * (i % 3), 0x85ebca6b * (i % 5)], 2 * i);
      for (let flips = random.int(9); flips > 0; flips--)
        hashes[2 * i + random.int(2)]! ^= 1 << random.int(32);
      const kind = random.int(2);
      for (let p = 0; p < THUMB * THUMB; p++)
        thumbs[i * THUMB * THUMB + p] = kind === 0 ? p % 256 : (p * 7) % 256;
    }
    const digests = Array.from({ length: count }, (_, i) => `${name} ${i}`);
    return { source, indices: Int32Array.from({ length: count }, (_, i) => i), digests, hashes, thumbs };
  }

  it('finds what a comparison of all pairs finds', () => {
    const [a, b] = [prints('a'), prints('b')];
    const bits = (x: number): number => x.toString(2).replaceAll('0', '').length;
    const expected: number[] = [];
    const boundary = new Set<number>();
    for (let j = 0; j < count; j++) {
      const nearest = Array.from({ length: count }, (_, i) => {
        const distance = [0, 1].reduce(
          (sum, h) => sum + bits((a.hashes[2 * i + h]! ^ b.hashes[2 * j + h]!) >>> 0),
          0,
        );
        return a.thumbs[i * THUMB * THUMB + 1] === b.thumbs[j * THUMB * THUMB + 1] ? distance : 64;
      }).reduce((x, y) => Math.min(x, y), 64);
      boundary.add(nearest);
      if (nearest <= MAX_DISTANCE) expected.push(j);
    }
    expect(boundary.has(MAX_DISTANCE)).toBe(true); // both sides of the threshold are tried
    expect(Math.max(...boundary)).toBeGreaterThan(MAX_DISTANCE);
    const { near } = compareFingerprints(a, b);
    expect(near.map((match) => match.b)).toEqual(expected);
    for (const { correlation } of near) expect(correlation).toBeCloseTo(1, 12); // thumbs of one kind are equal
  });
});

describe('fingerprintOf', () => {
  it('has the bits of the DCT that NumPy would give', async () => {
    // One cosine of frequency (row 3, column 5) beside a constant: that coefficient alone is above the median, the rest are 0 but for rounding to bytes.
    const wave = (f: number, x: number): number => Math.cos((Math.PI / THUMB) * (x + 0.5) * f);
    const source = made('wave', 1, (_, p) =>
      Math.round(128 + 100 * wave(3, Math.floor(p / THUMB)) * wave(5, p % THUMB)),
    );
    const { high, thumb } = (await fingerprintOf(source, 0)) as Fingerprint;
    expect((high >>> (3 * 8 + 5)) & 1).toBe(1);
    expect(thumb[0]).toBe(Math.round(128 + 100 * wave(3, 0) * wave(5, 0)));
    const inverted = made('inverted', 1, (_, p) =>
      Math.round(128 - 100 * wave(3, Math.floor(p / THUMB)) * wave(5, p % THUMB)),
    );
    expect(((await fingerprintOf(inverted, 0)).high >>> (3 * 8 + 5)) & 1).toBe(0);
  });

  it('sets half of the bits', async () => {
    const source = await openSource('synthetic:scenes?size=32&count=5');
    for (let i = 0; i < 5; i++) {
      const { high, low } = await fingerprintOf(source, i);
      const bits = (high.toString(2) + low.toString(2)).replaceAll('0', '').length;
      expect(bits).toBe(32); // above the median of 64 different values
    }
  });
});

describe('overlapWarning', () => {
  it('counts, with an example, or says nothing', async () => {
    const source = made('x', 2, (i, p) => (i * 90 + p) % 256);
    const warning = overlapWarning(await findOverlap(source, source), 'training', 'test');
    expect(warning).toBe(
      '2 of 2 test images are also among the 2 training images (equal pixels), 0 more nearly so: for example x 0 is x 0',
    );
    const none = { images: { a: 1, b: 1 }, same: [], near: [], flat: 0 };
    expect(overlapWarning(none, 'training', 'test')).toBeUndefined();
  });
});

suiteNeeding('fashion-mnist')('overlap of garments', () => {
  it('flags at most one test garment in a hundred, no scene', async () => {
    // All 60,000 and 10,000: none equal, 73 near (0.7 %), most of them the same article in another shade. Here a part.
    const open = (scheme: string, split: string) => openSource(`${scheme}:${fashionMnist}?split=${split}`);
    const garments = await findOverlap(await open('idx', 'train'), await open('idx', 'test'), {
      limit: 2000,
    });
    expect(garments.same).toEqual([]);
    expect(garments.near.length).toBeLessThanOrEqual(20);
    const scenes = await findOverlap(
      await open('fashion-scenes', 'train'),
      await open('fashion-scenes', 'test'),
      { limit: 200 },
    );
    expect(scenes).toMatchObject({ same: [], near: [] });
    const test = await fingerprints(await open('idx', 'test'), { limit: 100 });
    expect(compareFingerprints(test, test).same).toHaveLength(100);
  });
});
