// The feature store: computes once, goes on where a kill left it, keeps what differs apart, and lists and prunes.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import {
  listStore,
  type PartRows,
  pruneStore,
  type StoreKey,
  storedParts,
} from '../../src/features/store.js';

const base = mkdtempSync(join(tmpdir(), 'capi-store-'));
afterAll(() => rmSync(base, { recursive: true }));
let folder = '';
let count = 0;
beforeEach(() => {
  folder = join(base, `store-${++count}`);
});

const IMAGES = 12;
const parts = {
  patches: { dtype: 'float32', perImage: 4, width: 500_000 }, // rows so wide that a chunk of 8 MiB holds four
  labels: { dtype: 'uint8', perImage: 1, width: 3 },
} as const;
const key = (changes: Partial<StoreKey> = {}): StoreKey => ({
  kind: 'features',
  title: 'test',
  made_by: 'weights',
  data: 'data',
  how: { size: 8 },
  ...changes,
});

/** Rows that say which image and place they belong to, in pieces of `piece` images; throws at image `dies`. */
async function* rows(first: number, piece: number, dies = Number.POSITIVE_INFINITY): AsyncIterable<PartRows> {
  for (let image = first; image < IMAGES; image += piece) {
    const n = Math.min(piece, IMAGES - image);
    if (image + n > dies) throw new Error('killed');
    const patches = new Float32Array(n * 4 * 500_000);
    const labels = new Uint8Array(n * 3);
    for (let i = 0; i < n; i++) {
      for (let row = 0; row < 4; row++)
        patches.fill((image + i) * 4 + row, (i * 4 + row) * 500_000, (i * 4 + row + 1) * 500_000);
      labels.fill(image + i, i * 3, (i + 1) * 3);
    }
    yield { patches, labels };
  }
}

async function expectRows(found: Awaited<ReturnType<typeof store>>['parts']): Promise<void> {
  for (const row of [0, 5, IMAGES * 4 - 1]) expect((await found.patches.read(row, 1))[7]).toBe(row);
  for (const row of [0, 7, IMAGES - 1]) expect((await found.labels.read(row, 1))[2]).toBe(row);
  await found.patches.verify();
}
const store = (compute: (first: number) => AsyncIterable<PartRows>, changes: Partial<StoreKey> = {}) =>
  storedParts(folder, key(changes), parts, IMAGES, compute);

describe('storedParts', () => {
  it('computes once; the title is no part of the content', async () => {
    const first = await store((from) => rows(from, 5));
    expect(first.computed).toBe(IMAGES);
    await expectRows(first.parts);
    const second = await store(
      () => {
        throw new Error('computed again');
      },
      { title: 'another name' },
    );
    expect(second.computed).toBe(0);
    await expectRows(second.parts);
  });

  it('goes on after a kill: what one part has more of than another is not written twice', async () => {
    await expect(store((from) => rows(from, 3, 8))).rejects.toThrow('killed');
    const starts: number[] = [];
    const { parts: found, computed } = await store((from) => {
      starts.push(from);
      return rows(from, 4);
    });
    expect(starts).toEqual([0]); // the bytes of the labels had not filled a chunk, so all images are computed again
    expect(computed).toBe(IMAGES);
    await expectRows(found);
  });

  it('keeps other weights, data and transforms apart', async () => {
    await store((from) => rows(from, 5));
    for (const changes of [{ made_by: 'w2' }, { data: 'd2' }, { how: { size: 9 } }]) {
      expect((await store((from) => rows(from, 5), changes)).computed).toBe(IMAGES);
    }
    expect(await listStore(folder)).toHaveLength(4);
  });
});

it('lists entries with their size and prunes the least recently used first', async () => {
  await store((from) => rows(from, 5));
  await store((from) => rows(from, 5), { data: 'later' });
  await expect(store((from) => rows(from, 5, 8), { data: 'interrupted' })).rejects.toThrow('killed');
  const before = await listStore(folder);
  expect(before.map((e) => e.complete)).toEqual([true, true, false]);
  expect(before[0]!.bytes).toBeGreaterThan(IMAGES * 4 * 500_000 * 4);
  const removed = await pruneStore(folder, before[1]!.bytes + before[2]!.bytes);
  expect(removed.map((e) => e.name)).toEqual([before[0]!.name]);
  expect((await listStore(folder)).map((e) => e.name)).toEqual([before[1]!.name, before[2]!.name]);
  expect(await pruneStore(folder, 0)).toHaveLength(2);
});
