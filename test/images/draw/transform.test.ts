// The random resized crop: torchvision's rule step by step, and its statistics.

import { describe, expect, it } from 'vitest';
import { type Random, stream } from '../../../src/base/random.js';
import { randomResizedCrop, sampleCrop } from '../../../src/images/draw/transform.js';

/** A stream that gives the listed uniform numbers, `int` taking the matching share of its range. */
function scripted(values: number[]): Random {
  const next = (): number => values.shift()!;
  return {
    next,
    uniform: (low: number, high: number) => low + (high - low) * next(),
    int: (n: number) => Math.floor(next() * n),
  } as unknown as Random;
}

const RATIO: [number, number] = [3 / 4, 4 / 3];

describe('sampleCrop', () => {
  it('takes area, log ratio, top and left in torchvision’s order', () => {
    // area 0.5 of 100 x 200, ratio 1: side sqrt(10000) = 100, so top can only be 0 and left is 0..100
    expect(sampleCrop(scripted([0.5, 0.5, 0.9, 0.25]), 100, 200, [0, 1], RATIO)).toEqual({
      top: 0,
      left: 25,
      height: 100,
      width: 100,
    });
  });

  it('tries again when the crop does not fit, and takes the eleventh way out in the middle', () => {
    const tooWide = [1, 1]; // the whole area at ratio 4/3 of a square does not fit
    const fits = [0, 0.5, 0, 0];
    expect(sampleCrop(scripted([...tooWide, ...tooWide, ...fits]), 100, 100, [0.25, 1], RATIO)).toEqual({
      top: 0,
      left: 0,
      height: 50,
      width: 50,
    });
    const never = Array<number>(20).fill(1);
    expect(sampleCrop(scripted([...never]), 100, 100, [0.25, 1], RATIO)).toEqual({
      top: 0,
      left: 0,
      height: 100,
      width: 100,
    });
    // 40 x 200 is wider than 4/3: width round(40 * 4/3) = 53; 200 x 40 is narrower than 3/4: height round(40 / 0.75) = 53
    expect(sampleCrop(scripted([...never]), 40, 200, [1, 1], RATIO)).toEqual({
      top: 0,
      left: 73,
      height: 40,
      width: 53,
    });
    expect(sampleCrop(scripted([...never]), 200, 40, [1, 1], RATIO)).toEqual({
      top: 73,
      left: 0,
      height: 53,
      width: 40,
    });
  });

  it('spreads areas evenly and ratios log-evenly, inside the bounds and the image', () => {
    const n = 20_000;
    const random = stream(1, 'crop statistics');
    const [height, width] = [400, 600];
    let area = 0;
    let logRatio = 0;
    let left = 0;
    let outside = 0;
    for (let i = 0; i < n; i++) {
      const box = sampleCrop(random, height, width, [0.1, 0.3], RATIO);
      const share = (box.height * box.width) / (height * width);
      const ratio = box.width / box.height;
      if (box.top < 0 || box.top + box.height > height) outside++;
      if (box.left < 0 || box.left + box.width > width) outside++;
      // rounding both sides of a crop of at least 134 pixels moves area and ratio by less than 1 %
      if (share < 0.099 || share > 0.303 || ratio < 0.743 || ratio > 1.345) outside++;
      area += share / n;
      logRatio += Math.log(ratio) / n;
      left += box.left / (width - box.width) / n;
    }
    expect(outside).toBe(0);
    // five standard errors: uniform over a width w has standard deviation w / sqrt(12)
    const bound = (w: number): number => (5 * w) / Math.sqrt(12 * n);
    expect(Math.abs(area - 0.2)).toBeLessThan(bound(0.2));
    expect(Math.abs(logRatio)).toBeLessThan(bound(2 * Math.log(4 / 3)));
    expect(Math.abs(left - 0.5)).toBeLessThan(bound(1));
  });
});

describe('randomResizedCrop', () => {
  const image = {
    data: Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => Math.floor(i / 3) % 16), // brighter to the right
    height: 16,
    width: 16,
  };
  const options = {
    height: 8,
    width: 8,
    cropScale: [0.5, 1] as [number, number],
    cropRatio: RATIO,
    flip: 0.5,
  };

  it('depends on the stream alone', () => {
    const a = randomResizedCrop(image, options, stream(3, 'crop', 7));
    expect(randomResizedCrop(image, options, stream(3, 'crop', 7))).toEqual(a);
    expect(randomResizedCrop(image, options, stream(3, 'crop', 8))).not.toEqual(a);
  });

  it('mirrors with the given probability', () => {
    for (const flip of [0, 0.3, 1]) {
      const n = 2000;
      let mirrored = 0;
      for (let i = 0; i < n; i++) {
        const { data } = randomResizedCrop(image, { ...options, flip }, stream(0, 'flip', i));
        if (data[0]! > data[21]!) mirrored++;
      }
      // five standard errors of a binomial share
      expect(Math.abs(mirrored / n - flip)).toBeLessThanOrEqual(5 * Math.sqrt((flip * (1 - flip)) / n));
    }
  });
});
