// Zip archives and pickles written by hand, for files that no honest program would make.
import { deflateRawSync } from 'node:zlib';

/** CRC-32 of zip, bit by bit. */
export function crc32(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const b of bytes) {
    c ^= b;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  }
  return ~c >>> 0;
}

export interface Member {
  name: string;
  bytes: Uint8Array;
  deflate?: boolean;
  /** What the directory says instead of the truth. */
  claims?: { size?: number; packed?: number; crc?: number; method?: number; flags?: number };
}

/** A zip archive of members, without zip64. */
export function zip(members: Member[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, bytes, deflate, claims = {} } of members) {
    const packed = deflate ? deflateRawSync(bytes) : Buffer.from(bytes);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(claims.flags ?? 0, 2);
    fields.writeUInt16LE(claims.method ?? (deflate ? 8 : 0), 4);
    fields.writeUInt32LE(claims.crc ?? crc32(bytes), 10);
    fields.writeUInt32LE(claims.packed ?? packed.length, 14);
    fields.writeUInt32LE(claims.size ?? bytes.length, 18);
    fields.writeUInt16LE(name.length, 22);
    const local = Buffer.concat([u32(0x04034b50), fields, Buffer.from(name), packed]);
    const more = Buffer.alloc(14);
    more.writeUInt32LE(offset, 10);
    directory.push(Buffer.concat([u32(0x02014b50), u16(20), fields, more, Buffer.from(name)]));
    parts.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.concat([
    u32(0x06054b50),
    u32(0),
    u16(members.length),
    u16(members.length),
    u32(central.length),
    u32(offset),
    u16(0),
  ]);
  return Buffer.concat([...parts, central, end]);
}

const u16 = (v: number): Buffer => Buffer.from([v & 255, v >> 8]);
const u32 = (v: number): Buffer => {
  const b = Buffer.alloc(4);
  b.writeUInt32LE(v);
  return b;
};

/** Opcodes as text or bytes, one after another, as one pickle of protocol 2. */
export function pickle(...ops: (string | number[] | Buffer)[]): Buffer {
  return Buffer.concat([
    Buffer.from([0x80, 2]),
    ...ops.map((op) => (typeof op === 'string' ? Buffer.from(op, 'latin1') : Buffer.from(op as Buffer))),
    Buffer.from('.'),
  ]);
}

export const op = {
  text: (s: string): Buffer => Buffer.concat([Buffer.from('X'), u32(Buffer.byteLength(s)), Buffer.from(s)]),
  global: (module: string, name: string): string => `c${module}\n${name}\n`,
  /** Any whole number below 2^31. */
  int: (n: number): Buffer => {
    const b = Buffer.alloc(5);
    b[0] = 0x4a;
    b.writeInt32LE(n, 1);
    return b;
  },
  tuple: (...items: (string | Buffer)[]): Buffer =>
    Buffer.concat([
      Buffer.from('('),
      ...items.map((i) => Buffer.from(i as string, 'latin1')),
      Buffer.from('t'),
    ]),
};

/** The persistent id of a storage, resolved. */
export const storage = (type: string, key: string, length: number): Buffer =>
  Buffer.concat([
    op.tuple(op.text('storage'), op.global('torch', type), op.text(key), op.text('cpu'), op.int(length)),
    Buffer.from('Q'),
  ]);

/** A call of _rebuild_tensor_v2 on a storage. */
export const tensor = (of: Buffer, offset: number, size: number[], stride: number[]): Buffer =>
  Buffer.concat([
    Buffer.from(op.global('torch._utils', '_rebuild_tensor_v2')),
    op.tuple(
      of,
      op.int(offset),
      op.tuple(...size.map(op.int)),
      op.tuple(...stride.map(op.int)),
      Buffer.from([0x89]),
      Buffer.concat([Buffer.from(`${op.global('collections', 'OrderedDict')})R`)]),
    ),
    Buffer.from('R'),
  ]);

/** A checkpoint archive around a pickle and storages. */
export function checkpoint(data: Buffer, storages: Record<string, Uint8Array> = {}): Buffer {
  return zip([
    { name: 'x/data.pkl', bytes: data },
    { name: 'x/byteorder', bytes: Buffer.from('little') },
    ...Object.entries(storages).map(([key, bytes]) => ({ name: `x/data/${key}`, bytes })),
  ]);
}
