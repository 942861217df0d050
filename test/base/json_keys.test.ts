// Names that stand twice in a JSON object: found at any depth, however they are written, and nowhere else.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, it } from 'vitest';
import { repeatedKey } from '../../src/base/json_keys.js';
import { SafetensorsReader } from '../../src/base/safetensors.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-keys-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('are found', () => {
  expect(repeatedKey('{"a":1,"b":{"a":2},"a":3}')).toBe('a');
  expect(repeatedKey('{"x":{"dtype":"F32","dtype":"F16"}}')).toBe('dtype');
  expect(repeatedKey('{"a":1,"\\u0061":2}')).toBe('a');
  expect(repeatedKey('[{"q":1},{"q":1 , "q"  :2}]')).toBe('q');
  expect(repeatedKey('{"a\\"b":1,"a\\"b":2}')).toBe('a"b');
});

it('are none in what JSON.stringify writes', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.nat(2), (value, space) => {
      expect(repeatedKey(JSON.stringify(value, null, space))).toBe(undefined);
    }),
    { numRuns: 300, seed: 1 },
  );
});

it.each([
  [
    'a tensor',
    '{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    /names w twice/,
  ],
  [
    'an offset',
    '{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,9],"data_offsets":[0,1]}}',
    /names data_offsets twice/,
  ],
  [
    'metadata',
    '{"__metadata__":{"format":"a","format":"b"},"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    /names format twice/,
  ],
])('of %s make a safetensors file that is refused', async (_, header, message) => {
  const bytes = Buffer.concat([Buffer.alloc(8), Buffer.from(header), Buffer.of(7)]);
  bytes.writeBigUInt64LE(BigInt(header.length));
  const file = join(folder, 'twice.safetensors');
  writeFileSync(file, bytes);
  await expect(SafetensorsReader.open(file)).rejects.toThrow(message);
});
