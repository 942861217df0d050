// Files whose values are not 8-bit RGB: inks, 16 bits, floats and odd bands give the right pixels, or are refused with their numbers.

import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { DataError, UsageError } from '../../../src/errors.js';
import { decodeImage } from '../../../src/images/decode/pixels.js';
import { openSource } from '../../../src/images/index.js';
import { failure, put, temporaryFolder } from '../support.js';
import { chunk } from './png_files.js';
import { type TiffPicture, writeTiff } from './tiff_files.js';

const folder = temporaryFolder();
const size = { width: 6, height: 4 };
const PIXELS = 24;
let files = 0;

/** A TIFF file of the values `value(i)`, or its RGB as capi decodes it. */
function tiff(kind: Omit<TiffPicture, 'width' | 'height' | 'values'>, values: TiffPicture['values']): string {
  return writeTiff(join(folder, `${files++}.tif`), { ...size, ...kind, values });
}
const bytes = (bands: number): Uint8Array =>
  Uint8Array.from({ length: PIXELS * bands }, (_, i) => (i * 37) % 256);
const grey = (levels: ArrayLike<number>): Uint8Array =>
  Uint8Array.from({ length: 3 * levels.length }, (_, i) => levels[Math.floor(i / 3)]!);

async function refused(path: string, ...words: string[]): Promise<void> {
  const error = await failure(() => decodeImage(path));
  expect(error).toBeInstanceOf(DataError);
  for (const word of [path, ...words]) expect(error.message).toContain(word);
  expect(error.message).not.toContain('\n');
}

describe('bands', () => {
  it('grey, inverted grey, RGB, alpha of both sorts', async () => {
    const [one, three] = [bytes(1), bytes(3)];
    expect((await decodeImage(tiff({ photometric: 1, bands: 1 }, one))).data).toEqual(grey(one));
    const inverted = tiff({ photometric: 0, bands: 1 }, one);
    expect((await decodeImage(inverted)).data).toEqual(grey(one.map((v) => 255 - v)));
    expect((await decodeImage(tiff({ photometric: 2, bands: 3 }, three))).data).toEqual(three);
    const four = Uint8Array.from({ length: PIXELS * 4 }, (_, i) =>
      i % 4 < 3 ? three[(i >> 2) * 3 + (i % 4)]! : i,
    );
    const alpha = tiff({ photometric: 2, bands: 4, extra: [2] }, four);
    expect((await decodeImage(alpha)).data).toEqual(three);
    const two = Uint8Array.from({ length: PIXELS * 2 }, (_, i) => (i % 2 ? 9 : one[i >> 1]!));
    expect((await decodeImage(tiff({ photometric: 1, bands: 2, extra: [1] }, two))).data).toHaveLength(72);
    expect((await decodeImage(tiff({ photometric: 1, bands: 2, extra: [2] }, two))).data).toEqual(grey(one));
  });

  it.each([
    ['RGB and a band of unknown meaning', 2, 4, [0]],
    ['RGB and four more', 2, 7, [0, 0, 0, 0]],
    ['RGB, alpha and one more', 2, 5, [2, 0]],
    ['four bands without colours', 1, 4, [0, 0, 0]],
    ['three bands without colours', 1, 3, [0, 0]],
    ['grey and a band of unknown meaning', 1, 2, [0]],
    ['grey and a band that no tag names', 1, 2, undefined],
    ['inks and a spot colour', 5, 5, [0]],
  ])('refuses %s', async (_, photometric, bands, extra) => {
    await refused(tiff({ photometric, bands, extra }, bytes(bands)), `${bands} bands`);
  });

  it.each([
    ['CIELAB', 8],
    ['YCbCr without JPEG compression', 6],
    ['raw camera data', 32803],
    ['colour space 999', 999],
  ])('refuses %s', async (words, photometric) => {
    await refused(tiff({ photometric, bands: 3 }, bytes(3)), words);
  });

  it('CMYK is multiplied out, without a profile', async () => {
    // by hand: ink 255 is full; 255 - K less the share of C: (0,0,0,0) white, (255,0,0,0) cyan, (10,20,30,51), (128,128,128,128)
    const inks = [0, 0, 0, 0, 255, 0, 0, 0, 10, 20, 30, 51, 128, 128, 128, 128];
    const path = writeTiff(join(folder, 'inks.tif'), {
      width: 4,
      height: 1,
      bands: 4,
      photometric: 5,
      values: Uint8Array.from(inks),
    });
    const rgb = [255, 255, 255, 0, 255, 255, 196, 188, 180, 63, 63, 63];
    expect([...(await decodeImage(path)).data]).toEqual(rgb);
  });
});

describe('depth', () => {
  const deep = (low: number, high: number): Uint16Array =>
    Uint16Array.from({ length: PIXELS }, (_, i) => Math.round(low + ((high - low) * i) / (PIXELS - 1)));

  it('16 bits give their high byte, in grey and RGB, PNG and TIFF', async () => {
    const levels = deep(0, 65535);
    const high = Array.from(levels, (v) => v >> 8);
    expect((await decodeImage(tiff({ photometric: 1, bands: 1 }, levels))).data).toEqual(grey(high));
    const rgb = tiff(
      { photometric: 2, bands: 3 },
      Uint16Array.from(grey(high), (v) => v * 256 + 255),
    );
    expect((await decodeImage(rgb)).data).toEqual(grey(high));
    const raw = { ...size, channels: 1 as const };
    const png = await sharp(levels, { raw }).toColourspace('grey16').png().toBuffer();
    expect(png[24]).toBe(16);
    expect((await decodeImage(put(join(folder, 'deep.png'), png))).data).toEqual(grey(high));
  });

  it.each([
    ['12 bits', 0, 4095, '?range=0,4095'],
    ['10 bits', 3, 1023, '?range=0,1023'],
    ['14 bits', 0, 16383, '?range=0,16383'],
    ['a narrow band of high values', 32000, 33500, '32000 to 33500'],
  ])('refuses %s in 16, or takes the range', async (_, low, high, words) => {
    const path = tiff({ photometric: 1, bands: 1 }, deep(low, high));
    await refused(path, words, `${low} to ${high}`);
    const { data } = await decodeImage(path, { range: [low, high] });
    const expected = Array.from(deep(low, high), (v) => Math.round(((v - low) / (high - low)) * 255));
    expect(data).toEqual(grey(expected));
  });

  it('takes black and one grey in 16 bits for what they are', async () => {
    for (const [value, level] of [
      [0, 0],
      [65535, 255],
      [40000, 156],
    ] as const) {
      const path = tiff({ photometric: 1, bands: 1 }, new Uint16Array(PIXELS).fill(value));
      expect((await decodeImage(path)).data).toEqual(grey(new Array(PIXELS).fill(level)));
    }
  });

  it('floats need a range and finite values', async () => {
    const unit = Float32Array.from({ length: PIXELS }, (_, i) => i / 32 - 0.1);
    const path = tiff({ photometric: 1, bands: 1, format: 3 }, unit);
    await refused(path, 'floats from -0.1', '?range=0,1');
    const expected = Array.from(unit, (v) => Math.round(Math.min(1, Math.max(0, v)) * 255));
    expect((await decodeImage(path, { range: [0, 1] })).data).toEqual(grey(expected));
    const colours = Float32Array.from({ length: PIXELS * 3 }, (_, i) => i * 40 - 300);
    const rgb = tiff({ photometric: 2, bands: 3, format: 3 }, colours);
    const wide = Uint8Array.from(colours, (v) => Math.round(Math.min(255, Math.max(0, (v + 300) / 10))));
    expect((await decodeImage(rgb, { range: [-300, 2250] })).data).toEqual(wide);
    unit[5] = Number.NaN;
    unit[6] = Number.POSITIVE_INFINITY;
    await refused(tiff({ photometric: 1, bands: 1, format: 3 }, unit), '2 values that are no finite numbers');
  });

  it.each([
    ['signed numbers of 8 bits', 2, new Int8Array(PIXELS)],
    ['signed numbers of 16 bits', 2, new Int16Array(PIXELS)],
    ['unsigned numbers of 32 bits', 1, new Uint32Array(PIXELS)],
    ['float numbers of 64 bits', 3, new Float64Array(PIXELS)],
  ])('refuses %s', async (words, format, values) => {
    await refused(tiff({ photometric: 1, bands: 1, format }, values), words);
  });

  it('refuses a colour map of 8 bits, takes one of 16', async () => {
    const indices = bytes(1);
    const map = Array.from({ length: 768 }, (_, i) => (i * 7) % 256);
    await refused(tiff({ photometric: 3, bands: 1, colourMap: map }, indices), 'colour map of 8-bit values');
    const path = tiff({ photometric: 3, bands: 1, colourMap: map.map((v) => v * 257) }, indices);
    const rgb = Array.from(indices).flatMap((i) => [map[i]!, map[256 + i]!, map[512 + i]!]);
    expect([...(await decodeImage(path)).data]).toEqual(rgb);
  });
});

describe('several pictures', () => {
  const page = { ...size, bands: 1, photometric: 1, values: bytes(1) };

  it('refuses pages and frames, not reduced copies', async () => {
    await refused(writeTiff(join(folder, 'pages.tif'), page, page, page), 'holds 3 pictures');
    const reduced = { ...page, more: [[254, [1]]] as [number, number[]][] };
    const path = writeTiff(join(folder, 'pyramid.tif'), page, reduced, reduced);
    expect((await decodeImage(path)).data).toEqual(grey(bytes(1)));
    const raw = { width: 6, height: 8, channels: 3, pageHeight: 4 } as const;
    const frames = await sharp(bytes(6), { raw }).webp({ lossless: true }).toBuffer();
    expect((await sharp(frames).metadata()).pages).toBe(2);
    await refused(put(join(folder, 'frames.webp'), frames), 'holds 2 pictures');
    const still = await sharp(bytes(1), { raw: { ...size, channels: 1 } })
      .png()
      .toBuffer();
    const control = chunk('acTL', Buffer.from([0, 0, 0, 5, 0, 0, 0, 0]));
    const animated = Buffer.concat([still.subarray(0, 33), control, still.subarray(33)]);
    await refused(put(join(folder, 'animated.png'), animated), 'holds 5 pictures');
  });
});

describe('range=LOW,HIGH of a source', () => {
  it('makes deep files right, and is part of its URI, settings and identity', async () => {
    const root = join(folder, 'deep');
    const values = Uint16Array.from({ length: PIXELS }, (_, i) => i * 178);
    writeTiff(join(root, 'a', '0.tif'), { ...size, bands: 1, photometric: 1, values });
    const [plain, ranged] = [
      await openSource(`folder:${root}`),
      await openSource(`folder:${root}?range=0,4095`),
    ];
    expect((await failure(() => plain.read(0))).message).toContain('16-bit values from 0 to 4094 only');
    const expected = grey(Array.from(values, (v) => Math.round((v / 4095) * 255)));
    expect((await ranged.read(0)).data).toEqual(expected);
    expect((await (await openSource(ranged.uri)).read(0)).data).toEqual(expected);
    expect(ranged.settings).toMatchObject({ orientation: 'upright', range: [0, 4095] });
    expect(await ranged.imagesIdentity!()).not.toBe(await plain.imagesIdentity!());
  });

  it.each(['', '5', '5,1', '1,1', 'a,b', '0,1,2', ',4', '0,Infinity', '-1e308,1e308'])(
    '%s is refused',
    async (range) => {
      const error = await failure(() => openSource(`folder:${folder}?range=${range}`));
      expect(error).toBeInstanceOf(UsageError);
      expect(error.message).toContain(`range=${range}`);
    },
  );
});
