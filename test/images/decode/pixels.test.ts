// Decoding: every kind of file that is accepted, and every kind of damage that must be noticed.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { describe, expect, it } from 'vitest';
import { DataError } from '../../../src/errors.js';
import { decodeImage, encodePng } from '../../../src/images/decode/pixels.js';
import { failure, put, referenceImages, temporaryFolder } from '../support.js';

const folder = temporaryFolder();
const photo = join(referenceImages(), 'small.png');

/** Saves the reference photo in another form. */
async function saved(name: string, make: (image: Sharp) => Sharp): Promise<string> {
  return put(join(folder, name), await make(sharp(photo)).toBuffer());
}

function meanDifference(a: Uint8Array, b: Uint8Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]!), 0) / a.length;
}

describe('decodeImage', () => {
  it('reads PNG, lossless WebP and TIFF to the same pixels', async () => {
    const { data, height, width } = await decodeImage(photo);
    expect([height, width]).toEqual([97, 131]);
    for (const path of [
      await saved('a.webp', (image) => image.webp({ lossless: true })),
      await saved('a.tiff', (image) => image.tiff({ compression: 'lzw' })),
      await saved('palette-free.png', (image) => image.png()),
    ]) {
      expect((await decodeImage(path)).data).toEqual(data);
    }
  });

  it('repeats grey, with and without alpha', async () => {
    const grey = await decodeImage(join(referenceImages(), 'small_grey.png'));
    for (let p = 0; p < grey.data.length; p += 3) {
      expect(grey.data[p + 1] === grey.data[p] && grey.data[p + 2] === grey.data[p]).toBe(true);
    }
    const withAlpha = await saved('grey-alpha.png', (image) =>
      image.greyscale().ensureAlpha(0.3).toColourspace('b-w').png(),
    );
    expect((await sharp(withAlpha).metadata()).channels).toBe(2);
    const flat = await saved('grey.png', (image) => image.greyscale().toColourspace('b-w').png());
    expect((await decodeImage(withAlpha)).data).toEqual((await decodeImage(flat)).data);
  });

  it('drops alpha without blending', async () => {
    const path = await saved('alpha.png', (image) => image.ensureAlpha(0.2).png());
    expect((await decodeImage(path)).data).toEqual((await decodeImage(photo)).data);
  });

  it('reduces 16 bits to 8', async () => {
    const path = await saved('deep.png', (image) => image.toColourspace('rgb16').png());
    expect((await sharp(path).metadata()).depth).toBe('ushort');
    // to 16 bits and back may cost a rounding
    expect(meanDifference((await decodeImage(path)).data, (await decodeImage(photo)).data)).toBeLessThan(1);
  });

  it('turns upright, or leaves as stored, what EXIF says is on its side', async () => {
    const upright = await decodeImage(photo);
    // orientation 6: the stored picture must be turned by 90 degrees clockwise, so it is stored turned back
    const path = await saved('turned.webp', (image) =>
      image.rotate(270).webp({ lossless: true }).withMetadata({ orientation: 6 }),
    );
    expect((await sharp(path).metadata()).orientation).toBe(6);
    expect(await decodeImage(path)).toEqual(upright);
    const stored = await decodeImage(path, { orientation: 'stored' });
    expect([stored.height, stored.width]).toEqual([131, 97]);
    const [y, x] = [12, 30]; // turned by 90 degrees clockwise: the stored pixel's row is the column from the right
    const [from, to] = [(y * 131 + x) * 3, ((130 - x) * 97 + y) * 3];
    expect(stored.data.subarray(to, to + 3)).toEqual(upright.data.subarray(from, from + 3));
  });

  it('names the file that is cut short, of another kind, empty or missing', async () => {
    const files = {
      'cut.jpg': readFileSync(join(referenceImages(), 'small.jpg')).subarray(0, 6000),
      'cut.png': readFileSync(photo).subarray(0, 20_000),
      'cut.webp': (await sharp(photo).webp().toBuffer()).subarray(0, 2000),
      'cut.tiff': (await sharp(photo).tiff().toBuffer()).subarray(0, 3000),
      'text.png': 'This is not a picture.\n',
      'empty.jpg': '',
    };
    for (const [name, bytes] of Object.entries(files)) {
      const path = put(join(folder, name), bytes);
      const error = await failure(() => decodeImage(path));
      expect(error, name).toBeInstanceOf(DataError);
      expect(error.message).toContain(path);
      expect(error.message).not.toContain('\n');
    }
    expect((await failure(() => decodeImage(join(folder, 'none.png')))).message).toContain('none.png');
  });
});

describe('encodePng', () => {
  it('writes what decodeImage reads', async () => {
    const image = await decodeImage(photo);
    const path = put(join(folder, 'round.png'), await encodePng(image));
    expect(await decodeImage(path)).toEqual(image);
  });
});
