// Digests of files: what is known of them is used only where it must still be true.
import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { digestsFile, readDigests, writeDigests } from '../../../src/base/files/digest_cache.js';
import { fileDigests } from '../../../src/base/files/digests.js';
import { DataError, InterruptedError } from '../../../src/errors.js';

const base = join(tmpdir(), `capi-digests-${process.pid}`);
let root = '';
let count = 0;
const given = process.env.CAPI_CACHE;

beforeEach(() => {
  root = join(base, `${++count}`, 'data');
  mkdirSync(join(root, 'sub'), { recursive: true });
  process.env.CAPI_CACHE = join(base, `${count}`, 'cache');
});
afterEach(() => {
  vi.restoreAllMocks();
});
afterAll(() => {
  if (given === undefined) delete process.env.CAPI_CACHE;
  else process.env.CAPI_CACHE = given;
  rmSync(base, { recursive: true, force: true });
});

const sha = (text: string): string => createHash('sha256').update(text).digest('hex');
const put = (name: string, text: string): void => writeFileSync(join(root, name), text);
const NAMES = ['a.png', 'sub/b "quoted"\n.png'];

/** As if the files had lain there for an hour. */
const later = () => {
  const now = Date.now();
  vi.spyOn(Date, 'now').mockReturnValue(now + 3_600_000);
};

/** Puts a false digest of the first file into the cache, which only who reads the cache will repeat. */
async function poison(): Promise<string> {
  const file = digestsFile(root);
  const known = await readDigests(file);
  known.set(NAMES[0]!, { ...known.get(NAMES[0]!)!, digest: sha('false') });
  await writeDigests(file, known, 2);
  return sha('false');
}

async function known(): Promise<void> {
  put(NAMES[0]!, 'first');
  put(NAMES[1]!, 'second');
  later();
  expect(await fileDigests(root, NAMES)).toEqual([sha('first'), sha('second')]);
}

describe('digests of files', () => {
  it('are SHA-256 of the contents, kept for files that stand still, under any name', async () => {
    await known();
    const kept = await readDigests(digestsFile(root));
    expect(NAMES.map((name) => kept.get(name)?.digest)).toEqual([sha('first'), sha('second')]);
    const stamp = statSync(join(root, NAMES[0]!), { bigint: true });
    expect(kept.get(NAMES[0]!)?.stamp).toBe(`${stamp.size} ${stamp.mtimeNs} ${stamp.ctimeNs} ${stamp.ino}`);
  });

  it('are taken from the cache the second time, and with `fresh` from the files', async () => {
    await known();
    const forged = await poison();
    expect((await fileDigests(root, NAMES))[0]).toBe(forged);
    expect((await fileDigests(root, NAMES, { fresh: true }))[0]).toBe(sha('first'));
    expect((await fileDigests(root, NAMES))[0]).toBe(sha('first')); // what is read replaces what was known
  });

  it.each<[string, () => void]>([
    [
      'an edit that leaves size and time of change as they were',
      () => {
        const { atime, mtime } = statSync(join(root, NAMES[0]!));
        put(NAMES[0]!, 'FIRST');
        utimesSync(join(root, NAMES[0]!), atime, mtime);
      },
    ],
    [
      'another file of the same size and times under the name',
      () => {
        const { atime, mtime } = statSync(join(root, NAMES[0]!));
        put('other', 'FIRST');
        utimesSync(join(root, 'other'), atime, mtime);
        renameSync(join(root, 'other'), join(root, NAMES[0]!));
      },
    ],
    [
      'a link to another file in its place',
      () => {
        put('other', 'FIRST');
        unlinkSync(join(root, NAMES[0]!));
        symlinkSync(join(root, 'other'), join(root, NAMES[0]!));
      },
    ],
  ])('notice %s', async (_, edit) => {
    await known();
    edit();
    expect(await fileDigests(root, NAMES)).toEqual([sha('FIRST'), sha('second')]);
  });

  it('of files that were written just now are not kept', async () => {
    put(NAMES[0]!, 'first');
    await fileDigests(root, [NAMES[0]!]);
    expect((await readDigests(digestsFile(root))).size).toBe(0);
  });

  it.each<[string, (bytes: Buffer) => Buffer | string]>([
    ['a flipped bit', (bytes) => Buffer.from(bytes.map((b, i) => (i === 20 ? b ^ 1 : b)))],
    ['its end cut off', (bytes) => bytes.subarray(0, bytes.length - 30)],
    ['nothing in it', () => ''],
    ['something else in it', () => '{"null": [}'],
  ])('are read again where the cache has %s', async (_, damage) => {
    await known();
    await poison();
    const file = digestsFile(root);
    writeFileSync(file, damage(readFileSync(file)));
    expect(await fileDigests(root, NAMES)).toEqual([sha('first'), sha('second')]);
  });

  it('need no cache: a file where its folder should be, or a folder where its file should be', async () => {
    writeFileSync(process.env.CAPI_CACHE!, 'a file');
    await known();
    rmSync(process.env.CAPI_CACHE!);
    mkdirSync(digestsFile(root), { recursive: true });
    expect(await fileDigests(root, NAMES)).toEqual([sha('first'), sha('second')]);
    expect(readdirSync(join(process.env.CAPI_CACHE!, 'digests'))).toHaveLength(1); // nothing half written beside it
  });

  it('name the file that has gone, and what is no file', async () => {
    await expect(fileDigests(root, ['gone.png'])).rejects.toThrow(DataError);
    await expect(fileDigests(root, ['gone.png'])).rejects.toThrow(/gone\.png has gone/);
    await expect(fileDigests(root, ['sub'])).rejects.toThrow(/sub cannot be read: E/);
    put('shut.png', 'x');
    chmodSync(join(root, 'shut.png'), 0);
    if (process.getuid?.() !== 0)
      await expect(fileDigests(root, ['shut.png'])).rejects.toThrow(/cannot be read: EACCES/);
  });

  it('stop when they are asked to, and say how far they came', async () => {
    const names = Array.from({ length: 400 }, (_, i) => `${i}.png`);
    for (const name of names) put(name, 'x'.repeat(200_000));
    const stop = new AbortController();
    const heard: number[] = [];
    const onProgress = (done: number): void => {
      heard.push(done);
      stop.abort('SIGINT');
    };
    const work = fileDigests(root, names, { onProgress, signal: stop.signal });
    await expect(work).rejects.toThrow(InterruptedError);
    expect(heard[0]).toBeLessThan(400);
  });

  it('of a large file are those of all of it', async () => {
    const text = 'line of text\n'.repeat(300_000); // above one piece of reading
    put('large', text);
    expect(await fileDigests(root, ['large', 'large'])).toEqual([sha(text), sha(text)]);
  });
});
