// Label maps in PNG files: the stored indices of files that Pillow wrote, whatever their colours, depth and compression.

import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { DataError } from '../../../src/errors.js';
import { decodeLabelMap, orientationOf, storedSize } from '../../../src/images/decode/pixels.js';
import { failure, put, temporaryFolder } from '../support.js';
import { chunk } from './png_files.js';

const golden = fileURLToPath(new URL('../../golden/images', import.meta.url));
const folder = temporaryFolder();
const [HEIGHT, WIDTH] = [23, 37];

/** What test/golden/make/label_pngs.py put into its files. */
function expected(label: (y: number, x: number) => number): Uint8Array {
  return Uint8Array.from({ length: HEIGHT * WIDTH }, (_, i) => label(Math.floor(i / WIDTH), i % WIDTH));
}
const voc = (y: number, x: number) => [0, 5, 20, 255][(Math.floor(x / 6) + Math.floor(y / 4)) % 4]!;

describe('decodeLabelMap', () => {
  for (const bits of [1, 2, 4, 8]) {
    for (const kind of ['', '_optimised']) {
      it(`reads the indices of a ${bits}-bit palette file${kind}`, async () => {
        const file = join(golden, `labels_${bits}bit${kind}.png`);
        expect([...readFileSync(file).subarray(24, 26)]).toEqual([bits, 3]); // depth, palette
        const map = await decodeLabelMap(file);
        expect([map.height, map.width]).toEqual([HEIGHT, WIDTH]);
        const labels = expected((y, x) => (7 * x + 13 * y + Math.floor((x * y) / 5)) % 2 ** bits);
        expect(Buffer.compare(map.data, labels)).toBe(0);
      });
    }
  }

  it.each(['labels_voc.png', 'labels_voc_optimised.png', 'labels_voc_grey.png', 'labels_voc_16bit.png'])(
    '%s: equal colours, transparency, grey and 16 bits change no label',
    async (name) => {
      expect(Buffer.compare((await decodeLabelMap(join(golden, name))).data, expected(voc))).toBe(0);
    },
  );

  it('reads a 1-bit grey mask as labels 0 and 1', async () => {
    const { data } = await decodeLabelMap(join(golden, 'labels_mask.png'));
    expect(
      Buffer.compare(
        data,
        expected((y, x) => (x + y) % 2),
      ),
    ).toBe(0);
  });

  it('reads interlaced files, grey and palette', async () => {
    const raw = { width: WIDTH, height: HEIGHT, channels: 1 as const };
    const grey = await sharp(expected(voc), { raw })
      .toColourspace('b-w')
      .png({ progressive: true })
      .toBuffer();
    expect([...grey.subarray(24, 29)]).toEqual([8, 0, 0, 0, 1]); // 8-bit grey, interlaced
    const header = Buffer.from(grey.subarray(16, 29));
    header[9] = 3;
    const pixels = grey.subarray(grey.indexOf('IDAT') - 4);
    const colours = Uint8Array.from({ length: 768 }, (_, i) => (i * 37) % 256);
    const palette = Buffer.concat([
      grey.subarray(0, 8),
      chunk('IHDR', header),
      chunk('PLTE', colours),
      pixels,
    ]);
    for (const [name, bytes] of Object.entries({ grey, palette })) {
      const file = put(join(folder, `${name}.png`), bytes);
      expect((await sharp(file).metadata()).isPalette, name).toBe(name === 'palette');
      expect(Buffer.compare((await decodeLabelMap(file)).data, expected(voc)), name).toBe(0);
    }
  });

  it('names the file that is no label map, holds too high a label, or is damaged', async () => {
    const whole = readFileSync(join(golden, 'labels_8bit.png'));
    const broken = Buffer.from(whole);
    broken.fill(7, whole.indexOf('IDAT') + 20, whole.indexOf('IDAT') + 60);
    const files: Record<string, [Uint8Array | string, string]> = {
      'colour.png': [readFileSync(join(golden, 'small.png')), 'colour PNG; expected palette or greyscale'],
      'jpeg.png': [readFileSync(join(golden, 'small.jpg')), 'is no PNG file'],
      'deep.png': [readFileSync(join(golden, 'labels_300_16bit.png')), 'label 300 in 16 bits'],
      'short.png': [whole.subarray(0, 1200), 'cut short'],
      'broken.png': [broken, 'cannot be decoded'],
      'head.png': [whole.subarray(0, 20), 'cut short'],
      'empty.png': ['', 'is no PNG file'],
    };
    for (const [name, [bytes, words]] of Object.entries(files)) {
      const file = put(join(folder, name), bytes);
      const error = await failure(() => decodeLabelMap(file));
      expect(error, name).toBeInstanceOf(DataError);
      expect(error.message).toContain(file);
      expect(error.message).toContain(words);
      expect(error.message).not.toContain('\n');
    }
    expect((await failure(() => decodeLabelMap(join(folder, 'gone.png')))).message).toContain('ENOENT');
  });
});

describe('storedSize', () => {
  it('is that of the stored pixels, whatever EXIF says', async () => {
    const turned = join(folder, 'turned.jpg');
    await sharp(join(golden, 'small.jpg')).withMetadata({ orientation: 6 }).toFile(turned);
    expect(storedSize(join(golden, 'small.jpg'))).toMatchObject({ height: 97, width: 131 });
    expect(storedSize(turned)).toMatchObject({ height: 97, width: 131 });
    expect([await orientationOf(turned), await orientationOf(join(golden, 'small.jpg'))]).toEqual([6, 1]);
    copyFileSync(join(golden, 'labels_8bit.png'), join(folder, 'p.png'));
    expect(storedSize(join(folder, 'p.png'))).toMatchObject({ height: HEIGHT, width: WIDTH });
    expect((await failure(() => storedSize(join(folder, 'none.jpg')))).message).toContain('none.jpg');
  });
});
