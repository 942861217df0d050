// Writing whole or not at all, digests of JSON files, and names that may be shown.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  readSealed,
  sealedLine,
  sealedText,
  unseal,
  unsealLines,
  writeSealed,
} from '../../../src/base/files/seal.js';
import { appendLine, partialName, partialOf, writeNew, writeWhole } from '../../../src/base/files/write.js';
import { shown } from '../../../src/base/text.js';
import { DataError } from '../../../src/errors.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-write-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('writing', () => {
  it('replaces whole, and leaves nothing else', async () => {
    const file = join(folder, 'a', '..', 'a.txt');
    await writeWhole(join(folder, 'a.txt'), 'one');
    await writeWhole(join(folder, 'a.txt'), 'two');
    expect(readFileSync(join(folder, 'a.txt'), 'utf8')).toBe('two');
    expect(readdirSync(folder)).toEqual(['a.txt']);
    expect(file).toBe(join(folder, 'a.txt'));
  });

  it('writeNew: of twenty at once one has written', async () => {
    const file = join(folder, 'new.txt');
    const done = await Promise.all(Array.from({ length: 20 }, (_, i) => writeNew(file, `${i}`)));
    const winner = done.indexOf(true);
    expect(done.filter(Boolean)).toHaveLength(1);
    expect(readFileSync(file, 'utf8')).toBe(`${winner}`);
    expect(readdirSync(folder).filter((name) => partialOf(name) !== undefined)).toEqual([]);
  });

  it('a folder that is not there is an error that names the file', async () => {
    const file = join(folder, 'no', 'x');
    await expect(writeWhole(file, '')).rejects.toThrow(DataError);
    await expect(writeWhole(file, '')).rejects.toThrow(`cannot write ${file}`);
  });

  it('lines of many writers stand whole one after another', async () => {
    const file = join(folder, 'lines.jsonl');
    const text = 'x'.repeat(3000);
    await Promise.all(Array.from({ length: 20 }, (_, i) => appendLine(file, `${i} ${text}`)));
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    expect(lines.map((line) => line.length >= 3002 && line.endsWith(text))).toEqual(Array(20).fill(true));
  });

  it('knows unfinished files, of this version and of older ones', () => {
    expect(partialOf(partialName('a/step-1.safetensors').split('/').at(-1)!)).toBe('step-1.safetensors');
    expect(partialOf('identity.json.partial')).toBe('identity.json');
    expect(partialOf('identity.json')).toBeUndefined();
  });
});

describe('sealed JSON', () => {
  const value = { b: [1, 2.5, null], a: { text: 'ü\n', deep: { x: true } }, none: undefined };

  it('comes back, and does not mind its layout', async () => {
    const file = join(folder, 'sealed.json');
    await writeSealed(file, value);
    const { none: _, ...rest } = value;
    expect(await readSealed(file)).toEqual({ value: { schema: 2, ...rest }, seal: 'intact' });
    const packed = JSON.stringify(JSON.parse(readFileSync(file, 'utf8')));
    expect(unseal(file, packed).seal).toBe('intact');
  });

  it.each([
    ['a number', (text: string) => text.replace('2.5', '2.6')],
    ['a key', (text: string) => text.replace('"deep"', '"deeq"')],
    ['the digest', (text: string) => text.replace(/"sha256": "./, '"sha256": "g')],
    ['a key more', (text: string) => text.replace('{', '{"more": 1,')],
    ['a key that stands there twice', (text: string) => text.replace('{', '{"schema": 2,')],
    ['a number in another spelling', (text: string) => text.replace('2.5', '2.50')],
    ['a digest that was taken out', (text: string) => text.replace(/,\s*"sha256": "\w+"/, '')],
  ])('%s that was changed is found', (_, change) => {
    const text = sealedText(value);
    expect(() => unseal('f', change(text))).toThrow(/was changed after it was written/);
  });

  it.each(['', '  \n', '{"a": 1', 'null', '[]', '3'])('%j is torn', (text) => {
    let fault: unknown;
    try {
      unseal('f', text);
    } catch (error) {
      fault = (error as DataError).details.fault;
    }
    expect(fault).toBe('torn');
  });

  it('every flipped bit is found, or breaks the JSON', () => {
    const bytes = Buffer.from(sealedText({ ...value, small: 1e-7, escaped: '\u001b' }));
    for (let bit = 0; bit < 8 * (bytes.length - 1); bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      const same = flipped.toString().replace(/\s/g, '') === bytes.toString().replace(/\s/g, '');
      if (!same) expect(() => unseal('f', flipped.toString()), `bit ${bit}`).toThrow(DataError);
    }
  });

  it('lines are checked one by one', () => {
    const lines = [
      sealedLine({ a: 1 }),
      sealedLine({ a: 2 }),
      '{"a":3}',
      '',
      sealedLine({ a: 4 }).slice(0, -9),
    ];
    const [first, second, old, torn] = unsealLines(lines.join('\n').replace('"a":2', '"a":7'));
    expect(first).toEqual({ line: 1, value: { schema: 2, a: 1 }, seal: 'intact' });
    expect(second).toEqual({ line: 2, fault: expect.stringMatching(/line 2 was changed/) });
    expect(old).toEqual({ line: 3, value: { a: 3 }, seal: 'unsealed' });
    expect(torn).toEqual({ line: 5, fault: expect.stringMatching(/line 5 is torn/) });
  });

  it('numbers, objects and files that cannot be are refused in a line', async () => {
    expect(() => unseal('f', '{"a": 1e999, "sha256": "x"}')).toThrow(/was changed/);
    expect(() => unseal('f', `${'{"a":'.repeat(20000)}1${'}'.repeat(20000)}`)).not.toThrow(RangeError);
    expect(() => unseal('f', `{"sha256": "x", "b": ${'['.repeat(20000)}${']'.repeat(20000)}}`)).toThrow(
      DataError,
    );
    await expect(readSealed(folder)).rejects.toThrow(/no plain file/);
  });

  it('one without a digest is of an older version', () => {
    writeFileSync(join(folder, 'old.json'), '{"a": 1}');
    expect(unseal('f', '{"a": 1}')).toEqual({ value: { a: 1 }, seal: 'unsealed' });
  });
});

describe('shown', () => {
  it('escapes what a terminal, a log or a page would obey, and nothing else', () => {
    expect(shown('a\nb\r\t\x1b[31m\x7f\u0085')).toBe('a\\nb\\r\\t\\x1b[31m\\x7f\\x85');
    expect(shown('abc\u202efed\u2066\ufeff\u2028')).toBe('abc\\u202efed\\u2066\\ufeff\\u2028');
    expect(shown('\ud800x\udc00')).toBe('\\ud800x\\udc00');
    expect(shown('Käse – 漢字 🙂 e\u0301')).toBe('Käse – 漢字 🙂 e\u0301');
  });
});
