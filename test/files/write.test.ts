// Writing whole or not at all, digests of JSON files, and names that may be shown.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { DataError } from '../../src/errors.js';
import { readSealed, sealedText, unseal, writeSealed } from '../../src/files/seal.js';
import { shown } from '../../src/files/text.js';
import { appendLine, partialName, partialOf, writeNew, writeWhole } from '../../src/files/write.js';

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
    expect(await readSealed(file)).toEqual({ value: rest, seal: 'intact' });
    const packed = JSON.stringify(JSON.parse(readFileSync(file, 'utf8')));
    expect(unseal(file, packed).seal).toBe('intact');
  });

  it.each([
    ['a number', (text: string) => text.replace('2.5', '2.6')],
    ['a key', (text: string) => text.replace('"deep"', '"deeq"')],
    ['the digest', (text: string) => text.replace(/"sha256": "./, '"sha256": "g')],
    ['a key more', (text: string) => text.replace('{', '{"more": 1,')],
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
