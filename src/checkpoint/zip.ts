// Reads members of a zip archive by name: stored or deflated, sizes checked against the file before anything is allocated.
import { type FileHandle, open } from 'node:fs/promises';
import { inflateRawSync } from 'node:zlib';
import { shown } from '../base/text.js';
import { DataError } from '../errors.js';

/** One member, as the central directory describes it; sizes and offset in bytes. */
export interface ZipMember {
  readonly name: string;
  readonly method: 'stored' | 'deflated';
  readonly compressedSize: number;
  readonly size: number;
  readonly crc: number;
  readonly headerOffset: number;
}

const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const ONES = 0xffffffff; // a size that stands in the zip64 fields
const MOST_MEMBERS = 1_000_000;
const CHUNK = 64 * 2 ** 20; // bytes per system call
/** Deflate cannot expand a byte to more than this many. */
const MOST_EXPANSION = 1032;
/** No weights or pickles pack so well; above this size a member that does is made to fill memory. */
const PLAUSIBLE_EXPANSION = 50;
const HARMLESS = 32 * 2 ** 20; // bytes

/** An open archive. Close it after use. Every fault is a DataError that names the file. */
export class ZipReader {
  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
    readonly byteLength: number,
    readonly members: ReadonlyMap<string, ZipMember>,
  ) {}

  /** Opens an archive and reads its directory. Throws DataError when it is missing, truncated or no zip archive. */
  static async open(path: string): Promise<ZipReader> {
    const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
      throw new DataError(`cannot read ${path}: ${error.code === 'ENOENT' ? 'no such file' : error.message}`);
    });
    try {
      const stat = await file.stat();
      if (!stat.isFile()) throw new DataError(`cannot read ${path}: it is not a file`);
      const at = (offset: number, length: number) => readAt(path, file, stat.size, offset, length);
      const { offset, size, count } = await findDirectory(path, stat.size, at);
      const members = parseDirectory(path, await at(offset, size), count, stat.size);
      return new ZipReader(path, file, stat.size, members);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The bytes of a member in memory of their own, checked against its checksum. Throws DataError. */
  async read(name: string): Promise<Uint8Array> {
    const member = this.members.get(name);
    if (!member) throw damaged(this.path, `it has no member ${name}`);
    const at = (offset: number, length: number) =>
      readAt(this.path, this.file, this.byteLength, offset, length);
    const header = await at(member.headerOffset, 30);
    if (header.readUInt32LE(0) !== LOCAL)
      throw damaged(this.path, `member ${name} is not where it should be`);
    await this.checkLocal(member, header, at);
    const start = member.headerOffset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
    const raw = await at(start, member.compressedSize);
    const bytes = member.method === 'stored' ? raw : inflate(this.path, member, raw);
    if (crc32(bytes) !== member.crc) {
      throw damaged(this.path, `member ${name} does not match its checksum`);
    }
    return bytes;
  }

  /** The header before a member's bytes must say what the directory says, as far as it says anything. */
  private async checkLocal(member: ZipMember, header: Buffer, at: ReadAt): Promise<void> {
    const name = await at(member.headerOffset + 30, header.readUInt16LE(26));
    const [flags, method] = [header.readUInt16LE(6), header.readUInt16LE(8)];
    const later = (flags & 8) !== 0; // sizes follow the bytes
    const fits = (field: number, value: number): boolean => later || field === ONES || field === value;
    if (
      name.toString('utf8') !== member.name ||
      method !== (member.method === 'stored' ? 0 : 8) ||
      !fits(header.readUInt32LE(18), member.compressedSize) ||
      !fits(header.readUInt32LE(22), member.size)
    ) {
      throw damaged(this.path, `member ${member.name} has another name, method or size in its own header`);
    }
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

function inflate(path: string, member: ZipMember, raw: Uint8Array): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(inflateRawSync(raw, { maxOutputLength: Math.max(1, member.size) }));
  } catch {
    throw damaged(path, `member ${member.name} cannot be inflated to its ${member.size} bytes`);
  }
  if (bytes.length !== member.size) {
    throw damaged(
      path,
      `member ${member.name} inflates to ${bytes.length} bytes, its directory says ${member.size}`,
    );
  }
  return bytes;
}

function damaged(path: string, what: string): DataError {
  return new DataError(`${path} is damaged: ${shown(what)}. Copy or download it again.`, { path });
}

async function readAt(
  path: string,
  file: FileHandle,
  fileSize: number,
  offset: number,
  length: number,
): Promise<Buffer> {
  if (offset < 0 || offset + length > fileSize) {
    throw damaged(path, `it is truncated (bytes ${offset} to ${offset + length} of ${fileSize})`);
  }
  const bytes = Buffer.from(new ArrayBuffer(length)); // never of the shared pool: tensors view this memory
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, Math.min(CHUNK, length - done), offset + done);
    if (bytesRead === 0) throw damaged(path, 'it became shorter while it was read');
    done += bytesRead;
  }
  return bytes;
}

type ReadAt = (offset: number, length: number) => Promise<Buffer>;

/** Where the central directory lies; archives beyond 4 GiB or 65,535 members say it in their zip64 records. */
async function findDirectory(
  path: string,
  size: number,
  at: ReadAt,
): Promise<{ offset: number; size: number; count: number }> {
  const tailStart = Math.max(0, size - 65_557);
  const tail = await at(tailStart, size - tailStart);
  let end = tail.length - 22;
  while (end >= 0 && tail.readUInt32LE(end) !== END) end--;
  if (end < 0) {
    throw new DataError(
      `${path} is truncated or no zip archive, as torch.save writes since PyTorch 1.6: copy or download it again, or save it anew with a current PyTorch`,
      { path },
    );
  }
  let directory = {
    count: tail.readUInt16LE(end + 10),
    size: tail.readUInt32LE(end + 12),
    offset: tail.readUInt32LE(end + 16),
  };
  if (end >= 20 && tail.readUInt32LE(end - 20) === LOCATOR_64) {
    const record = await at(Number(tail.readBigUInt64LE(end - 12)), 56);
    if (record.readUInt32LE(0) !== END_64) throw damaged(path, 'its zip64 directory record is missing');
    directory = {
      count: Number(record.readBigUInt64LE(32)),
      size: Number(record.readBigUInt64LE(40)),
      offset: Number(record.readBigUInt64LE(48)),
    };
  }
  if (directory.count > MOST_MEMBERS) throw damaged(path, `it claims ${directory.count} members`);
  return directory;
}

function parseDirectory(path: string, bytes: Buffer, count: number, fileSize: number) {
  const members = new Map<string, ZipMember>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > bytes.length || bytes.readUInt32LE(at) !== CENTRAL) {
      throw damaged(path, `entry ${i} of its directory is missing`);
    }
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((o) => bytes.readUInt16LE(at + o));
    const next = at + 46 + nameLength! + extraLength! + commentLength!;
    if (next > bytes.length) throw damaged(path, `entry ${i} of its directory is cut off`);
    const name = bytes.toString('utf8', at + 46, at + 46 + nameLength!);
    const extra = bytes.subarray(at + 46 + nameLength!, at + 46 + nameLength! + extraLength!);
    const [compressedSize, size, headerOffset] = wideSizes(
      path,
      name,
      [bytes.readUInt32LE(at + 20), bytes.readUInt32LE(at + 24), bytes.readUInt32LE(at + 42)],
      extra,
    );
    const method = bytes.readUInt16LE(at + 10);
    if (bytes.readUInt16LE(at + 8) & 1) throw new DataError(`${path}: member ${shown(name)} is encrypted`);
    if (method !== 0 && method !== 8) {
      throw new DataError(
        `${path}: member ${shown(name)} is packed by method ${method}; read are stored and deflated`,
      );
    }
    if (members.has(name)) throw damaged(path, `it has two members ${name}`);
    if (headerOffset + 30 + compressedSize > fileSize) throw damaged(path, `member ${name} is cut off`);
    const most = method === 0 ? compressedSize : compressedSize * MOST_EXPANSION;
    if (size > most || (method === 0 && size !== compressedSize)) {
      throw damaged(path, `member ${name} claims ${size} bytes, packed in ${compressedSize}`);
    }
    if (size > HARMLESS && size > compressedSize * PLAUSIBLE_EXPANSION) {
      throw damaged(path, `member ${name} would fill ${size} bytes from ${compressedSize}`);
    }
    members.set(name, {
      name,
      method: method === 0 ? 'stored' : 'deflated',
      compressedSize,
      size,
      crc: bytes.readUInt32LE(at + 16),
      headerOffset,
    });
    at = next;
  }
  return members;
}

/** Packed size, size and header offset; those of all ones stand in the zip64 extra field, in this order: size, packed, offset. */
function wideSizes(
  path: string,
  name: string,
  [compressed, size, offset]: [number, number, number],
  extra: Buffer,
): [number, number, number] {
  if (compressed !== ONES && size !== ONES && offset !== ONES) return [compressed, size, offset];
  for (let at = 0; at + 4 <= extra.length; ) {
    const [id, length] = [extra.readUInt16LE(at), extra.readUInt16LE(at + 2)];
    if (id === 1 && at + 4 + length <= extra.length) {
      let field = at + 4;
      const wide = (value: number): number => {
        if (value !== ONES || field + 8 > at + 4 + length) return value;
        field += 8;
        return Number(extra.readBigUInt64LE(field - 8));
      };
      const wideSize = wide(size);
      return [wide(compressed), wideSize, wide(offset)];
    }
    at += 4 + length;
  }
  throw damaged(path, `member ${name} lacks its zip64 sizes`);
}

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  return c;
});

/** CRC-32 of zip. Not node:zlib's, which Node 20 has only from 20.15 on. */
function crc32(bytes: Uint8Array): number {
  let c = -1;
  for (let i = 0; i < bytes.length; i++) c = CRC_TABLE[(c ^ bytes[i]!) & 255]! ^ (c >>> 8);
  return ~c >>> 0;
}
