// Label maps on the images that they belong to: neither is turned, and a number means one class in all maps of a source.

import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { DataError } from '../../../../src/errors.js';
import { comparePalettes, openSource, readAll } from '../../../../src/images/index.js';
import { fingerprintOf } from '../../../../src/images/read/fingerprint.js';
import { paletteCheck } from '../../../../src/images/read/palettes.js';
import { chunk } from '../../decode/png_files.js';
import { failure, put, temporaryFolder } from '../../support.js';

const folder = temporaryFolder();

/** A picture whose pixel (x, y) is (10 x, 10 y, 10 label), with `orientation` in its EXIF tag, and the map of its labels, on the stored pixels. */
async function pair(
  name: string,
  { width = 12, height = 8, orientation = 1, map = {} as { width?: number; height?: number } } = {},
): Promise<string> {
  const label = (x: number, y: number): number => (x < 5 && y < 3 ? 1 : x > 6 ? 2 : 0);
  const at = (i: number): [number, number] => [i % width, Math.floor(i / width)];
  const rgb = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const [x, y] = at(Math.floor(i / 3));
    return [10 * x, 10 * y, 10 * label(x, y)][i % 3]!;
  });
  const image = sharp(rgb, { raw: { width, height, channels: 3 } }).webp({ lossless: true });
  const root = join(folder, name);
  put(join(root, 'images/a.webp'), await image.withMetadata({ orientation }).toBuffer());
  const labels = Uint8Array.from({ length: width * height }, (_, i) => label(...at(i)));
  const raw = { width: map.width ?? width, height: map.height ?? height, channels: 1 as const };
  put(join(root, 'labels/a.png'), await sharp(labels, { raw }).toColourspace('b-w').png().toBuffer());
  return `pairs:${join(root, 'images')},${join(root, 'labels')}?classes=3`;
}

/** An eXIf chunk that names an orientation, after the header of a PNG file (its checksum is not looked at: the chunk is ancillary). */
function withExif(png: Buffer, orientation: number): Buffer {
  const exif = Buffer.from('4d4d002a00000008000101120003000000010000000000000000', 'hex');
  exif.writeUInt16BE(orientation, 18);
  const chunk = Buffer.concat([
    Buffer.from([0, 0, 0, exif.length]),
    Buffer.from('eXIf'),
    exif,
    Buffer.alloc(4),
  ]);
  return Buffer.concat([png.subarray(0, 33), chunk, png.subarray(33)]);
}

describe('orientation', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('%s: image and label map are both as stored', async (orientation) => {
    for (const [width, height] of [
      [12, 8],
      [10, 10],
    ] as const) {
      const source = await openSource(
        await pair(`fits${orientation}-${width}`, { width, height, orientation }),
      );
      const options = { transform: 'squash', height, width, labelMaps: true } as const;
      for await (const { pixels, labelMap } of readAll(source, undefined, options)) {
        expect([...labelMap!].map((label) => 10 * label)).toEqual(
          Array.from({ length: width * height }, (_, p) => pixels[3 * p + 2]!),
        );
        expect(Array.from(pixels.subarray(0, 6))).toEqual([0, 0, 10, 10, 0, 10]);
      }
    }
  });

  it('names EXIF where a map fits once turned, and only there', async () => {
    const turned = await openSource(await pair('turned', { orientation: 6, map: { width: 8, height: 12 } }));
    const error = await failure(() => turned.labelMap!(0));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(
      /labels\/a\.png is 8 x 12 pixels but its image .*images\/a\.webp is 12 x 8: it fits only once turned by the EXIF tag \(orientation 6\)/,
    );
    for (const made of [
      { orientation: 1, map: { width: 8, height: 12 } },
      { orientation: 6, map: { width: 6, height: 16 } },
      { orientation: 3, map: { width: 8, height: 12 } },
    ]) {
      const other = await openSource(await pair(`other${made.orientation}${made.map.width}`, made));
      const { message } = await failure(() => other.labelMap!(0));
      expect(message).toContain('pixels but its image');
      expect(message).not.toContain('EXIF');
    }
  });

  it('refuses a map that is to be turned otherwise than its image', async () => {
    const size = { width: 10, height: 10 };
    const labels = await sharp(new Uint8Array(100), { raw: { ...size, channels: 1 } })
      .toColourspace('b-w')
      .png()
      .toBuffer();
    for (const [ofImage, ofMap, right] of [
      [1, 6, false],
      [6, 8, false],
      [6, 6, true],
      [6, 1, true],
    ] as const) {
      const uri = await pair(`tags${ofImage}${ofMap}`, { ...size, orientation: ofImage });
      put(join(folder, `tags${ofImage}${ofMap}/labels/a.png`), withExif(labels, ofMap));
      const source = await openSource(uri);
      if (right) expect((await source.labelMap!(0)).data).toHaveLength(100);
      else {
        const { message } = await failure(() => source.labelMap!(0));
        expect(message).toContain(`has the EXIF orientation ${ofMap} but its image`);
      }
    }
  });

  it('finds an image of a plain folder again among images with label maps', async () => {
    const source = await openSource(await pair('again', { orientation: 6 }));
    const plain = await openSource(`folder:${join(folder, 'again/images')}`);
    expect(await fingerprintOf(source, 0)).toEqual(await fingerprintOf(plain, 0));
    expect([source.settings!.orientation, plain.settings!.orientation]).toEqual(['stored', 'upright']);
    expect(await source.imagesIdentity!()).not.toBe(await plain.imagesIdentity!()); // features are not shared
    expect((await source.read(0)).width).toBe(12);
    expect((await plain.read(0)).width).toBe(8);
  });
});

describe('palettes', () => {
  /** A source of maps that hold the labels 0 to 2, each with its palette (without: greyscale). */
  async function maps(
    name: string,
    palettes: (number[] | undefined)[],
    labels = [0, 1, 2, 2],
  ): Promise<string> {
    const root = join(folder, name);
    for (const [i, palette] of palettes.entries()) {
      const size = { width: labels.length, height: 1 };
      const rgb = Buffer.alloc(3 * labels.length, i);
      put(
        join(root, `images/${i}.png`),
        await sharp(rgb, { raw: { ...size, channels: 3 } })
          .png()
          .toBuffer(),
      );
      const grey = await sharp(Uint8Array.from(labels), { raw: { ...size, channels: 1 } })
        .toColourspace('b-w')
        .png()
        .toBuffer();
      put(join(root, `labels/${i}.png`), palette ? withPalette(grey, palette) : grey);
    }
    return `pairs:${join(root, 'images')},${join(root, 'labels')}?classes=3`;
  }

  const [red, green, blue] = [
    [200, 0, 0],
    [0, 200, 0],
    [0, 0, 200],
  ];
  const first = [red, green, blue].flat() as number[];
  const second = [red, blue, green].flat() as number[];
  const all = async (uri: string): Promise<number> => {
    const source = await openSource(uri);
    let count = 0;
    const options = { transform: 'squash', height: 4, width: 4, labelMaps: true } as const;
    for await (const _ of readAll(source, undefined, options)) count++;
    return count;
  };

  it('one for all, shortened, padded or absent, is right', async () => {
    const padded = [...first, ...new Array(300).fill(7)];
    expect(await all(await maps('same', [first, first, padded, undefined]))).toBe(4);
    expect(await all(await maps('unused', [first, second], [0, 0, 0, 0]))).toBe(2);
  });

  it('another from map to map is refused with the colours', async () => {
    const error = await failure(async () => all(await maps('other', [first, undefined, second])));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(
      /2\.png has another palette than .*0\.png: label 1 is #0000c8 here and #00c800 there/,
    );
  });

  it('are compared across training and test set', async () => {
    const open = async (name: string, palette: number[]) => {
      const source = await openSource(await maps(name, [palette, palette]));
      return { source, indices: [0, 1] };
    };
    const train = await open('cross-train', first);
    await comparePalettes([train, await open('cross-same', first)]);
    const error = await failure(async () => comparePalettes([train, await open('cross-other', second)]));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(
      /cross-other.* has another palette than .*cross-train.*: label 1 is #0000c8/,
    );
  });

  it('are compared across threads, which each see some', () => {
    const colours = (green: number): Uint8Array<ArrayBuffer> =>
      Uint8Array.from({ length: 1024 }, (_, i) => (i === 5 ? green : i === 7 ? 1 : 0));
    const check = paletteCheck();
    check('a', { colours: colours(3) });
    check('b', {});
    check('c', { colours: colours(3) });
    expect(() => check('d', { colours: colours(4) })).toThrow(
      'd has another palette than a: label 1 is #000400',
    );
  });
});

/** A greyscale PNG file turned into one with a palette. */
function withPalette(grey: Buffer, palette: number[]): Buffer {
  const header = chunk('IHDR', Buffer.concat([grey.subarray(16, 25), Buffer.from([3, 0, 0, 0])]));
  const rest = grey.subarray(grey.indexOf('IDAT') - 4);
  return Buffer.concat([grey.subarray(0, 8), header, chunk('PLTE', Buffer.from(palette)), rest]);
}
