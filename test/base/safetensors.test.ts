// Safetensors: a reference file read as it is, bytes that depend on content only, and every way in which a file can be wrong.
import { mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonicalJson, hashOf, sha256 } from '../../src/base/hash.js';
import {
  encodeSafetensors,
  readSafetensors,
  SafetensorsReader,
  type StoredTensor,
  writeSafetensors,
} from '../../src/base/safetensors.js';
import { DataError } from '../../src/errors.js';

const golden = process.env.CAPI_REFERENCE_DIR ?? 'test/golden/capi-reference';
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'capi-safetensors-'));
});
afterAll(() => rm(folder, { recursive: true }));

const f32 = (values: number[], shape = [values.length]): StoredTensor => ({
  dtype: 'F32',
  shape,
  data: Float32Array.from(values),
});

/** Writes the bytes of a file with the given header text and data. */
async function craft(header: string, data = 0, prefix?: bigint): Promise<string> {
  const path = join(folder, 'crafted.safetensors');
  const json = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(prefix ?? BigInt(json.length));
  await writeFile(path, Buffer.concat([length, json, Buffer.alloc(data)]));
  return path;
}

async function message(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(DataError);
  return (error as DataError).message;
}

describe('reading', () => {
  it('a file of another implementation gives the values that a plain parse gives', async () => {
    const path = join(golden, 'batch.safetensors');
    const bytes = await readFile(path);
    const headerLength = Number(bytes.readBigUInt64LE());
    const header = JSON.parse(bytes.subarray(8, 8 + headerLength).toString());
    const { tensors } = await readSafetensors(path);
    expect([...tensors.keys()].sort()).toEqual(
      Object.keys(header)
        .filter((name) => name !== '__metadata__')
        .sort(),
    );
    for (const [name, tensor] of tensors) {
      const [begin, end] = header[name].data_offsets;
      const raw = bytes.subarray(8 + headerLength + begin, 8 + headerLength + end);
      expect(tensor.shape).toEqual(header[name].shape);
      expect(Buffer.from(tensor.data.buffer).equals(raw)).toBe(true);
    }
    const some = await readSafetensors(path, { names: ['images'] });
    expect([...some.tensors.keys()]).toEqual(['images']);
    expect(some.tensors.get('images')!.data).toEqual(tensors.get('images')!.data);
  });

  it('names what is missing', async () => {
    expect(await message(readSafetensors(join(folder, 'none')))).toMatch(/cannot read .*none: no such file/);
    expect(await message(readSafetensors(folder))).toMatch(/it is not a file/);
    const path = join(folder, 'one.safetensors');
    await writeFile(path, encodeSafetensors(new Map([['a', f32([1])]])));
    expect(await message(readSafetensors(path, { names: ['b'] }))).toMatch(
      /holds no tensor b; it has 1 tensors: a$/,
    );
  });

  const entry = (dtype: string, shape: unknown, offsets: unknown) =>
    JSON.stringify({ dtype, shape, data_offsets: offsets });
  it.each([
    ['text', 'hello', 0, undefined, /header is not JSON/],
    ['list', '[]', 0, undefined, /header is not a JSON object/],
    ['header too long', '{}', 0, 100_000_001n, /would be 100000001 bytes long, the limit is 100000000/],
    ['header beyond the end', '{}', 0, 500n, /truncated or not a safetensors file/],
    ['metadata not text', '{"__metadata__":{"a":1}}', 0, undefined, /__metadata__.a is not a string/],
    ['unknown type', `{"x":${entry('F31', [1], [0, 4])}}`, 4, undefined, /tensor x has element type "F31"/],
    ['negative shape', `{"x":${entry('U8', [-1], [0, 1])}}`, 1, undefined, /tensor x has shape \[-1\]/],
    ['odd offsets', `{"x":${entry('U8', [1], [0])}}`, 1, undefined, /tensor x has data_offsets \[0\]/],
    ['wrong size', `{"x":${entry('F32', [2], [0, 4])}}`, 4, undefined, /needs 8 bytes, its offsets/],
    ['truncated', `{"x":${entry('U8', [9], [0, 9])}}`, 5, undefined, /truncated: its tensors need 9 bytes/],
    ['trailing', `{"x":${entry('U8', [1], [0, 1])}}`, 3, undefined, /2 bytes follow its last tensor/],
    ['hole', `{"x":${entry('U8', [1], [1, 2])}}`, 2, undefined, /1 bytes before tensor x belong to none/],
    [
      'overlap',
      `{"x":${entry('U8', [2], [0, 2])},"y":${entry('U8', [2], [1, 3])}}`,
      3,
      undefined,
      /tensor y overlaps/,
    ],
  ] as const)('refuses: %s', async (_, header, data, prefix, expected) => {
    const path = await craft(header, data, prefix);
    const text = await message(readSafetensors(path));
    expect(text).toMatch(expected);
    expect(text).toContain(path);
    expect(text).toMatch(/Copy, download or write it again\.$/);
  });

  it('refuses a file cut at any byte', async () => {
    const path = join(folder, 'cut.safetensors');
    const bytes = encodeSafetensors(new Map([['a', f32([1, 2])]]), { step: '7' });
    for (let length = 0; length < bytes.length; length++) {
      await writeFile(path, bytes.subarray(0, length));
      expect(await message(readSafetensors(path))).toMatch(/truncated|not JSON/);
    }
  });

  it('notices a file that shrinks after it was opened', async () => {
    const path = join(folder, 'shrinks.safetensors');
    await writeFile(path, encodeSafetensors(new Map([['a', f32([1, 2])]])));
    const reader = await SafetensorsReader.open(path);
    const file = await open(path, 'r+');
    await file.truncate(reader.header.length + 2);
    await file.close();
    expect(await message(reader.read('a'))).toMatch(/became shorter/);
    await reader.close();
  });
});

describe('writing', () => {
  const shape = fc.array(fc.nat(3), { maxLength: 3 });
  const size = (shape: number[]) => shape.reduce((a, b) => a * b, 1);
  const tensor = fc.oneof(
    shape.chain((shape) =>
      fc
        .float32Array({ minLength: size(shape), maxLength: size(shape) })
        .map((data): StoredTensor => ({ dtype: 'F32', shape, data })),
    ),
    shape.chain((shape) =>
      fc
        .uint8Array({ minLength: size(shape), maxLength: size(shape) })
        .map((data): StoredTensor => ({ dtype: 'U8', shape, data })),
    ),
    shape.chain((shape) =>
      fc
        .bigInt64Array({ minLength: size(shape), maxLength: size(shape) })
        .map((data): StoredTensor => ({ dtype: 'I64', shape, data })),
    ),
  );
  const name = fc.string({ unit: 'grapheme' }).filter((text) => text !== '__metadata__');
  const content = fc.tuple(
    fc.uniqueArray(fc.tuple(name, tensor), { selector: ([name]) => name }),
    fc.dictionary(fc.string(), fc.string()),
  );

  it('reads back what was written, bit for bit, and does not depend on insertion order', async () => {
    const path = join(folder, 'any.safetensors');
    await fc.assert(
      fc.asyncProperty(content, async ([tensors, metadata]) => {
        const bytes = encodeSafetensors(new Map(tensors), metadata);
        const reversed = Object.fromEntries(Object.entries(metadata).reverse());
        expect(Buffer.from(encodeSafetensors(new Map([...tensors].reverse()), reversed)).equals(bytes)).toBe(
          true,
        );
        expect(Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true)) % 8).toBe(0);
        await writeFile(path, bytes);
        const back = await readSafetensors(path);
        expect(back.metadata).toEqual(metadata);
        expect(back.tensors.size).toBe(tensors.length);
        for (const [name, { dtype, shape, data }] of tensors) {
          const read = back.tensors.get(name)!;
          expect([read.dtype, read.shape]).toEqual([dtype, shape]);
          expect(Buffer.from(read.data.buffer).equals(Buffer.from(data.buffer))).toBe(true);
        }
      }),
      { numRuns: 60, examples: [[[[], { ['__proto__']: 'kept' }]]] },
    );
  });

  it('aligns every tensor to its element, whatever the names', () => {
    const bytes = encodeSafetensors(
      new Map<string, StoredTensor>([
        ['a', { dtype: 'U8', shape: [3], data: new Uint8Array(3) }],
        ['b', f32([1])],
        ['c', { dtype: 'F64', shape: [], data: new Float64Array(1) }],
      ]),
    );
    const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
    const header = JSON.parse(Buffer.from(bytes.subarray(8, 8 + length)).toString());
    expect([header.c, header.b, header.a].map((item) => item.data_offsets[0])).toEqual([0, 8, 12]);
  });

  it('writes views of larger buffers and leaves no temporary file', async () => {
    const data = Float32Array.from([0, 1, 2, 3, 4]).subarray(1, 4);
    const path = join(folder, 'view.safetensors');
    const tensors = new Map<string, StoredTensor>([['x', { dtype: 'F32', shape: [3], data }]]);
    const bytes = encodeSafetensors(tensors, { step: '7' });
    expect(await writeSafetensors(path, tensors, { step: '7' })).toBe(bytes.length);
    expect((await readFile(path)).equals(bytes)).toBe(true);
    expect([...(await readSafetensors(path)).tensors.get('x')!.data]).toEqual([1, 2, 3]);
    expect((await readdir(folder)).filter((file) => file.endsWith('.partial'))).toEqual([]);
  });

  it('refuses data that do not fit, and folders that are not there', async () => {
    const encode = (tensor: StoredTensor) => () => encodeSafetensors(new Map([['x', tensor]]));
    expect(encode(f32([1, 2], [3]))).toThrow(/x has 2 elements, its shape \[3\] needs 3/);
    expect(encode({ dtype: 'I32', shape: [1], data: new Float32Array(1) })).toThrow(/needs a Int32Array/);
    expect(() => encodeSafetensors(new Map([['__metadata__', f32([1])]]))).toThrow(TypeError);
    const path = join(folder, 'no', 'such', 'x.safetensors');
    expect(await message(writeSafetensors(path, new Map()))).toMatch(/cannot write .*no\/such/);
    await expect(stat(join(folder, 'no'))).rejects.toThrow();
  });
});

describe('hash', () => {
  it('sha256 agrees with the published vector and joins its parts', () => {
    const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'; // FIPS 180-4, "abc"
    expect(sha256('abc')).toBe(abc);
    expect(sha256('a', Buffer.from('b'), 'c')).toBe(abc);
  });

  it('canonical JSON parses back, ignores the order of keys and refuses what JSON would bend', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const clean = JSON.parse(JSON.stringify(value)); // -0 becomes 0
        expect(JSON.parse(canonicalJson(clean))).toEqual(clean);
      }),
    );
    expect(canonicalJson({ b: [1, { d: 0, c: null }], a: 'x', e: undefined })).toBe(
      '{"a":"x","b":[1,{"c":null,"d":0}]}',
    );
    expect(hashOf({ a: 1, b: 2 })).toBe(hashOf({ b: 2, a: 1 }));
    expect(() => canonicalJson({ lr: [1, Number.NaN] })).toThrow('$.lr[1] is NaN');
    expect(() => canonicalJson({ at: new Date() })).toThrow('$.at is of a kind that JSON cannot hold');
  });
});
