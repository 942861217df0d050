// Checkpoints made to fill memory or never to end: each is refused in one line, soon.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { PthReader } from '../../src/checkpoint/pth.js';
import { DataError } from '../../src/errors.js';
import { checkpoint, op, pickle, zip } from './handmade.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-bombs-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function refusal(bytes: Uint8Array): Promise<string> {
  const file = join(folder, 'x.pth');
  writeFileSync(file, bytes);
  const error = await PthReader.open(file).then(
    async (reader) => {
      await reader.close();
      return new Error('it was read');
    },
    (e: Error) => e,
  );
  expect(error).toBeInstanceOf(DataError);
  expect(error.message).not.toContain('\n');
  return error.message;
}

describe('a pickle', () => {
  const many = (count: number, ...ops: number[]) => {
    const bytes = Buffer.alloc(count * ops.length);
    for (let i = 0; i < count; i++) for (const [k, o] of ops.entries()) bytes[i * ops.length + k] = o;
    return bytes;
  };
  it.each<[string, Buffer, RegExp]>([
    ['of dicts alone', many(2e6, 0x7d), /more than 1000000 lists, dicts and tuples/],
    ['of tuples in tuples', many(2e6, 0x85), /takes more from the stack|more than 1000000/],
    ['of groups in groups', many(2e6, 0x28), /more than 10000 groups in groups/],
    ['of nothing, 11 million times', many(11e6, 0x4e), /more than 10000000 steps/],
    ['of frozen tuples', Buffer.concat([Buffer.from('N'), many(2e6, 0x85)]), /more than 1000000/],
  ])('%s is refused', async (_, bytes, message) => {
    expect(await refusal(checkpoint(pickle(bytes)))).toMatch(message);
  });

  it('that builds one long dict again and again is refused', async () => {
    const pair = op.tuple(op.int(1), op.int(2));
    const list = [Buffer.from(']('), ...Array.from({ length: 20_000 }, () => pair), Buffer.from('e')];
    // memo 0: the tuple ([pairs],), memo 1: OrderedDict; then 2 000 calls on it.
    const set = Buffer.concat([
      ...list,
      Buffer.from([0x85, 0x71, 0]),
      Buffer.from(op.global('collections', 'OrderedDict')),
      Buffer.from([0x71, 1]),
    ]);
    const call = Buffer.from([0x68, 1, 0x68, 0, 0x52, 0x30]);
    const calls = Buffer.concat(Array.from({ length: 2000 }, () => call));
    expect(await refusal(checkpoint(pickle(set, calls)))).toMatch(/more than 10000000 steps/);
  });

  it('with a long integer is read at once', async () => {
    const long = Buffer.concat([Buffer.from([0x8b, 0, 4, 0, 0]), Buffer.alloc(1024, 0x11)]);
    const begin = performance.now();
    await refusal(
      checkpoint(
        pickle(...Array.from({ length: 2000 }, () => Buffer.concat([long, Buffer.from('0')])), 'N', 'N'),
      ),
    );
    // 2 MB of integers; shifted together byte by byte they took seconds.
    expect(performance.now() - begin).toBeLessThan(3000);
  });
});

describe('an archive', () => {
  it('that packs 64 MB into 64 KB is refused before it is inflated', async () => {
    const bytes = zip([
      { name: 'x/data.pkl', bytes: Buffer.alloc(64 * 2 ** 20), deflate: true, claims: { crc: 1 } },
    ]);
    expect(bytes.length).toBeLessThan(2 ** 20);
    expect(await refusal(bytes)).toMatch(/member x\/data\.pkl would fill 67108864 bytes from \d+/);
  });

  it('whose members say other sizes than its directory is refused', async () => {
    const data = pickle('}');
    const bytes = zip([{ name: 'x/data.pkl', bytes: data }]);
    for (const [at, what] of [
      [18, 'packed size'],
      [22, 'size'],
      [8, 'method'],
      [30, 'name'],
    ] as const) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1;
      expect(await refusal(changed), what).toMatch(/another name, method or size in its own header/);
    }
  });

  it('with a byte order of megabytes is refused', async () => {
    const bytes = zip([
      { name: 'x/data.pkl', bytes: pickle('}') },
      { name: 'x/byteorder', bytes: Buffer.alloc(2 ** 20, 0x6c) },
    ]);
    expect(await refusal(bytes)).toMatch(/its byte order takes 1048576 bytes/);
  });
});
