// Matrix files: rows of float32 or bytes in checksummed chunks, appended, resumable while they are written, read by ranges.
import { type FileHandle, open, readFile, rm, stat } from 'node:fs/promises';
import { giveName, PARTIAL, writeFailure } from '../base/files/write.js';
import { canonicalJson, sha256 } from '../base/hash.js';
import { DataError } from '../errors.js';
import type { RowSource, RowValues } from './rows.js';

// A file is: magic, rows, footer (JSON), SHA-256 of the footer (32 bytes), length of the footer (4 bytes), magic. While it is written
// it has no footer, is called NAME.partial, and NAME.partial.log holds one SHA-256 a line for each whole chunk.
const MAGIC = Buffer.from('capimat1');
const TAIL = 32 + 4 + MAGIC.length;
const LOG = '.log';
const CHUNK_BYTES = 8 * 2 ** 20;

export type MatrixDtype = 'float32' | 'uint8';

/** What a matrix file holds. */
export interface MatrixKind {
  readonly dtype: MatrixDtype;
  /** Values in a row. */
  readonly width: number;
  /** Whatever identifies the contents, as plain JSON values; a partial file of other contents is not gone on with. */
  readonly meta?: Readonly<Record<string, unknown>>;
  /** Rows in a chunk, which is the unit of checksums and of resuming; about 8 MiB by default. */
  readonly chunkRows?: number;
}

interface Footer {
  dtype: MatrixDtype;
  width: number;
  rows: number;
  chunkRows: number;
  checksums: string[];
  meta: Record<string, unknown>;
}

const bytesOf = (values: RowValues): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** Writes one matrix file. Rows appended by an earlier, interrupted writer of the same path and kind are kept by whole chunks. */
export class MatrixWriter {
  private readonly chunk: Uint8Array;
  private filled = 0;

  private constructor(
    private readonly path: string,
    private readonly kind: Required<MatrixKind>,
    private readonly file: FileHandle,
    private readonly log: FileHandle,
    private readonly checksums: string[],
  ) {
    this.chunk = new Uint8Array(kind.chunkRows * this.rowBytes);
  }

  /**
   * Opens `path` for writing; `rows` then says how many rows are there already. The chunks that are kept were compared with their checksums.
   * Throws DataError when the file cannot be written, is complete already, or was begun with other contents.
   */
  static async open(path: string, kind: MatrixKind): Promise<MatrixWriter> {
    const rowBytes = kind.width * (kind.dtype === 'float32' ? 4 : 1);
    const whole: Required<MatrixKind> = {
      dtype: kind.dtype,
      width: kind.width,
      meta: kind.meta ?? {},
      chunkRows: kind.chunkRows ?? Math.max(1, Math.floor(CHUNK_BYTES / rowBytes)),
    };
    const first = canonicalJson(whole);
    const partial = path + PARTIAL;
    const lines = await linesOf(partial + LOG);
    if (lines.length > 0 && lines[0] !== first) {
      throw new DataError(`${partial} was begun with other contents: remove it and its .log`, {
        found: lines[0],
        wanted: first,
      });
    }
    try {
      const file = await open(partial, lines.length > 0 ? 'r+' : 'w+');
      const size = whole.chunkRows * rowBytes;
      const kept: string[] = [];
      const bytes = new Uint8Array(size);
      for (const checksum of lines.slice(1)) {
        const read = await readAll(file, bytes, MAGIC.length + kept.length * size);
        if (read < size || sha256(bytes) !== checksum) break;
        kept.push(checksum);
      }
      if (lines.length === 0) await file.write(MAGIC, 0, MAGIC.length, 0);
      await file.truncate(MAGIC.length + kept.length * size);
      const log = await open(partial + LOG, 'w');
      await log.appendFile(`${[first, ...kept].join('\n')}\n`);
      return new MatrixWriter(path, whole, file, log, kept);
    } catch (error) {
      throw writeFailure(partial, error);
    }
  }

  /** Removes what an earlier writer of `path` left unfinished. */
  static async discard(path: string): Promise<void> {
    await rm(path + PARTIAL + LOG, { force: true });
    await rm(path + PARTIAL, { force: true });
  }

  /** Rows that are written or wait for their chunk to be full. */
  get rows(): number {
    return this.checksums.length * this.kind.chunkRows + this.filled / this.rowBytes;
  }

  private get rowBytes(): number {
    return this.kind.width * (this.kind.dtype === 'float32' ? 4 : 1);
  }

  /** Appends whole rows [n, width]; they are copied. Throws DataError when the disk is full. */
  async append(values: RowValues): Promise<void> {
    const isFloat = values instanceof Float32Array;
    if (isFloat !== (this.kind.dtype === 'float32') || values.length % this.kind.width !== 0) {
      throw new RangeError(
        `${values.length} values of ${isFloat ? 'float32' : 'uint8'} are no rows of ${this.kind.width} of ${this.kind.dtype}`,
      );
    }
    const bytes = bytesOf(values);
    for (let at = 0; at < bytes.length; ) {
      const count = Math.min(bytes.length - at, this.chunk.length - this.filled);
      this.chunk.set(bytes.subarray(at, at + count), this.filled);
      this.filled += count;
      at += count;
      if (this.filled === this.chunk.length) await this.flush();
    }
  }

  private async flush(): Promise<void> {
    const bytes = this.chunk.subarray(0, this.filled);
    const position = MAGIC.length + this.checksums.length * this.chunk.length;
    try {
      await writeAll(this.file, bytes, position);
      const checksum = sha256(bytes);
      if (this.filled === this.chunk.length) await this.log.appendFile(`${checksum}\n`);
      this.checksums.push(checksum);
    } catch (error) {
      throw writeFailure(this.path + PARTIAL, error);
    }
    this.filled = 0;
  }

  /** Completes the file: it appears at its path whole, or stays partial when this fails. Throws DataError. */
  async finish(): Promise<void> {
    const { dtype, width, chunkRows, meta } = this.kind;
    const rows = this.rows;
    if (this.filled > 0) await this.flush();
    const footer: Footer = { dtype, width, rows, chunkRows, checksums: this.checksums, meta };
    const json = Buffer.from(canonicalJson(footer));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(json.length);
    const tail = Buffer.concat([json, Buffer.from(sha256(json), 'hex'), length, MAGIC]);
    try {
      await writeAll(this.file, tail, MAGIC.length + rows * this.rowBytes);
      await this.file.sync();
      await this.close();
      await giveName(this.path + PARTIAL, this.path);
      await rm(this.path + PARTIAL + LOG, { force: true });
    } catch (error) {
      throw writeFailure(this.path, error);
    }
  }

  /** Stops writing; the whole chunks wait for the next writer. */
  async close(): Promise<void> {
    await this.file.close();
    await this.log.close();
  }
}

/**
 * Chunks that were compared with their checksums, by file as it is on the disk: each is compared the first time that this process reads
 * of it, however often the file is opened.
 */
const compared = new Map<string, Uint8Array>();

async function comparedChunks(path: string, file: FileHandle, chunks: number): Promise<Uint8Array> {
  const { dev, ino, size, mtimeNs } = await file.stat({ bigint: true });
  const key = [path, dev, ino, size, mtimeNs].join(' ');
  const known = compared.get(key) ?? new Uint8Array(chunks);
  compared.set(key, known);
  return known;
}

/** A complete matrix file, read by ranges of rows. */
export class MatrixFile<T extends RowValues = Float32Array> implements RowSource<T> {
  readonly count: number;
  readonly width: number;
  private buffer: T | undefined;
  /** The chunk that was compared last, and its place: what is read in order is read once. */
  private chunk: { place: number; bytes: Uint8Array } | undefined;

  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
    private readonly footer: Footer,
    private readonly remedy: string,
    private readonly compared: Uint8Array,
  ) {
    this.count = footer.rows;
    this.width = footer.width;
  }

  /**
   * Opens a file and checks its footer and size; rows are checked as they are read, all of them by `verify`.
   * `remedy` says what to do about a damaged file. Throws DataError when it is missing, partial or damaged.
   */
  static async open<D extends MatrixDtype>(
    path: string,
    dtype: D,
    remedy = 'write it again',
  ): Promise<MatrixFile<D extends 'float32' ? Float32Array : Uint8Array>> {
    let file: FileHandle;
    try {
      if (!(await stat(path)).isFile()) throw new Error('it is no plain file');
      file = await open(path, 'r');
    } catch (error) {
      throw new DataError(`cannot read ${path}: ${(error as Error).message}`, { path });
    }
    try {
      const footer = await readFooter(path, file, remedy);
      if (footer.dtype !== dtype) throw new DataError(`${path} holds ${footer.dtype}, not ${dtype}`);
      return new MatrixFile(
        path,
        file,
        footer,
        remedy,
        await comparedChunks(path, file, footer.checksums.length),
      );
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Identifies contents and layout: the hash of the footer, in which every chunk's checksum stands. */
  get digest(): string {
    return sha256(canonicalJson(this.footer));
  }

  get meta(): Readonly<Record<string, unknown>> {
    return this.footer.meta;
  }

  private get rowBytes(): number {
    return this.width * (this.footer.dtype === 'float32' ? 4 : 1);
  }

  /**
   * See RowSource; the memory is used again by the next call. Every chunk is compared with its checksum when the first of its rows is read.
   * Throws DataError when rows are damaged or the file became shorter.
   */
  async read(first: number, count: number): Promise<T> {
    if (first < 0 || first + count > this.count) {
      throw new RangeError(`rows ${first} to ${first + count} of ${this.count} in ${this.path}`);
    }
    const length = count * this.width;
    if (!this.buffer || this.buffer.length < length) {
      this.buffer = (
        this.footer.dtype === 'float32' ? new Float32Array(length) : new Uint8Array(length)
      ) as T;
    }
    const values = this.buffer.subarray(0, length) as T;
    const bytes = bytesOf(values);
    const { chunkRows } = this.footer;
    for (let row = first; row < first + count; ) {
      const place = Math.floor(row / chunkRows);
      const begin = row;
      row = Math.min((place + 1) * chunkRows, first + count);
      const part = bytes.subarray((begin - first) * this.rowBytes, (row - first) * this.rowBytes);
      if (!this.compared[place] || this.chunk?.place === place) {
        const chunk = this.chunk?.place === place ? this.chunk.bytes : await this.compare(place);
        const from = (begin - place * chunkRows) * this.rowBytes;
        part.set(chunk.subarray(from, from + part.length));
      } else await this.fill(part, begin);
    }
    return values;
  }

  private async fill(bytes: Uint8Array, row: number): Promise<void> {
    if ((await readAll(this.file, bytes, MAGIC.length + row * this.rowBytes)) < bytes.length)
      throw new DataError(`${this.path} became shorter while it was read`);
  }

  /** Reads a chunk and compares it with its checksum. */
  private async compare(place: number): Promise<Uint8Array> {
    const { chunkRows, checksums } = this.footer;
    const first = place * chunkRows;
    const length = Math.min(chunkRows, this.count - first) * this.rowBytes;
    const memory = this.chunk?.bytes.buffer;
    this.chunk = undefined; // until it is what it says
    const bytes =
      memory && memory.byteLength >= length ? new Uint8Array(memory, 0, length) : new Uint8Array(length);
    await this.fill(bytes, first);
    if (sha256(bytes) !== checksums[place]) {
      const last = first + length / this.rowBytes - 1;
      throw new DataError(`${this.path} is damaged in rows ${first} to ${last}: ${this.remedy}`, {
        path: this.path,
        fault: 'changed',
      });
    }
    this.compared[place] = 1;
    this.chunk = { place, bytes };
    return bytes;
  }

  /** Compares every chunk with its checksum. Throws DataError naming the first rows that are damaged. */
  async verify(): Promise<void> {
    for (const place of this.footer.checksums.keys()) await this.compare(place);
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

async function readFooter(path: string, file: FileHandle, remedy: string): Promise<Footer> {
  const { size } = await file.stat();
  const fail = (what: string) => new DataError(`${path} ${what}: ${remedy}`, { path, fault: 'changed' });
  const tail = Buffer.alloc(TAIL);
  if (size < MAGIC.length + TAIL) throw fail('is truncated or no matrix file');
  const begin = Buffer.alloc(MAGIC.length);
  await readAll(file, begin, 0);
  await readAll(file, tail, size - TAIL);
  if (!begin.equals(MAGIC) || !tail.subarray(36).equals(MAGIC)) throw fail('is truncated or no matrix file');
  const length = tail.readUInt32LE(32);
  const json = Buffer.alloc(Math.min(length, size - TAIL));
  await readAll(file, json, size - TAIL - json.length);
  if (sha256(json) !== tail.subarray(0, 32).toString('hex')) throw fail('has a damaged footer');
  const footer = JSON.parse(json.toString()) as Footer;
  const { rows, width, chunkRows, checksums } = footer;
  if (![rows, width, chunkRows].every((n) => Number.isSafeInteger(n) && n >= 0) || width < 1 || chunkRows < 1)
    throw fail('has a damaged footer');
  if (checksums.length !== Math.ceil(rows / chunkRows)) throw fail('has a damaged footer');
  const rowBytes = footer.width * (footer.dtype === 'float32' ? 4 : 1);
  const expected = MAGIC.length + footer.rows * rowBytes + length + TAIL;
  if (expected !== size) throw fail(`is damaged: ${size} bytes, its footer speaks of ${expected}`);
  return footer;
}

/** Non-empty lines of a text file; none when it does not exist. A last line that was cut off fails its checksum later. */
async function linesOf(path: string): Promise<string[]> {
  try {
    return (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '');
  } catch {
    return [];
  }
}

/** Reads until `bytes` is full or the file ends; returns how many were read. */
async function readAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<number> {
  let at = 0;
  while (at < bytes.length) {
    const { bytesRead } = await file.read(bytes, at, Math.min(bytes.length - at, 2 ** 30), position + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return at;
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += (await file.write(bytes, at, Math.min(bytes.length - at, 2 ** 30), position + at)).bytesWritten;
  }
}
