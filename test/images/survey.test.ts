// Channel statistics against a direct count, label counts, and where a contact sheet puts what.

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DataError } from '../../src/errors.js';
import { encodePng } from '../../src/images/decode/pixels.js';
import {
  channelStats,
  contactSheet,
  labelCounts,
  openSource,
  paintLabels,
  sampleSource,
} from '../../src/images/index.js';
import { failure, put, temporaryFolder } from './support.js';

const folder = temporaryFolder();

describe('channelStats', () => {
  it('is the mean and standard deviation over all pixels', async () => {
    const source = await openSource('synthetic:scenes?size=32&count=6');
    const values: number[][] = [[], [], []];
    for (let i = 0; i < 6; i++) {
      const { data } = await source.read(i);
      for (let p = 0; p < data.length; p++) values[p % 3]!.push(data[p]! / 255);
    }
    const { mean, std, images } = await channelStats(source, 100);
    expect(images).toBe(6);
    for (let c = 0; c < 3; c++) {
      const m = values[c]!.reduce((a, b) => a + b, 0) / values[c]!.length;
      const variance = values[c]!.reduce((a, b) => a + (b - m) ** 2, 0) / values[c]!.length;
      expect(mean[c]).toBeCloseTo(m, 10); // sums of whole numbers here, of fractions there
      expect(std[c]).toBeCloseTo(Math.sqrt(variance), 10);
    }
  });

  it('leaves unreadable images out, and says so when none is left', async () => {
    put(
      join(folder, 'mixed/a.png'),
      await encodePng({ data: new Uint8Array(12).fill(51), height: 2, width: 2 }),
    );
    put(join(folder, 'mixed/b.png'), 'text');
    put(join(folder, 'broken/b.png'), 'text');
    const stats = await channelStats(await openSource(`folder:${folder}/mixed`), 10);
    expect(stats).toEqual({ mean: [0.2, 0.2, 0.2], std: [0, 0, 0], images: 1 });
    const error = await failure(async () => channelStats(await openSource(`folder:${folder}/broken`), 10));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toContain('b.png');
  });
});

describe('labelCounts', () => {
  it('counts every image once', async () => {
    const source = await openSource('synthetic:scenes?count=100');
    const counts = labelCounts(source)!;
    expect(counts).toHaveLength(12);
    expect(counts.reduce((a, b) => a + b)).toBe(100);
    expect(labelCounts(await openSource(`folder:${folder}/mixed`))).toBeUndefined();
  });
});

describe('contactSheet', () => {
  it('enlarges small images by whole pixels, with label maps beside them', async () => {
    const samples = await sampleSource(await openSource('synthetic:scenes?size=32&count=8'), 3);
    expect(samples.map(({ index }) => index)).toEqual([0, 2, 5]);
    const sheet = contactSheet(samples, [], 64);
    const at = (y: number, x: number) => [
      ...sheet.data.subarray((y * sheet.width + x) * 3, (y * sheet.width + x) * 3 + 3),
    ];
    const { image, labelMap } = samples[0]!;
    const labels = paintLabels(labelMap!);
    for (const [y, x] of [
      [0, 0],
      [9, 30],
      [31, 31],
    ] as const) {
      const p = (y * 32 + x) * 3;
      for (const [dy, dx] of [
        [0, 0],
        [1, 1],
      ] as const) {
        expect(at(4 + 2 * y + dy, 4 + 2 * x + dx)).toEqual([...image!.data.subarray(p, p + 3)]);
        expect(at(4 + 2 * y + dy, 4 + 64 + 2 * x + dx)).toEqual([...labels.data.subarray(p, p + 3)]);
      }
    }
    expect(at(0, 0)).toEqual([255, 255, 255]);
  });

  it('leaves a grey tile for an image that cannot be read', async () => {
    const samples = await sampleSource(await openSource(`folder:${folder}/mixed`), 2);
    expect(samples[1]!.problem).toContain('b.png');
    const sheet = contactSheet(samples, [], 16);
    const p = (10 * sheet.width + 4 + 16 + 4 + 5) * 3;
    expect([...sheet.data.subarray(p, p + 3)]).toEqual([214, 214, 214]);
  });

  it('tells twenty labels apart, and marks ignored ones white', () => {
    const map = { data: Uint8Array.from({ length: 21 }, (_, i) => i), height: 1, width: 21 };
    const { data } = paintLabels(map, [20]);
    const colours = Array.from({ length: 21 }, (_, i) => [...data.subarray(i * 3, i * 3 + 3)]);
    expect(colours[0]).toEqual([0, 0, 0]);
    expect(colours[20]).toEqual([255, 255, 255]);
    for (let i = 0; i < 21; i++) {
      for (let j = 0; j < i; j++) {
        const distance = colours[i]!.reduce((sum, v, c) => sum + Math.abs(v - colours[j]![c]!), 0);
        expect(distance, `labels ${i} and ${j}`).toBeGreaterThan(30);
      }
    }
  });
});
