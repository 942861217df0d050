// IDX files: reading them, gzipped or not, and one clear line for each way in which they can be wrong.

import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { DataError, UsageError } from '../../../src/errors.js';
import { openSource } from '../../../src/images/index.js';
import { suiteNeeding } from '../../support/suites.js';
import { fashionMnist } from '../../support/tools.js';
import { failure, idxBytes, put, temporaryFolder, writeIdx } from '../support.js';

const folder = temporaryFolder();
const plain = writeIdx(join(folder, 'plain'), { train: 12, test: 5 }, false);
const zipped = writeIdx(join(folder, 'zipped'), { train: 12, test: 5 }, true);

describe('idx sources', () => {
  it('reads both splits as RGB with labels', async () => {
    for (const [split, length, level] of [
      ['train', 12, 100],
      ['test', 5, 200],
    ] as const) {
      const source = await openSource(`idx:${plain}`, { split });
      expect(source).toMatchObject({ split, length, nativeSize: { height: 28, width: 28 } });
      const { data } = await source.read(3);
      const middle = (14 * 28 + 14) * 3;
      expect([...data.subarray(middle, middle + 3)]).toEqual([level + 3, level + 3, level + 3]);
      expect(data[0]).toBe(0);
      expect(source.label!(3)).toBe(3);
    }
  });

  it('is the same data gzipped or not, wherever it lies, and another in another split', async () => {
    const identity = async (uri: string) => (await openSource(uri)).identity();
    const train = await identity(`idx:${plain}`);
    expect(await identity(`idx:${zipped}`)).toBe(train);
    expect(await identity(`idx:${plain}?split=test`)).not.toBe(train);
  });

  it('opens again from its canonical URI; the URI wins over the caller', async () => {
    const source = await openSource(`idx:${plain}?split=test`, { split: 'train' });
    expect(source.uri).toBe(`idx:${plain}?split=test`);
    expect((await openSource(source.uri)).length).toBe(5);
  });

  it.each([
    ['wrong magic', 'train-images-idx3-ubyte', idxBytes([12, 28], new Uint8Array(12 * 28)), 'magic'],
    ['truncated', 'train-images-idx3-ubyte', idxBytes([12, 28, 28], new Uint8Array(100)), 'truncated'],
    ['no header', 'train-images-idx3-ubyte', Buffer.from([0, 0, 8]), 'magic'],
    ['half a header', 'train-images-idx3-ubyte', Buffer.from([0, 0, 8, 3, 0, 0]), 'truncated'],
    ['bytes left over', 'train-labels-idx1-ubyte', idxBytes([12], new Uint8Array(13)), 'left over'],
    ['too few labels', 'train-labels-idx1-ubyte', idxBytes([11], new Uint8Array(11)), '11 labels'],
    ['no images', 'train-images-idx3-ubyte', idxBytes([0, 28, 28], []), 'labels'],
    [
      'damaged gzip',
      'train-images-idx3-ubyte',
      gzipSync(idxBytes([12, 28, 28], new Uint8Array(12 * 784))).subarray(0, 40),
      'decompressed',
    ],
  ])('%s: names the file', async (name, file, bytes, words) => {
    const bad = writeIdx(join(folder, name), { train: 12, test: 5 }, false);
    put(join(bad, file), bytes);
    const error = await failure(() => openSource(`idx:${bad}`));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toContain(join(bad, file));
    expect(error.message).toContain(words);
  });

  it.each([
    [
      'a bomb behind an honest header',
      idxBytes([12, 28, 28], new Uint8Array(2 ** 24)),
      'has bytes left over',
    ],
    [
      'a header that promises too much',
      idxBytes([60_000, 28, 28], []),
      'is truncated: 16 bytes, its header promises 47040016',
    ],
    [
      'a header of 2^32 - 1 images',
      idxBytes([0xffffffff, 28, 28], [0]),
      'promises 4294967295 x 28 x 28 values',
    ],
    [
      'a header that is a bomb itself',
      idxBytes([1, 0xffffffff, 0xffffffff], [0]),
      '1 x 4294967295 x 4294967295',
    ],
    ['zeros without end', Buffer.alloc(2 ** 24), 'magic number is 0x00000000'],
    ['no bytes', Buffer.alloc(0), 'magic number is missing'],
    ['half a header', Buffer.from([0, 0, 8, 3, 0, 0]), 'is truncated: 6 bytes, its header has 16'],
  ])('gzip of %s ends at once', async (name, bytes, words) => {
    const bad = writeIdx(join(folder, name), { train: 12, test: 5 }, true);
    const file = put(join(bad, 'train-images-idx3-ubyte.gz'), gzipSync(bytes));
    const error = await failure(() => openSource(`idx:${bad}`));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toContain(file);
    expect(error.message).toContain(words);
  });

  it('damaged or cut gzip files and FIFOs are named', async () => {
    const bad = writeIdx(join(folder, 'bad-gzip'), { train: 12, test: 5 }, true);
    const file = join(bad, 'train-images-idx3-ubyte.gz');
    const whole = readFileSync(file);
    const flipped = Buffer.from(whole);
    flipped.fill(0x55, 20, 40);
    for (const bytes of [whole.subarray(0, whole.length - 12), flipped, whole.subarray(0, 5)]) {
      put(file, bytes);
      const { message } = await failure(() => openSource(`idx:${bad}`));
      expect(message).toContain(file);
      expect(message).toMatch(/cannot be decompressed|is truncated|magic number/);
    }
    rmSync(file);
    execFileSync('mkfifo', [file]);
    expect((await failure(() => openSource(`idx:${bad}`))).message).toContain(`${file} is a FIFO`);
  });

  it('says what is missing and how to get it', async () => {
    const nowhere = await failure(() => openSource(`idx:${folder}/nowhere`));
    expect(nowhere.message).toContain('dataset-fashion-mnist');
    const half = writeIdx(join(folder, 'half'), { train: 12, test: 5 }, false);
    rmSync(join(half, 't10k-labels-idx1-ubyte'));
    const error = await failure(() => openSource(`idx:${half}?split=test`));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toContain('t10k-labels-idx1-ubyte');
  });
});

describe('source URIs', () => {
  it.each([
    ['imagenet', 'synthetic:scenes'],
    ['tar:/data', "'tar'; known sources: synthetic:scenes, fashion-scenes:DIR, idx:DIR, folder:DIR"],
    ['idx:', 'idx:/usr/share'],
    ['synthetic:shapes', 'synthetic:scenes'],
    ['synthetic:scenes?sise=64', 'sise'],
    ['synthetic:scenes?size=16', 'from 32 to 512'],
    ['synthetic:scenes?size=64.5', 'whole number'],
    ['synthetic:scenes?size=', 'size='],
    ['synthetic:scenes?difficulty=2', 'difficulty=2'],
    ['synthetic:scenes?split=val', 'train or test'],
    ['synthetic:scenes?seed=1&seed=2', 'twice'],
    ['idx:/data?size=64', 'split'],
  ])('%s is refused', async (uri, words) => {
    const error = await failure(() => openSource(uri));
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toContain(words);
    expect(error.message).toContain(uri);
  });
});

suiteNeeding('fashion-mnist')('Fashion-MNIST', () => {
  it('has its published counts and its class names', async () => {
    const train = await openSource(`idx:${fashionMnist}`);
    const test = await openSource(`idx:${fashionMnist}?split=test`);
    expect([train.length, test.length]).toEqual([60_000, 10_000]);
    expect(test.classes!.slice(0, 2)).toEqual(['T-shirt', 'trouser']);
    const counts = Array<number>(10).fill(0);
    for (let i = 0; i < train.length; i++) counts[train.label!(i)!]!++;
    expect(counts).toEqual(Array<number>(10).fill(6000));
  });
});
