// Matrix files: rows of float32 or bytes in checksummed chunks, appended, resumable while they are written, read by ranges.
import { type FileHandle, open, readFile, rename, rm } from 'node:fs/promises';
import { DataError } from '../errors.js';
import { canonicalJson, sha256 } from '../files/hash.js';
import { PARTIAL, writeFailure } from '../files/write.js';
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
      await rename(this.path + PARTIAL, this.path);
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

/** A complete matrix file, read by ranges of rows. */
export class MatrixFile<T extends RowValues = Float32Array> implements RowSource<T> {
  readonly count: number;
  readonly width: number;
  private buffer: T | undefined;

  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
    private readonly footer: Footer,
  ) {
    this.count = footer.rows;
    this.width = footer.width;
  }

  /** Opens a file and checks its footer and size; `verify` checks the rows. Throws DataError when it is missing, partial or damaged. */
  static async open<D extends MatrixDtype>(
    path: string,
    dtype: D,
  ): Promise<MatrixFile<D extends 'float32' ? Float32Array : Uint8Array>> {
    let file: FileHandle;
    try {
      file = await open(path, 'r');
    } catch (error) {
      throw new DataError(`cannot read ${path}: ${(error as Error).message}`, { path });
    }
    try {
      const footer = await readFooter(path, file);
      if (footer.dtype !== dtype) throw new DataError(`${path} holds ${footer.dtype}, not ${dtype}`);
      return new MatrixFile(path, file, footer);
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

  /** See RowSource; the memory is used again by the next call. Throws DataError when the file became shorter. */
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
    if ((await readAll(this.file, bytes, MAGIC.length + first * this.rowBytes)) < bytes.length) {
      throw new DataError(`${this.path} became shorter while it was read`);
    }
    return values;
  }

  /** Compares every chunk with its checksum. Throws DataError naming the first rows that are damaged. */
  async verify(): Promise<void> {
    const { chunkRows, checksums } = this.footer;
    for (const [i, checksum] of checksums.entries()) {
      const first = i * chunkRows;
      const count = Math.min(chunkRows, this.count - first);
      if (sha256(bytesOf(await this.read(first, count))) === checksum) continue;
      throw new DataError(`${this.path} is damaged in rows ${first} to ${first + count - 1}: write it again`);
    }
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

async function readFooter(path: string, file: FileHandle): Promise<Footer> {
  const { size } = await file.stat();
  const fail = (what: string) => new DataError(`${path} ${what}: write it again`, { path });
  const tail = Buffer.alloc(TAIL);
  if (size < MAGIC.length + TAIL) throw fail('is truncated or no matrix file');
  await readAll(file, tail, size - TAIL);
  if (!tail.subarray(36).equals(MAGIC)) throw fail('is truncated or no matrix file');
  const length = tail.readUInt32LE(32);
  const json = Buffer.alloc(Math.min(length, size - TAIL));
  await readAll(file, json, size - TAIL - json.length);
  if (sha256(json) !== tail.subarray(0, 32).toString('hex')) throw fail('has a damaged footer');
  const footer = JSON.parse(json.toString()) as Footer;
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
