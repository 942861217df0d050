// PyTorch checkpoints: what honest ones hold, and that hostile, damaged and truncated ones end in one line.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { PickleDict } from '../../src/base/pickle/pickle.js';
import { readSafetensors, type StoredTensor } from '../../src/base/safetensors.js';
import { float32Values } from '../../src/checkpoint/floats.js';
import { PthReader, TorchTensor } from '../../src/checkpoint/pth.js';
import { DataError } from '../../src/errors.js';
import { referenceDir } from '../support/golden.js';
import { checkpoint, op, pickle, storage, tensor, zip } from './handmade.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-pth-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'x.pth');
const official = join(referenceDir, 'student_ema.pth');

/** Every tensor of the dict that a file holds. */
async function contents(path: string): Promise<Map<string | number, StoredTensor>> {
  const reader = await PthReader.open(path);
  try {
    const out = new Map<string | number, StoredTensor>();
    for (const [name, value] of reader.root as PickleDict) {
      if (value instanceof TorchTensor) out.set(name, await reader.read(value));
    }
    return out;
  } finally {
    await reader.close();
  }
}

const read = (bytes: Uint8Array): Promise<Map<string | number, StoredTensor>> => {
  writeFileSync(file, bytes);
  return contents(file);
};

async function refusal(bytes: Uint8Array): Promise<string> {
  const error = await read(bytes).then(
    () => new Error('it was read'),
    (e: Error) => e,
  );
  expect(error.message).not.toContain('\n');
  expect(error.message).toContain(file);
  expect(error).toBeInstanceOf(DataError);
  return error.message;
}

const floats = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);
/** A dict with one tensor `w`. */
const one = (t: Buffer): Buffer => pickle('}', op.text('w'), t, 's');

describe('an official checkpoint', () => {
  it('has the tensors of the safetensors file with the same content, bit for bit', async () => {
    const { tensors } = await readSafetensors(join(referenceDir, 'weights.safetensors'));
    const got = await contents(official);
    expect(got.size).toBe([...tensors.keys()].filter((n) => n.startsWith('student_ema.')).length);
    for (const [name, t] of got) expect(t, `${name}`).toEqual(tensors.get(`student_ema.${name}`));
  });
});

describe('tensors', () => {
  const six = { 0: floats(0, 1, 2, 3, 4, 5) };
  it.each([
    ['contiguous', 0, [2, 3], [3, 1], [0, 1, 2, 3, 4, 5]],
    ['transposed', 0, [3, 2], [1, 3], [0, 3, 1, 4, 2, 5]],
    ['a part of a storage', 1, [2], [1], [1, 2]],
    ['every second', 1, [3], [2], [1, 3, 5]],
    ['expanded', 4, [2, 3], [0, 0], [4, 4, 4, 4, 4, 4]],
    ['a scalar', 5, [], [], [5]],
    ['empty', 6, [0, 3], [3, 1], []],
  ])('%s', async (_, offset, size, stride, values) => {
    const t = (
      await read(checkpoint(one(tensor(storage('FloatStorage', '0', 6), offset, size, stride)), six))
    ).get('w')!;
    expect([t.dtype, t.shape, [...(t.data as Float32Array)]]).toEqual(['F32', size, values]);
  });

  it('share a storage', async () => {
    const s = storage('FloatStorage', '0', 6);
    const data = pickle(
      '}(',
      op.text('a'),
      tensor(s, 0, [3], [1]),
      op.text('b'),
      tensor(s, 3, [3], [1]),
      'u',
    );
    const got = await read(checkpoint(data, six));
    expect([...got].map(([n, t]) => [n, ...(t.data as Float32Array)])).toEqual([
      ['a', 0, 1, 2],
      ['b', 3, 4, 5],
    ]);
  });

  // 1, -2.5 and the smallest subnormal, infinity; bits from IEEE 754 and bfloat16 as the upper half of float32.
  it.each([
    ['HalfStorage', 'F16', Uint16Array.of(0x3c00, 0xc100, 0x0001, 0x7c00), [1, -2.5, 2 ** -24, Infinity]],
    [
      'BFloat16Storage',
      'BF16',
      Uint16Array.of(0x3f80, 0xc020, 0x0001, 0x7f80),
      [1, -2.5, 2 ** -133, Infinity],
    ],
    ['DoubleStorage', 'F64', Float64Array.of(1, -2.5, 0.1, 0), [1, -2.5, Math.fround(0.1), 0]],
  ])('of %s become float32', async (type, dtype, array, values) => {
    const bytes = new Uint8Array(array.buffer);
    const t = (await read(checkpoint(one(tensor(storage(type, '0', 4), 0, [4], [1])), { 0: bytes }))).get(
      'w',
    )!;
    expect([t.dtype, [...float32Values(t)!]]).toEqual([dtype, values]);
  });

  it('of whole numbers keep their type, and are no floats', async () => {
    const bytes = new Uint8Array(BigInt64Array.of(1n, -(2n ** 40n)).buffer);
    const t = (
      await read(checkpoint(one(tensor(storage('LongStorage', 'k', 2), 0, [2], [1])), { k: bytes }))
    ).get('w')!;
    expect([t.dtype, t.data, float32Values(t)]).toEqual([
      'I64',
      BigInt64Array.of(1n, -(2n ** 40n)),
      undefined,
    ]);
  });

  it('come out of deflated members', async () => {
    const data = one(tensor(storage('FloatStorage', '0', 6), 0, [6], [1]));
    const bytes = zip([
      { name: 'x/data.pkl', bytes: data, deflate: true },
      { name: 'x/data/0', bytes: six[0], deflate: true },
    ]);
    expect([...((await read(bytes)).get('w')!.data as Float32Array)]).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('stand in an ordered dict with metadata, in parameters, beside numbers and lists', async () => {
    const s = tensor(storage('FloatStorage', '0', 6), 0, [6], [1]);
    const ordered = op.global('collections', 'OrderedDict');
    const parameter = Buffer.concat([
      Buffer.from(op.global('torch._utils', '_rebuild_parameter')),
      op.tuple(s, Buffer.from([0x88]), Buffer.from(`${ordered})R`)),
      Buffer.from('R'),
    ]);
    const data = pickle(
      `${ordered})R(`,
      op.text('w'),
      parameter,
      op.text('step'),
      op.int(7),
      op.text('lr'),
      [0x47, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0],
      op.text('betas'),
      '](K\x01K\x02e',
      'u}',
      op.text('_metadata'),
      `${ordered})R`,
      'sb',
    );
    const got = await read(checkpoint(data, six));
    expect([...(got.get('w')!.data as Float32Array)]).toEqual([0, 1, 2, 3, 4, 5]);
    const reader = await PthReader.open(file);
    const root = reader.root as PickleDict;
    await reader.close();
    expect([root.get('step'), root.get('lr'), root.get('betas')]).toEqual([7, 0.5, [1, 2]]);
    expect(root.has('_metadata')).toBe(false);
  });
});

describe('a hostile pickle', () => {
  const command = op.text('touch /tmp/owned');
  const call = (module: string, name: string, ...args: Buffer[]): Buffer =>
    Buffer.concat([Buffer.from(op.global(module, name)), op.tuple(...args), Buffer.from('R')]);
  const setState = Buffer.concat([Buffer.from('}'), op.text('__setstate__'), command, Buffer.from('s')]);
  it.each<[string, Buffer, string]>([
    ['os.system by GLOBAL', pickle(call('os', 'system', command)), 'os.system'],
    ['posix.system, what os.system really is', pickle(call('posix', 'system', command)), 'posix.system'],
    ['builtins.eval by REDUCE', pickle(call('builtins', 'eval', op.text('1'))), 'builtins.eval'],
    ['__builtin__.getattr of Python 2', pickle(call('__builtin__', 'getattr')), '__builtin__.getattr'],
    [
      'by STACK_GLOBAL',
      pickle(op.text('subprocess'), op.text('Popen'), [0x93], op.tuple(command), 'R'),
      'subprocess.Popen',
    ],
    [
      'a dotted name by STACK_GLOBAL',
      pickle(op.text('torch'), op.text('os.system'), [0x93]),
      'torch.os.system',
    ],
    ['STACK_GLOBAL on numbers', pickle('K\x01K\x02', [0x93]), 'a name that is no text'],
    ['INST', pickle('(', command, 'ios\nsystem\n'), 'an instance of os.system (INST)'],
    [
      'OBJ',
      pickle('(', op.global('torch', 'FloatStorage'), command, 'o'),
      'an instance of torch.FloatStorage (OBJ)',
    ],
    ['NEWOBJ', pickle(op.global('torch', 'Size'), ')', [0x81]), 'an instance of torch.Size (NEWOBJ)'],
    ['NEWOBJ_EX', pickle(op.global('torch', 'Size'), ')}', [0x92]), 'an instance of torch.Size (NEWOBJ)'],
    ['EXT1', pickle([0x82, 7]), 'extension 7 of the copyreg registry'],
    ['EXT2', pickle([0x83, 1, 1]), 'extension 257 of the copyreg registry'],
    ['EXT4', pickle([0x84, 1, 0, 0, 1]), 'extension 16777217 of the copyreg registry'],
    ['BUILD on a dict', pickle('}', setState, 'b'), 'setting the state of a dict (BUILD)'],
    [
      'BUILD of an ordered dict with other state',
      pickle(`${op.global('collections', 'OrderedDict')})R`, setState, 'b'),
      'setting the state of a dict (BUILD)',
    ],
    [
      'BUILD on a name',
      pickle(op.global('collections', 'OrderedDict'), setState, 'b'),
      'setting the state of collections.OrderedDict (BUILD)',
    ],
    ['torch.load inside', pickle(call('torch', 'load', op.text('y.pth'))), 'torch.load'],
    [
      'torch._utils._rebuild_wrapper_subclass',
      pickle(op.global('torch._utils', '_rebuild_wrapper_subclass')),
      'torch._utils._rebuild_wrapper_subclass',
    ],
    [
      'torch.jit',
      pickle(op.global('torch.jit._pickle', 'build_tensorlist')),
      'torch.jit._pickle.build_tensorlist',
    ],
    [
      'numpy',
      pickle(op.global('numpy.core.multiarray', '_reconstruct')),
      'numpy.core.multiarray._reconstruct',
    ],
    [
      'a call of a storage type',
      pickle(call('torch', 'FloatStorage', op.int(9))),
      'a call of torch.FloatStorage',
    ],
    ['a call of a number', pickle('K\x01)R'), 'a call of something that is no name'],
    ['a name of JavaScript', pickle(op.global('constructor', 'prototype')), 'constructor.prototype'],
    ['a name with control characters', pickle(op.global('o\x1b[2Js', 'x\r')), 'o?[2Js.x?'],
    ['a persistent id as text', pickle('Pstorage\n'), 'the persistent id storage as text'],
    ['an out-of-band buffer', pickle([0x97]), 'opcode 0x97'],
    ['a set', pickle([0x8f]), 'opcode 0x8f'],
    ['a text opcode of protocol 0', pickle("S'a'\n"), 'opcode 0x53'],
    ['a dict as key', pickle('}}K\x01s'), 'a dict key that is a dict'],
    ['appending to a tuple', pickle(')K\x01a'), 'appending to a tuple'],
    ['items of a list', pickle(']K\x01K\x02s'), 'setting items of a list'],
    ['an integer of a gigabyte', pickle([0x8b, 0, 0, 0, 0x40]), 'an integer of 1073741824 bytes'],
  ])('%s is refused by name', async (_, data, what) => {
    const message = await refusal(checkpoint(data));
    expect(message).toContain(`is refused: its pickle asks for ${what}`);
    expect(message).toContain('nothing is imported or run');
  });

  const id = (...items: (string | Buffer)[]): Buffer => pickle(op.tuple(...items), 'Q');
  const type = op.global('torch', 'FloatStorage');
  const [word, cpu, key] = [op.text('storage'), op.text('cpu'), op.text('0')];
  it.each<[string, Buffer, RegExp]>([
    ['of another kind', id(op.text('module'), type, key, cpu, op.int(1)), /a persistent id is no storage/],
    ['that is no tuple', pickle(word, 'Q'), /a persistent id is no storage/],
    [
      'of a type that is a builder',
      id(word, op.global('torch', 'Size'), key, cpu, op.int(1)),
      /a type that is none/,
    ],
    [
      'of a type that is text',
      id(word, op.text('torch.FloatStorage'), key, cpu, op.int(1)),
      /a type that is none/,
    ],
    [
      'that climbs out of its folder',
      id(word, type, op.text('../data.pkl'), cpu, op.int(1)),
      /no plain name/,
    ],
    ['that is missing', id(word, type, op.text('9'), cpu, op.int(1)), /storage 9 is missing/],
    ['of negative length', id(word, type, key, cpu, op.int(-1)), /a number of elements that is none/],
    [
      'that claims more than the file has',
      id(word, type, key, cpu, op.int(2 ** 30)),
      /storage 0 should hold 4294967296 bytes \(1073741824 of F32\), it holds 8/,
    ],
  ])('a storage %s is refused', async (_, data, message) => {
    expect(await refusal(checkpoint(data, { 0: floats(1, 2) }))).toMatch(message);
  });

  const two = storage('FloatStorage', '0', 2);
  it.each<[string, Buffer, RegExp]>([
    ['beyond its storage', tensor(two, 1, [2], [1]), /leaves its storage of 2 elements/],
    ['by its stride', tensor(two, 0, [2], [2 ** 30]), /leaves its storage/],
    [
      'of more elements than there are numbers',
      tensor(two, 0, [2 ** 30, 2 ** 30], [0, 0]),
      /leaves its storage/,
    ],
    ['of a negative offset', tensor(two, -1, [1], [1]), /no valid offset, size or stride/],
    ['of a negative stride', tensor(two, 1, [2], [-1]), /no valid offset, size or stride/],
    ['of unequal size and stride', tensor(two, 0, [1, 1], [1]), /no valid offset, size or stride/],
    [
      'expanded beyond the file',
      tensor(two, 0, [2 ** 20], [0]),
      /is larger than the file that it is a view of/,
    ],
    ['of no storage', tensor(op.text('0'), 0, [1], [1]), /a tensor has no storage/],
  ])('a tensor %s is refused before it is allocated', async (_, t, message) => {
    expect(await refusal(checkpoint(one(t), { 0: floats(1, 2) }))).toMatch(message);
  });

  it.each<[string, Buffer, RegExp]>([
    ['text longer than the pickle', pickle([0x58, 0xff, 0xff, 0xff, 0x7f]), /ends inside a value/],
    ['bytes of 2^62', pickle([0x8e, 0, 0, 0, 0, 0, 0, 0, 0x40]), /ends inside a value/],
    ['a memo that was never written', pickle('h\x05'), /reads memo 5, which was never written/],
    ['an empty stack', pickle('0'), /ends a group that never began/],
    ['two values at the end', pickle('NN'), /ends half-way/],
    ['an open group at the end', pickle('N('), /ends half-way/],
    ['no name', pickle('cos'), /ends inside a name/],
    ['protocol 0', Buffer.from('N.'), /does not start as a pickle/],
    ['protocol 9', Buffer.from([0x80, 9, 0x4e, 0x2e]), /has protocol 9/],
  ])('%s is damage', async (_, data, message) => {
    expect(await refusal(checkpoint(data))).toMatch(message);
  });

  it('of references nested 200 deep, each twice, takes no time', async () => {
    const levels = Array.from({ length: 200 }, (_, i) =>
      Buffer.from([0x28, 0x68, i, 0x68, i, 0x74, 0x71, i + 1]),
    );
    const start = performance.now();
    await refusal(checkpoint(pickle('}q\x00', ...levels)));
    expect(performance.now() - start).toBeLessThan(1000);
  });

  it('of random bytes ends in a DataError or a value, never otherwise', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), async (bytes) => {
        writeFileSync(file, checkpoint(pickle(Buffer.from(bytes)), { 0: floats(1) }));
        const error = await PthReader.open(file).then(
          async (reader) => reader.close(),
          (e: Error) => e,
        );
        if (error) expect(error).toBeInstanceOf(DataError);
      }),
      { numRuns: 500, seed: 1 },
    );
  });
});

describe('an archive', () => {
  const data = one(tensor(storage('FloatStorage', '0', 2), 0, [2], [1]));
  const members = (claims: object) => [
    { name: 'x/data.pkl', bytes: data },
    { name: 'x/data/0', bytes: floats(1, 2), claims },
  ];
  it.each<[string, object, RegExp]>([
    ['claims more than it packs', { size: 2 ** 31 }, /claims 2147483648 bytes, packed in 8/],
    ['claims a bomb', { size: 2 ** 31, method: 8 }, /claims 2147483648 bytes, packed in 8/],
    ['reaches beyond the file', { size: 2 ** 20, packed: 2 ** 20 }, /is cut off/],
    ['has another checksum', { crc: 1 }, /member x\/data\/0 does not match its checksum/],
    ['is encrypted', { flags: 1 }, /is encrypted/],
    ['is packed otherwise', { method: 12 }, /is packed by method 12; read are stored and deflated/],
    ['is no deflated data', { method: 8 }, /cannot be inflated/],
  ])('with a member that %s is refused', async (_, claims, message) => {
    expect(await refusal(zip(members(claims)))).toMatch(message);
  });

  it('with two members of one name, without a pickle, of big numbers first, or none at all is refused', async () => {
    expect(await refusal(zip([...members({}), { name: 'x/data.pkl', bytes: data }]))).toMatch(
      /has two members/,
    );
    expect(await refusal(zip([{ name: 'a.txt', bytes: data }]))).toMatch(
      /no PyTorch checkpoint: it has no FOLDER\/data\.pkl/,
    );
    const big = { name: 'x/byteorder', bytes: Buffer.from('big') };
    expect(await refusal(zip([...members({}), big]))).toMatch(/byte order "big"/);
    expect(await refusal(pickle('N'))).toMatch(
      /is truncated or no zip archive, as torch\.save writes since PyTorch 1\.6/,
    );
    expect(await refusal(Buffer.alloc(0))).toMatch(/is truncated or no zip archive/);
    await expect(contents(join(folder, 'absent.pth'))).rejects.toThrow(
      /cannot read .*absent\.pth: no such file/,
    );
    await expect(contents(folder)).rejects.toThrow(DataError);
  });

  it('that is cut anywhere, or has a flipped bit in a tensor, is found out', async () => {
    const whole = readFileSync(official);
    for (const share of [0, 0.001, 0.3, 0.9, 0.999]) {
      await refusal(whole.subarray(0, Math.floor(share * whole.length)));
    }
    await refusal(whole.subarray(0, whole.length - 1));
    const flipped = Buffer.from(whole);
    flipped[Math.floor(whole.length / 2)]! ^= 4;
    expect(await refusal(flipped)).toMatch(/member student_ema\/data\/\d+ does not match its checksum/);
  });
});
