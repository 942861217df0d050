// The feature store: computes once, goes on where a kill left it, keeps what differs apart, and lists and prunes.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tryLock } from '../../src/base/files/lock.js';
import { DataError, InterruptedError } from '../../src/errors.js';
import {
  listStore,
  type PartRows,
  type PruneSelection,
  pruneStore,
  type StoreEntry,
  type StoreKey,
  storedParts,
} from '../../src/features/store.js';

const base = mkdtempSync(join(tmpdir(), 'capi-store-'));
afterAll(() => rmSync(base, { recursive: true }));
let folder = '';
let count = 0;
const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const file of opened.splice(0)) await file.close();
});
beforeEach(() => {
  width = 500;
  folder = join(base, `store-${++count}`);
});

const IMAGES = 12;
let width = 500; // values of a row of patches
const partsNow = () =>
  ({
    patches: { dtype: 'float32', perImage: 4, width },
    labels: { dtype: 'uint8', perImage: 1, width: 3 },
  }) as const;
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
    const patches = new Float32Array(n * 4 * width);
    const labels = new Uint8Array(n * 3);
    for (let i = 0; i < n; i++) {
      for (let row = 0; row < 4; row++)
        patches.fill((image + i) * 4 + row, (i * 4 + row) * width, (i * 4 + row + 1) * width);
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
async function store(
  compute: (first: number) => AsyncIterable<PartRows>,
  changes: Partial<StoreKey> = {},
  signal?: AbortSignal,
) {
  const found = await storedParts(folder, key(changes), partsNow(), IMAGES, compute, { signal });
  opened.push(...Object.values(found.parts));
  return found;
}

describe('a store that cannot be written', () => {
  it('is read where it can be; what it lacks is computed once beside it, and said once', async () => {
    writeFileSync(folder, 'a file where the store should be');
    const lines: string[] = [];
    const ask = async (how: object) => {
      const found = await storedParts(
        folder,
        key({ how: { ...how } }),
        partsNow(),
        IMAGES,
        (from) => rows(from, 5),
        {
          onMessage: (line) => lines.push(line),
        },
      );
      opened.push(...Object.values(found.parts));
      return found;
    };
    const first = await ask({ size: 1 });
    expect(first.computed).toBe(IMAGES);
    await expectRows(first.parts);
    const again = await ask({ size: 1 });
    expect(again.computed).toBe(0);
    await expectRows(again.parts);
    expect((await ask({ size: 2 })).computed).toBe(IMAGES);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^warning: features are not kept: cannot write .*ENOTDIR/);
  });
});

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
    width = 500_000; // a chunk of 8 MiB holds four such rows
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
  expect(before[0]!.bytes).toBeGreaterThan(IMAGES * 4 * 500 * 4);
  const keepBytes = before[1]!.bytes + before[2]!.bytes;
  const left = async () => (await listStore(folder)).map((e) => e.name);
  expect((await pruneStore(folder, {})).removed).toEqual([]);
  expect((await pruneStore(folder, { keepBytes }, true)).removed).toEqual([before[0]!]);
  expect(await left()).toHaveLength(3);
  expect(await pruneStore(folder, { keepBytes })).toEqual({ removed: [before[0]!], busy: [] });
  expect(await left()).toEqual([before[1]!.name, before[2]!.name]);
  expect((await pruneStore(folder, { keepBytes: 0 })).removed).toHaveLength(2);
});

it('prunes by name and by last use, each condition restricting the other', async () => {
  const old = new Date(Date.now() - 5 * 86_400_000);
  for (const data of ['a', 'b', 'c']) await store((from) => rows(from, 12), { data });
  const names = (await listStore(folder)).map((e) => e.name);
  for (const name of names.slice(0, 2)) utimesSync(join(folder, name, 'entry.json'), old, old);
  const usedBefore = new Date(Date.now() - 86_400_000);
  const would = async (selection: PruneSelection) =>
    (await pruneStore(folder, selection, true)).removed.map((e) => e.name).sort();
  expect(await would({ usedBefore })).toEqual(names.slice(0, 2).sort());
  expect(await would({ usedBefore, names: [names[1]!, names[2]!] })).toEqual([names[1]!]);
  expect(await would({ usedBefore, keepBytes: 0 })).toEqual(names.slice(0, 2).sort());
  expect(await would({ keepBytes: Number.POSITIVE_INFINITY })).toEqual([]);
});

it('passes over what is no entry', async () => {
  await store((from) => rows(from, 12));
  mkdirSync(join(folder, 'other'));
  writeFileSync(join(folder, 'other', 'entry.json'), '{"mine": 1}');
  writeFileSync(join(folder, 'notes.txt'), 'mine');
  expect(await listStore(folder)).toHaveLength(1);
  expect((await pruneStore(folder, { keepBytes: 0 })).removed).toHaveLength(1);
  expect(existsSync(join(folder, 'other', 'entry.json'))).toBe(true);
});

describe('an entry that is being computed', () => {
  it('is computed by one caller; another waits and reads', async () => {
    let calls = 0;
    const compute = async function* (from: number) {
      calls++;
      for await (const piece of rows(from, 4)) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        yield piece;
      }
    };
    const both = await Promise.all([store(compute), store(compute)]);
    expect(calls).toBe(1);
    expect(both.map((found) => found.computed).sort()).toEqual([0, IMAGES]);
    for (const { parts: found } of both) await expectRows(found);
  });

  it('is not pruned, and says who computes it', async () => {
    let entry: StoreEntry[] = [];
    let pruned: Awaited<ReturnType<typeof pruneStore>> | undefined;
    await store(async function* (from) {
      entry = await listStore(folder);
      pruned = await pruneStore(folder, { keepBytes: 0 });
      yield* rows(from, 12);
    });
    expect(entry[0]).toMatchObject({ complete: false, writer: { pid: process.pid, host: hostname() } });
    expect(pruned!.removed).toEqual([]);
    expect(pruned!.busy.map((e) => e.name)).toEqual([entry[0]!.name]);
    expect((await listStore(folder))[0]).not.toHaveProperty('writer');
  });

  it('is taken over from a process that died, and waiting for one that lives can be stopped', async () => {
    await expect(store((from) => rows(from, 3, 8))).rejects.toThrow('killed');
    const lock = join(folder, (await listStore(folder))[0]!.name, 'entry.lock');
    expect(existsSync(lock)).toBe(false); // a failure gives the lock back
    const left = () => writeFileSync(lock, JSON.stringify({ pid: 999_999_999, host: hostname() }));
    left();
    const holder = await tryLock(lock, 'another evaluation'); // takes over what was left, and lives
    const waiting = store((from) => rows(from, 12), {}, AbortSignal.abort());
    await expect(waiting).rejects.toThrow(`process ${process.pid} on ${hostname()} (another evaluation)`);
    await expect(waiting).rejects.toThrow(InterruptedError);
    if ('release' in holder) await holder.release();
    expect((await store((from) => rows(from, 12))).computed).toBe(IMAGES);
    await pruneStore(folder, { keepBytes: 0 });
    await expect(store((from) => rows(from, 3, 8))).rejects.toThrow('killed');
    left();
    expect((await store((from) => rows(from, 12))).computed).toBe(IMAGES);
  });
});

it('says how to be rid of a damaged entry', async () => {
  await store((from) => rows(from, 12));
  const [{ name }] = (await listStore(folder)) as [StoreEntry];
  const file = join(folder, name, 'patches.mat');
  truncateSync(file, statSync(file).size - 4);
  const again = store(() => {
    throw new Error('computed again');
  });
  await expect(again).rejects.toThrow(`capi data cache --prune ${name}`);
  await expect(again).rejects.toThrow(DataError);
  await pruneStore(folder, { names: [name] });
  expect((await store((from) => rows(from, 12))).computed).toBe(IMAGES);
});
