// Batches: every image once an epoch, the same batch whatever came before and whoever draws it, and what bad images do.

import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sha256 } from '../../../src/base/hash.js';
import { DataError, UsageError } from '../../../src/errors.js';
import { encodePng } from '../../../src/images/decode/pixels.js';
import {
  type Batches,
  type BatchOptions,
  type ImageSource,
  openBatches,
  openSource,
} from '../../../src/images/index.js';
import { compiledImages, failure, put, temporaryFolder } from '../support.js';

const options: BatchOptions = {
  height: 24,
  width: 20,
  batch: 4,
  seed: 5,
  cropScale: [0.5, 1],
  cropRatio: [3 / 4, 4 / 3],
  flip: 0.5,
  maxBadShare: 0.1,
  workers: 0,
};

const folder = temporaryFolder();
const compiled = await compiledImages();
const opened: Batches[] = [];

afterEach(async () => {
  await Promise.all(opened.splice(0).map((batches) => batches.close()));
});

async function open(
  source: ImageSource,
  changes: Partial<BatchOptions> = {},
  from = openBatches,
): Promise<Batches> {
  const batches = await from(source, { ...options, ...changes });
  opened.push(batches);
  return batches;
}

/** Digests of pixels and indices of `count` batches from `first` on. */
async function draw(batches: Batches, first: number, count: number): Promise<string[]> {
  const digests: string[] = [];
  for (let step = first; step < first + count; step++) {
    const { pixels, indices } = await batches.next(step);
    digests.push(`${step} ${sha256(pixels, new Uint8Array(indices.buffer))}`);
  }
  return digests;
}

/** A folder of `count` pictures, those in `bad` damaged. */
async function pictures(name: string, count: number, bad: number[] = []): Promise<string> {
  for (let i = 0; i < count; i++) {
    const data = Uint8Array.from({ length: 12 * 16 * 3 }, (_, p) => (p * (i + 3)) % 251);
    const bytes = await encodePng({ data, height: 12, width: 16 });
    put(
      join(folder, name, `${String(i).padStart(3, '0')}.png`),
      bad.includes(i) ? bytes.slice(0, 60) : bytes,
    );
  }
  return `folder:${join(folder, name)}`;
}

describe('order', () => {
  it('an epoch holds every image once, and the next another order', async () => {
    const source = await openSource('synthetic:scenes?size=32&count=23');
    const batches = await open(source);
    expect(batches.stepsPerEpoch).toBe(5); // 23 / 4, the last three dropped
    const epochs: number[][] = [[], []];
    for (let step = 0; step < 10; step++) {
      epochs[Math.floor(step / 5)]!.push(...(await batches.next(step)).indices);
    }
    for (const epoch of epochs) expect(new Set(epoch).size).toBe(20);
    expect(epochs[0]).not.toEqual(epochs[1]);
  });

  it('batch k is the same after reopening at k, in a later epoch too', async () => {
    const source = await openSource('synthetic:scenes?size=32&count=23');
    const all = await draw(await open(source), 0, 9);
    expect(await draw(await open(source, { startStep: 3 }), 3, 6)).toEqual(all.slice(3));
    expect(await draw(await open(source, { startStep: 8 }), 8, 1)).toEqual(all.slice(8));
    expect(await draw(await open(source, { seed: 6 }), 0, 1)).not.toEqual(all.slice(0, 1));
  });

  it('is asked step by step', async () => {
    const batches = await open(await openSource('synthetic:scenes?size=32&count=23'));
    await batches.next(0);
    await expect(batches.next(2)).rejects.toThrow('out of order');
  });

  it('a source smaller than a batch is refused', async () => {
    const source = await openSource('synthetic:scenes?size=32&count=3');
    expect(await failure(() => openBatches(source, options))).toBeInstanceOf(UsageError);
  });
});

describe('threads', () => {
  const reference = new Map<string, string[]>();
  let uris: string[];
  beforeAll(async () => {
    uris = ['synthetic:scenes?size=32&count=23', await pictures('threads', 22, [2, 9])];
    for (const uri of uris) reference.set(uri, await draw(await open(await openSource(uri)), 0, 12));
  });

  it.each([
    ['3 of them draw the same generated batches as none', 3, 0],
    ['1 of them draws the same batches of files as none', 1, 1],
  ])('%s', async (_, workers, which) => {
    const uri = uris[which]!;
    const source = await compiled.openSource(uri);
    const batches = await open(source, { workers, prefetch: 2 }, compiled.openBatches);
    expect(batches.stats().workers).toBe(workers);
    expect(await draw(batches, 0, 12)).toEqual(reference.get(uri));
    const later = await open(source, { workers, startStep: 7 }, compiled.openBatches);
    expect(await draw(later, 7, 4)).toEqual(reference.get(uri)!.slice(7, 11));
  });

  it('draw ahead while this thread is blocked', async () => {
    const source = await compiled.openSource(uris[0]!);
    const batches = await open(source, { workers: 1, prefetch: 4 }, compiled.openBatches);
    await batches.next(0);
    let step = 1;
    let kept = false;
    // four batches are ready after a short block on an idle machine, after a longer one on a busy one
    for (const seconds of [0.5, 2, 8]) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000); // blocks like a native call
      const before = batches.stats().waitSeconds;
      for (const last = step + 3; step < last; step++) await batches.next(step);
      kept ||= batches.stats().waitSeconds - before < 0.1 * seconds;
      if (kept) break;
    }
    expect(kept).toBe(true);
  });

  it('hand on an error, and end when closed while they wait', async () => {
    const uri = await pictures('vanishing', 8);
    const source = await compiled.openSource(uri);
    const wrong = { ...source, length: 9 };
    const batches = await open(wrong, { workers: 1 }, compiled.openBatches);
    await expect(batches.next(0)).rejects.toThrow('changed');
    const idle = await open(source, { workers: 2 }, compiled.openBatches);
    await idle.next(0);
    await idle.close();
    await expect(idle.next(1)).rejects.toThrow('closed');
  });
});

describe('unreadable images', () => {
  it('are replaced, counted and named once', async () => {
    const source = await openSource(await pictures('few', 22, [2, 9]));
    const batches = await open(source);
    const seen = new Set<number>();
    for (let step = 0; step < 15; step++) for (const i of (await batches.next(step)).indices) seen.add(i);
    expect(seen.has(2) || seen.has(9)).toBe(false);
    expect(seen.size).toBe(20);
    const { skipped } = batches.stats();
    expect(skipped.map(({ name }) => name).sort()).toEqual([source.name(2), source.name(9)]);
    expect(skipped[0]!.reason).toContain('cannot be decoded');
  });

  it.each([0, 2])('more than the share stop the run, %i threads', async (workers) => {
    const images = workers > 0 ? compiled : { openSource, openBatches };
    const source = await images.openSource(await pictures('many', 22, [1, 4, 7, 11, 20]));
    const batches = await open(source, { workers }, images.openBatches);
    const error = await failure(async () => {
      for (let step = 0; step < 10; step++) await batches.next(step);
    });
    expect(error.name).toBe('DataError');
    expect(error.message).toMatch(/^[345] of the 22 images/);
    expect(error.message).toContain('.png cannot be decoded');
    expect(error.message).toContain('max_bad_share');
  });

  it('one bad image of ten is borne at any share but zero; all bad is said so', async () => {
    const uri = await pictures('ten', 10, [3]);
    const one = await open(await openSource(uri), { maxBadShare: 0.01 });
    await draw(one, 0, 6);
    expect(one.stats().skipped).toHaveLength(1);
    const strict = await open(await openSource(uri), { maxBadShare: 0 });
    expect((await failure(() => draw(strict, 0, 6))).message).toMatch(/^1 of the 10 images/);
    const none = await open(await openSource(await pictures('none', 6, [0, 1, 2, 3, 4, 5])), {
      maxBadShare: 1,
    });
    expect(await failure(() => draw(none, 0, 1))).toBeInstanceOf(DataError);
  });
});
