// Whether a folder can be written is known before the work, and asking leaves nothing behind.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { checkWritable } from '../../../src/base/files/writable.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-writable-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('a folder that is there, and one that could be made, leave no trace', async () => {
  mkdirSync(join(folder, 'there'));
  await checkWritable(join(folder, 'there'));
  await checkWritable(join(folder, 'not', 'yet', 'there'));
  expect(readdirSync(folder)).toEqual(['there']);
  expect(readdirSync(join(folder, 'there'))).toEqual([]);
});

it('a file in the way, itself or above, and a link to nothing are named', async () => {
  writeFileSync(join(folder, 'file'), '');
  symlinkSync(join(folder, 'nowhere'), join(folder, 'link'));
  await expect(checkWritable(join(folder, 'file'))).rejects.toThrow(/cannot write .*file: it is a file/);
  await expect(checkWritable(join(folder, 'file', 'a', 'b'))).rejects.toThrow(/b: .*file is a file/);
  await expect(checkWritable(join(folder, 'link', 'a'))).rejects.toThrow(/link is a file/);
});

it('a name that is too long, and a place where nobody can make anything', async () => {
  await expect(checkWritable(join(folder, 'x'.repeat(300)))).rejects.toThrow(/cannot write .*ENAMETOOLONG/);
  if (existsSync('/proc/self/fdinfo'))
    await expect(checkWritable('/proc/self/fdinfo/run')).rejects.toThrow(/cannot write \/proc/);
});
