// Checkpoints: bytes that depend on the state only, every flipped bit found, and nothing half-written whatever happens.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { mkdtemp, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import type { StoredTensor } from '../../src/base/safetensors.js';
import { type CheckpointState, readCheckpoint, writeCheckpoint } from '../../src/checkpoint/file.js';
import {
  checkpointPath,
  latestCheckpoint,
  listCheckpoints,
  prepareCheckpointFolder,
} from '../../src/checkpoint/folder.js';
import { DataError } from '../../src/errors.js';

const base = mkdtempSync(join(tmpdir(), 'capi-checkpoint-'));
afterAll(() => rmSync(base, { recursive: true }));
let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(base, 'run-'));
});

function state(size = 5, seed = 1): CheckpointState {
  const weights = stream(seed, 'weights').fillNormal(new Float32Array(size));
  return {
    tensors: new Map<string, StoredTensor>([
      ['student.weight', { dtype: 'F32', shape: [size], data: weights }],
      ['optim.count', { dtype: 'I32', shape: [], data: Int32Array.of(seed) }],
    ]),
    meta: { seed, data: { epoch: 0, position: 128 }, note: 'a "sha256":"quoted" text' },
  };
}

async function message(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(DataError);
  return (error as DataError).message;
}

describe('a checkpoint', () => {
  it('comes back bit for bit, whole or in part', async () => {
    const { tensors, meta } = state();
    const { path, bytes } = await writeCheckpoint(folder, 1200, { tensors, meta }, 2);
    expect(path).toBe(join(folder, 'step-00001200.safetensors'));
    expect((await readFile(path)).length).toBe(bytes);
    const back = await readCheckpoint(path);
    expect({ ...back, tensors: 0 }).toEqual({ path, step: 1200, meta, tensors: 0 });
    expect(new Map([...back.tensors].sort())).toEqual(new Map([...tensors].sort()));
    const part = await readCheckpoint(path, { only: (name) => name.startsWith('student.') });
    expect([...part.tensors.keys()]).toEqual(['student.weight']);
  });

  it('has bytes that depend on step, tensors and meta only', async () => {
    const { tensors, meta } = state();
    const first = await writeCheckpoint(folder, 3, { tensors, meta }, 1);
    const other = await mkdtemp(join(base, 'run-'));
    const shuffled = {
      tensors: new Map([...tensors].reverse()),
      meta: Object.fromEntries(Object.entries(meta).reverse()),
    };
    const second = await writeCheckpoint(other, 3, shuffled, 1);
    expect((await readFile(first.path)).equals(await readFile(second.path))).toBe(true);
    for (const changed of [
      await writeCheckpoint(other, 4, state(), 9),
      await writeCheckpoint(other, 3, { tensors, meta: { ...meta, seed: 2 } }, 9),
      await writeCheckpoint(other, 5, state(5, 2), 9),
    ]) {
      expect((await readFile(first.path)).equals(await readFile(changed.path))).toBe(false);
    }
  });

  it('shows a flipped bit in any of its bytes', async () => {
    const { path } = await writeCheckpoint(folder, 7, state(), 1);
    const bytes = await readFile(path);
    for (let at = 0; at < bytes.length; at++) {
      bytes[at]! ^= 1 << (at % 8);
      await writeFile(path, bytes);
      const text = await message(readCheckpoint(path));
      expect(text).toContain(path);
      expect(text).toMatch(/damaged|truncated|not a (safetensors file|checkpoint)|has a header/);
      bytes[at]! ^= 1 << (at % 8);
    }
    await writeFile(path, bytes);
    await readCheckpoint(path);
  });

  it('says how to go back when it is damaged or cut short', async () => {
    await writeCheckpoint(folder, 10, state(), 3);
    const { path, bytes } = await writeCheckpoint(folder, 20, state(), 3);
    await truncate(path, bytes - 1);
    expect(await message(readCheckpoint(path))).toMatch(
      /is truncated: .*Delete step-00000020\.safetensors and run the same command again: it goes on from step-00000010\.safetensors \(step 10\)\.$/,
    );
    const first = checkpointPath(folder, 10);
    await truncate(first, 100);
    expect(await message(readCheckpoint(first))).toMatch(/There is no earlier checkpoint beside it/);
    expect(await message(readCheckpoint(checkpointPath(folder, 11)))).toMatch(/no such file/);
  });

  it('refuses a safetensors file that is something else', async () => {
    const golden = process.env.CAPI_REFERENCE_DIR ?? 'test/golden/capi-reference';
    expect(await message(readCheckpoint(join(golden, 'batch.safetensors')))).toMatch(
      /is not a checkpoint of this version of capi: its format is not stated/,
    );
  });
});

describe('a folder', () => {
  it('keeps the newest and reports the latest', async () => {
    expect(await latestCheckpoint(join(folder, 'absent'))).toBeUndefined();
    for (const step of [5, 10, 15, 20]) await writeCheckpoint(folder, step, state(), 2);
    expect((await listCheckpoints(folder)).map((file) => file.step)).toEqual([15, 20]);
    expect(await latestCheckpoint(folder)).toEqual({ step: 20, path: checkpointPath(folder, 20) });
    await writeCheckpoint(folder, 20, state(), 2); // again, as after a signal right at a checkpoint
    expect((await listCheckpoints(folder)).map((file) => file.step)).toEqual([15, 20]);
    await writeCheckpoint(folder, 1, state(), 1); // never deletes what it has just written
    expect((await listCheckpoints(folder)).map((file) => file.step)).toEqual([1]);
  });

  it('orders steps by number, beyond eight digits too', async () => {
    for (const step of [99_999_999, 100_000_000, 5]) await writeCheckpoint(folder, step, state(), 9);
    expect((await latestCheckpoint(folder))!.step).toBe(100_000_000);
  });

  it('does not mistake what a killed process left for a checkpoint, and clears it at the next start', async () => {
    await writeCheckpoint(folder, 5, state(), 2);
    await writeFile(join(folder, 'step-00000010.safetensors.partial'), 'half');
    await writeFile(join(folder, 'notes.partial'), 'mine');
    expect((await latestCheckpoint(folder))!.step).toBe(5);
    await prepareCheckpointFolder(folder);
    expect((await readdir(folder)).sort()).toEqual(['notes.partial', 'step-00000005.safetensors']);
    await prepareCheckpointFolder(join(folder, 'new', 'folder'));
    expect(await readdir(join(folder, 'new'))).toEqual(['folder']);
    expect(await message(prepareCheckpointFolder(join(folder, 'notes.partial')))).toMatch(
      /cannot use .*notes/,
    );
  });
});

describe('a full disk', () => {
  async function expectNothingWritten(target: string, bytes: number): Promise<void> {
    const text = await message(writeCheckpoint(target, 2, state(bytes / 4), 1));
    expect(text).toMatch(
      /^disk full: cannot write .*step-00000002\.safetensors, which needs \d+ bytes\. Free some space/,
    );
    expect(Number(/needs (\d+) bytes/.exec(text)![1])).toBeGreaterThan(bytes);
    expect((await readdir(target)).sort()).toEqual(['step-00000001.safetensors']);
    await readCheckpoint(checkpointPath(target, 1));
  }

  const disk = join(base, 'small-disk');
  const mounted = mountSmallDisk(disk);
  afterAll(() => {
    if (mounted) execFileSync('umount', [disk]);
  });
  it.skipIf(!mounted)('is reported; the old checkpoint stays (file system of 1 MiB)', async () => {
    await writeCheckpoint(disk, 1, state(100_000), 1); // 400 kB
    await expectNothingWritten(disk, 800_000);
  });
});

function mountSmallDisk(at: string): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  mkdirSync(at);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', at], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
