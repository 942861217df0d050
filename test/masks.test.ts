// Masks: exact counts, the shape of the block, the roll, and where cells fall on average.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stream } from '../src/base/random.js';
import { maskCounts } from '../src/config/index.js';
import { choicesOf } from '../src/config/keys.js';
import { drawMask, drawMasks, drawRectangle, type Masking } from '../src/masks.js';

const official: Masking = { type: 'inverse', ratio: 0.65, roll: true, aspect: [0.5, 2], predict: 0.05 };

describe('counts', () => {
  it('are the published ones', () => {
    // 224 px at patch 14 and 16, prediction subsampling 5 %.
    expect(maskCounts(official, 16, 16)).toEqual({ patches: 256, masked: 166, visible: 90, predicted: 8 });
    expect(maskCounts(official, 14, 14)).toMatchObject({ masked: 127, predicted: 6 });
    const golden = process.env.CAPI_REFERENCE_DIR ?? 'test/golden/capi-reference';
    const { config } = JSON.parse(readFileSync(join(golden, 'reference.json'), 'utf8'));
    const [gridHeight, gridWidth] = config.image_hw.map((side: number) => side / config.patch_size);
    const counts = maskCounts(
      { ...official, ratio: config.mask_ratio, predict: config.prediction_subsampling },
      gridHeight,
      gridWidth,
    );
    const header = readFileSync(join(golden, 'batch.safetensors'));
    const { visible_indices, predict_indices } = JSON.parse(
      header.subarray(8, 8 + Number(header.readBigUInt64LE())).toString(),
    );
    expect(visible_indices.shape).toEqual([config.batch * counts.visible]);
    expect(predict_indices.shape).toEqual([config.batch * counts.predicted]);
  });
});

const maskings = fc.record({
  type: fc.constantFrom(...choicesOf('masking.type')),
  ratio: fc.double({ min: 0.05, max: 0.95, noNaN: true }),
  roll: fc.boolean(),
  aspect: fc.constantFrom([0.5, 2], [0.2, 0.3], [1, 1], [3, 5]) as fc.Arbitrary<[number, number]>,
  predict: fc.double({ min: 0.05, max: 1, noNaN: true }),
}) as fc.Arbitrary<Masking>;
const side = fc.integer({ min: 1, max: 20 });
const drawable = fc.tuple(maskings, side, side).filter(([masking, height, width]) => {
  const masked = Math.floor(masking.ratio * height * width);
  return masked >= 1 && Math.floor(masking.predict * masked) >= 1;
});

describe('every mask', () => {
  it('has the exact counts, in order, predicts hidden patches only and comes back for the same address', () => {
    fc.assert(
      fc.property(drawable, fc.integer(), fc.nat(), ([masking, gridHeight, gridWidth], seed, step) => {
        const size = { batch: 3, gridHeight, gridWidth };
        const counts = maskCounts(masking, gridHeight, gridWidth);
        const { visible, predict } = drawMasks(masking, size, { seed, step });
        expect([visible.length, predict.length]).toEqual([3 * counts.visible, 3 * counts.predicted]);
        for (const indices of [visible, predict]) {
          for (let i = 1; i < indices.length; i++) expect(indices[i]! > indices[i - 1]!).toBe(true);
          const perImage = indices.length / 3;
          for (let i = 0; i < indices.length; i++) {
            expect(Math.floor(indices[i]! / counts.patches)).toBe(Math.floor(i / perImage));
          }
        }
        expect(predict.every((index) => !visible.includes(index))).toBe(true);
        const second = drawMasks(masking, { ...size, batch: 2 }, { seed, step, first: 1 });
        expect([...second.visible].map((i) => i + counts.patches)).toEqual([
          ...visible.subarray(counts.visible),
        ]);
        expect([...second.predict].map((i) => i + counts.patches)).toEqual([
          ...predict.subarray(counts.predicted),
        ]);
      }),
    );
  });

  it('fits a rectangle into the grid: large enough, and one row or column less would not be', () => {
    fc.assert(
      fc.property(drawable, fc.integer(), ([masking, gridHeight, gridWidth], seed) => {
        const { masked } = maskCounts(masking, gridHeight, gridWidth);
        const box = drawRectangle(stream(seed), masked, gridHeight, gridWidth, masking.aspect);
        expect(box.height * box.width).toBeGreaterThanOrEqual(masked);
        expect((box.height - 1) * (box.width - 1)).toBeLessThan(masked);
        expect(box.top >= 0 && box.top + box.height <= gridHeight).toBe(true);
        expect(box.left >= 0 && box.left + box.width <= gridWidth).toBe(true);
      }),
    );
  });

  it('is, without roll, the first cells of a rectangle; with roll, that shifted around the edges', () => {
    fc.assert(
      fc.property(drawable, fc.integer(), ([masking, height, width], seed) => {
        if (masking.type === 'random') return;
        const inside = masking.type === 'block' ? 1 : 0;
        const mask = drawMask(masking, height, width, stream(seed));
        const shifts = masking.roll ? height * width : 1;
        const found = Array.from({ length: shifts }, (_, shift) => shift).some((shift) =>
          isCutRectangle(roll(mask, height, width, shift), width, inside),
        );
        expect(found).toBe(true);
      }),
      { numRuns: 50 },
    );
  });
});

/** The mask shifted up and left by (shift / width, shift % width). */
function roll(mask: Uint8Array, height: number, width: number, shift: number): Uint8Array {
  const [down, right] = [Math.floor(shift / width), shift % width];
  return mask.map((_, cell) => {
    const row = (Math.floor(cell / width) + down) % height;
    return mask[row * width + (((cell % width) + right) % width)]!;
  });
}

/** True when the cells equal to `inside` are the first ones, row by row, of their bounding box. */
function isCutRectangle(mask: Uint8Array, width: number, inside: number): boolean {
  const cells = [...mask.keys()].filter((cell) => mask[cell] === inside);
  const columns = cells.map((cell) => cell % width);
  const top = Math.floor(cells[0]! / width);
  const left = Math.min(...columns);
  const boxWidth = Math.max(...columns) - left + 1;
  return cells.every((cell, i) => cell === (top + Math.floor(i / boxWidth)) * width + left + (i % boxWidth));
}

describe('on average', () => {
  const images = 4000;
  const frequency = (masking: Masking, which: 'visible' | 'predict', height = 8, width = 12) => {
    const tokens = height * width;
    const counts = new Float64Array(tokens);
    const masks = drawMasks(
      masking,
      { batch: images, gridHeight: height, gridWidth: width },
      { seed: 4, step: 9 },
    );
    for (const index of masks[which]) counts[index % tokens]! += 1 / images;
    return counts;
  };
  const spread = (values: Float64Array, expected: number) =>
    Math.max(...values.map((value) => Math.abs(value - expected)));
  const bound = (p: number) => 5 * Math.sqrt((p * (1 - p)) / images); // five standard errors, 96 cells, seed fixed
  const options = { ...official, predict: 0.2 };
  const counts = maskCounts(options, 8, 12);

  it.each(['random', 'block', 'inverse'] as const)('%s with roll treats every position alike', (type) => {
    const seen = counts.visible / counts.patches;
    expect(spread(frequency({ ...options, type }, 'visible'), seen)).toBeLessThan(bound(seen));
    const predicted = counts.predicted / counts.patches;
    expect(spread(frequency({ ...options, type }, 'predict'), predicted)).toBeLessThan(bound(predicted));
  });

  it('inverse without roll shows the middle more than the corners, block without roll hides it', () => {
    const [corner, middle] = [0, 4 * 12 + 6];
    const shown = frequency({ ...options, type: 'inverse', roll: false }, 'visible');
    expect(shown[middle]! - shown[corner]!).toBeGreaterThan(0.3);
    const block = frequency({ ...options, type: 'block', roll: false }, 'visible');
    expect(block[middle]! - block[corner]!).toBeLessThan(-0.3);
    expect(block[middle]).toBe(0); // 62 of 96 cells: any such rectangle covers the middle
  });

  it('the aspect is log-uniform', () => {
    const random = stream(11);
    const logs = Array.from({ length: 4000 }, () => {
      const { height, width } = drawRectangle(random, 40_000, 1000, 1000, [0.5, 2]);
      return Math.log2(height / width);
    }).sort((a, b) => a - b);
    // Uniform on [-1, 1]: quantiles within five standard errors (0.016 at most in probability, 0.08 in value).
    for (const quantile of [0, 0.1, 0.25, 0.5, 0.75, 0.9]) {
      expect(Math.abs(logs[Math.floor(quantile * 4000)]! - (2 * quantile - 1))).toBeLessThan(0.08);
    }
    expect(logs.at(-1)! <= 1.02 && logs[0]! >= -1.02).toBe(true); // rounding up 200 cells moves it by 1 % at most
  });
});
