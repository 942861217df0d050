// Properties of the resamplers beyond the Pillow pictures: boxes, mirrors, small sizes, rounding of crops.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stream } from '../../../src/base/random.js';
import {
  centerBox,
  crop,
  type RawImage,
  resizeBicubic,
  resizeNearest,
  roundHalfEven,
  shorterSideSize,
} from '../../../src/images/decode/resample.js';

function noise(height: number, width: number, seed = 0): RawImage {
  const random = stream(seed, 'test image');
  return { data: Uint8Array.from({ length: height * width * 3 }, () => random.int(256)), height, width };
}

function mirrored({ data, height, width }: RawImage): RawImage {
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) out[(y * width + x) * 3 + c] = data[(y * width + width - 1 - x) * 3 + c]!;
    }
  }
  return { data: out, height, width };
}

const side = fc.integer({ min: 1, max: 24 });

describe('bicubic', () => {
  it('keeps a flat image flat at any size, down to one pixel', () => {
    fc.assert(
      fc.property(side, side, side, side, fc.integer({ min: 0, max: 255 }), (h, w, oh, ow, level) => {
        const image = { data: new Uint8Array(h * w * 3).fill(level), height: h, width: w };
        const result = resizeBicubic(image, oh, ow);
        expect(result.data).toEqual(new Uint8Array(oh * ow * 3).fill(level));
      }),
    );
  });

  it('of a box is bicubic of the crop: pixels around it have no influence', () => {
    fc.assert(
      fc.property(side, side, fc.integer({ min: 1, max: 20 }), fc.boolean(), (h, w, out, mirror) => {
        const image = noise(h + 5, w + 4);
        const box = { top: 2, left: 3, height: h, width: w };
        expect(resizeBicubic(image, out, out + 1, box, mirror)).toEqual(
          resizeBicubic(crop(image, box), out, out + 1, undefined, mirror),
        );
      }),
    );
  });

  it('of a window is the crop of the whole result', () => {
    const sizes = fc.tuple(side, side, side, side, fc.integer({ min: 0, max: 1e6 }));
    fc.assert(
      fc.property(sizes, ([h, w, oh, ow, seed]) => {
        const image = noise(h, w, seed);
        const random = stream(seed, 'window');
        const [top, left] = [random.int(oh), random.int(ow)];
        const window = { top, left, height: 1 + random.int(oh - top), width: 1 + random.int(ow - left) };
        const whole = crop(resizeBicubic(image, oh, ow), window);
        expect(resizeBicubic(image, oh, ow, undefined, false, window)).toEqual(whole);
        expect(resizeBicubic(image, oh, ow, undefined, true, window)).toEqual(mirrored(whole));
      }),
    );
    const outside = { top: 0, left: 3, height: 4, width: 4 };
    expect(() => resizeBicubic(noise(8, 8), 6, 6, undefined, false, outside)).toThrow(RangeError);
  });

  it('mirrors after resizing', () => {
    const image = noise(13, 17);
    for (const [h, w] of [
      [9, 30],
      [13, 17],
      [40, 5],
    ] as const) {
      expect(resizeBicubic(image, h, w, undefined, true)).toEqual(mirrored(resizeBicubic(image, h, w)));
    }
  });

  it('copies when nothing changes', () => {
    const image = noise(6, 7);
    const same = resizeBicubic(image, 6, 7);
    expect(same.data).toEqual(image.data);
    same.data[0]! ^= 255;
    expect(same.data).not.toEqual(image.data);
  });

  it('refuses a box that is empty or leaves the image', () => {
    expect(() => resizeBicubic(noise(8, 8), 4, 4, { top: 0, left: 5, height: 4, width: 4 })).toThrow(
      RangeError,
    );
    expect(() => resizeBicubic(noise(8, 8), 4, 4, { top: 0, left: 0, height: 0, width: 4 })).toThrow(
      RangeError,
    );
  });
});

describe('nearest', () => {
  it('by whole factors repeats or picks labels', () => {
    const map = { data: Uint8Array.from([1, 2, 3, 4]), height: 2, width: 2 };
    const large = resizeNearest(map, 4, 6);
    expect([...large.data]).toEqual([
      ...[1, 1, 1, 2, 2, 2],
      ...[1, 1, 1, 2, 2, 2],
      ...[3, 3, 3, 4, 4, 4],
      ...[3, 3, 3, 4, 4, 4],
    ]);
    expect([...resizeNearest(large, 2, 2).data]).toEqual([1, 2, 3, 4]);
    expect([...resizeNearest(map, 2, 2, undefined, true).data]).toEqual([2, 1, 4, 3]);
  });
});

describe('sizes round as torchvision does', () => {
  it('shorter side, the longer one rounded down', () => {
    expect(shorterSideSize(480, 640, 256)).toEqual({ height: 256, width: 341 });
    expect(shorterSideSize(500, 333, 256)).toEqual({ height: 384, width: 256 });
  });
  it('centre crop, halves to even', () => {
    expect(centerBox(256, 341, 224, 224)).toMatchObject({ top: 16, left: 58 });
    expect(centerBox(5, 7, 4, 4)).toMatchObject({ top: 0, left: 2 });
    expect([0.5, 1.5, 2.5, 2.4, 2.6].map(roundHalfEven)).toEqual([0, 2, 2, 2, 3]);
  });
});
