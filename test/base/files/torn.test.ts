// Files that a kill or a full disk left cut off: told from foreign and damaged ones, set aside, and made again.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, it } from 'vitest';
import { readSealed, sealedText } from '../../../src/base/files/seal.js';
import { isCutOff, readUnlessTorn } from '../../../src/base/files/torn.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-torn-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'x.json');
beforeEach(() => {
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
});

const whole = sealedText({ id: 'a', list: [1, { b: 2 }], text: 'ü' });

it('every beginning of a file of ours is cut off, and nothing else', () => {
  for (let n = 0; n < whole.length - 2; n++) {
    const cut = whole.slice(0, n);
    if (/\}\s*$/.test(cut) || /^\{?\s*$/.test(cut)) continue; // an inner object just ended, or nothing of ours stands there yet
    expect(isCutOff(cut), cut).toBe(true);
  }
  for (const text of ['', '\n', '\0\0\0\0']) expect(isCutOff(text)).toBe(true);
  for (const text of [whole, 'hello', '[1, 2', '<html>', 'null', '{}']) expect(isCutOff(text)).toBe(false);
});

it('a torn file is set aside each time under a name of its own', async () => {
  const said: string[] = [];
  const read = () =>
    readUnlessTorn(
      file,
      () => readSealed(file),
      (line) => said.push(line),
    );
  for (const text of ['', whole.slice(0, 30), '\0\0\0']) {
    writeFileSync(file, text);
    expect(await read()).toBeUndefined();
  }
  expect(readdirSync(folder).sort()).toEqual(['x.json.torn-1', 'x.json.torn-2', 'x.json.torn-3']);
  expect(said[1]).toBe(
    `${file} was torn, as by a kill or a full disk: it is x.json.torn-2 now, and made again`,
  );
  writeFileSync(file, whole);
  expect((await read())?.value).toMatchObject({ id: 'a' });
});

it.each([
  ['foreign', 'my notes'],
  ['changed', whole.replace('"a"', '"b"')],
  ['damaged inside', whole.replace('"list":', '"list";')],
])('a file that is %s stays, and is an error', async (_, text) => {
  writeFileSync(file, text);
  await expect(readUnlessTorn(file, () => readSealed(file))).rejects.toThrow(file);
  expect(readFileSync(file, 'utf8')).toBe(text);
  expect(readdirSync(folder)).toEqual(['x.json']);
});
