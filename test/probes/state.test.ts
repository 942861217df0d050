// Unfinished heads: what is saved comes back exactly, and what is damaged, of another evaluation or older is refused.
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { checkState, folderState } from '../../src/probes/state.js';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'capi-state-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const piece = {
  values: { step: 3, model: { C: 0.1, parameters: [1 / 3, Number.MIN_VALUE, -0.1 - 0.2] } },
  tensors: { weight: Float32Array.of(1, Number.NaN, 2 ** -149), losses: new Float32Array() },
};

it('gives values and tensors back exactly, with tensors or without', async () => {
  const state = folderState(join(root, 'aaaa'));
  expect(await state.load('linear/training')).toBeUndefined();
  await state.save('linear/training', piece);
  await state.save('knn', { values: { cosine: [] }, tensors: {} });
  expect(await state.load('linear/training')).toEqual(piece);
  expect(await state.load('knn')).toEqual({ values: { cosine: [] }, tensors: {} });
  await state.remove();
  expect(await state.load('knn')).toBeUndefined();
});

it('refuses a damaged piece, one of another evaluation, and one of an older version', async () => {
  const state = folderState(join(root, 'aaaa'));
  await state.save('probes', piece);
  const file = join(root, 'aaaa', 'state', 'probes.safetensors');
  await expect(checkState(file)).resolves.toBe('intact');

  await cp(join(root, 'aaaa'), join(root, 'bbbb'), { recursive: true });
  await expect(folderState(join(root, 'bbbb')).load('probes')).rejects.toThrow(/of another evaluation/);

  const bytes = await readFile(file);
  bytes[bytes.length - 3]! ^= 1;
  await writeFile(file, bytes);
  await expect(state.load('probes')).rejects.toThrow(
    /was changed after it was written.*trains these heads anew/,
  );

  await mkdir(join(root, 'cccc', 'state'), { recursive: true });
  const older = join(root, 'cccc', 'state', 'knn');
  await writeFile(older, '{"cosine":[]}');
  await expect(checkState(older)).rejects.toThrow(/older version.*trains these heads anew/);
});
