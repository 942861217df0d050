// Safetensors files: strict reading, bytes that depend on the content only, and streamed atomic writing.
import { type FileHandle, open } from 'node:fs/promises';
import { DataError } from '../errors.js';
import { writeFailure, writeThrough } from './files/write.js';
import { repeatedKey } from './json_keys.js';
import { shown } from './text.js';

type ArrayClass<T> = { new (buffer: ArrayBuffer): T; readonly BYTES_PER_ELEMENT: number };

/** Storage of each element type; half precision and the 8-bit floats have no JavaScript array and are kept as raw bits. */
const STORAGE = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
  I32: Int32Array,
  U32: Uint32Array,
  I16: Int16Array,
  U16: Uint16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
  F8_E4M3: Uint8Array,
  F8_E5M2: Uint8Array,
} as const;

/** Element type of a stored tensor, in the format's own names. */
export type Dtype = keyof typeof STORAGE;

/** The array that holds a tensor's elements. */
export type TensorData =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

/** One tensor: element type, shape and elements in row-major order. */
export interface StoredTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** Where a tensor lies: byte offsets count from the end of the header. */
interface Entry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** The parts of a file in the order in which they are written; `parts` are views of the tensors' own memory. */
export interface SafetensorsLayout {
  readonly header: Uint8Array;
  readonly parts: readonly Uint8Array[];
  readonly byteLength: number;
}

const MAX_HEADER = 100_000_000; // the format's own limit
const CHUNK = 64 * 2 ** 20; // bytes per system call; one call moves at most 2 GiB

/**
 * Lays a file out: wide element types first and names in order within a type, so that every tensor is aligned to its element
 * and equal content gives equal bytes. Throws TypeError when a tensor's data do not fit its dtype or shape.
 */
export function layoutSafetensors(
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>> = {},
): SafetensorsLayout {
  const width = (tensor: StoredTensor) => STORAGE[tensor.dtype].BYTES_PER_ELEMENT;
  const sorted = [...tensors].sort(([a, x], [b, y]) => width(y) - width(x) || compare(a, b));
  const fields: string[] = [];
  const keys = Object.keys(metadata).sort(compare);
  if (keys.length > 0) {
    const pairs = keys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(metadata[key])}`);
    fields.push(`"__metadata__":{${pairs.join(',')}}`);
  }
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, tensor] of sorted) {
    checkTensor(name, tensor);
    const { dtype, shape, data } = tensor;
    const offsets = [offset, offset + data.byteLength];
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: offsets })}`);
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    offset += data.byteLength;
  }
  const json = Buffer.from(`{${fields.join(',')}}`, 'utf8');
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8));
  json.copy(header, 8);
  return { header, parts, byteLength: header.length + offset };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function checkTensor(name: string, { dtype, shape, data }: StoredTensor): void {
  const count = shape.reduce((product, size) => product * size, 1);
  if (name === '__metadata__') throw new TypeError('A tensor cannot be named __metadata__');
  if (!(data instanceof STORAGE[dtype])) {
    throw new TypeError(`Tensor ${name} of type ${dtype} needs a ${STORAGE[dtype].name}`);
  }
  if (data.length !== count) {
    throw new TypeError(`Tensor ${name} has ${data.length} elements, its shape [${shape}] needs ${count}`);
  }
}

/** The bytes of a whole file, for small ones; `writeSafetensors` streams large ones. */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const { header, parts } = layoutSafetensors(tensors, metadata);
  return Buffer.concat([header, ...parts]);
}

/**
 * Writes a file atomically: a reader sees the old file or the whole new one, whenever the process or the machine stops.
 * Streams from the tensors' memory, which must not change until the promise settles. Returns the number of bytes.
 * Throws DataError when the disk is full or the folder cannot be written; then nothing is left behind.
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<number> {
  return writeLayout(path, layoutSafetensors(tensors, metadata));
}

/** `writeSafetensors` for a layout that was made before. */
export async function writeLayout(path: string, layout: SafetensorsLayout): Promise<number> {
  try {
    await writeThrough(path, async (file) => {
      for (const part of [layout.header, ...layout.parts]) await writeAll(file, part);
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    throw writeFailure(path, error, layout.byteLength);
  }
  return layout.byteLength;
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, Math.min(CHUNK, bytes.length - at));
    at += bytesWritten;
  }
}

/** An open file whose header has been checked. Close it after use. */
export class SafetensorsReader {
  /** The header exactly as stored, length prefix and padding included. */
  readonly header: Uint8Array;
  readonly metadata: Readonly<Record<string, string>>;
  private readonly byName: ReadonlyMap<string, Entry>;

  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
    header: Uint8Array,
    parsed: { metadata: Record<string, string>; entries: Entry[] },
  ) {
    this.header = header;
    this.metadata = parsed.metadata;
    this.byName = new Map(parsed.entries.map((entry) => [entry.name, entry]));
  }

  /** Opens and checks a file. Throws DataError, naming it, when it is missing, truncated or not what the format allows. */
  static async open(path: string): Promise<SafetensorsReader> {
    const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
      const why = error.code === 'ENOENT' ? 'no such file' : error.message;
      throw new DataError(`cannot read ${path}: ${why}`, { path, code: error.code });
    });
    try {
      const stat = await file.stat();
      if (!stat.isFile()) throw new DataError(`cannot read ${path}: it is not a file`, { path });
      const header = await readHeader(path, file, stat.size);
      return new SafetensorsReader(path, file, header, parseHeader(path, header, stat.size));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The names of the tensors, in the order in which they are stored. */
  names(): string[] {
    return [...this.byName.keys()];
  }

  /** The shape of one tensor; empty for a scalar and for a name that the file does not hold. */
  shape(name: string): readonly number[] {
    return this.byName.get(name)?.shape ?? [];
  }

  /** Reads one tensor into memory of its own. Throws DataError when the file does not hold it or ends too early. */
  async read(name: string): Promise<StoredTensor> {
    const entry = this.byName.get(name);
    if (!entry) {
      const some = this.names().slice(0, 5).join(', ');
      throw new DataError(
        `${this.path} holds no tensor ${name}; it has ${this.byName.size} tensors: ${some}${this.byName.size > 5 ? ', ...' : ''}`,
        { path: this.path, tensor: name },
      );
    }
    const bytes = new Uint8Array(entry.end - entry.begin);
    await readFully(this.path, this.file, bytes, this.header.length + entry.begin);
    const Storage = STORAGE[entry.dtype] as ArrayClass<TensorData>;
    return { dtype: entry.dtype, shape: entry.shape, data: new Storage(bytes.buffer) };
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

/** Reads a file, or only the named tensors of it. Throws DataError (see SafetensorsReader). */
export async function readSafetensors(
  path: string,
  options: { names?: readonly string[] } = {},
): Promise<{ tensors: Map<string, StoredTensor>; metadata: Record<string, string> }> {
  const reader = await SafetensorsReader.open(path);
  try {
    const tensors = new Map<string, StoredTensor>();
    for (const name of options.names ?? reader.names()) tensors.set(name, await reader.read(name));
    return { tensors, metadata: { ...reader.metadata } };
  } finally {
    await reader.close();
  }
}

async function readFully(path: string, file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, at, Math.min(CHUNK, bytes.length - at), position + at);
    if (bytesRead === 0) throw bad(path, 'is truncated: it became shorter while it was read');
    at += bytesRead;
  }
}

async function readHeader(path: string, file: FileHandle, size: number): Promise<Uint8Array> {
  if (size < 8)
    throw bad(path, `is truncated or not a safetensors file: ${size} bytes cannot hold its header`);
  const prefix = Buffer.alloc(8);
  await readFully(path, file, prefix, 0);
  const length = prefix.readBigUInt64LE();
  if (length > MAX_HEADER) {
    throw bad(
      path,
      `is not a safetensors file: its header would be ${length} bytes long, the limit is ${MAX_HEADER}`,
    );
  }
  if (Number(length) > size - 8) {
    throw bad(
      path,
      `is truncated or not a safetensors file: the header needs ${8n + length} bytes, the file has ${size}`,
    );
  }
  const header = new Uint8Array(8 + Number(length));
  await readFully(path, file, header, 0);
  return header;
}

function parseHeader(path: string, header: Uint8Array, size: number) {
  let json: unknown;
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(header.subarray(8));
    json = JSON.parse(text);
  } catch (error) {
    throw bad(
      path,
      `is damaged or not a safetensors file: its header is not JSON (${shown((error as Error).message)})`,
    );
  }
  if (!isRecord(json)) throw bad(path, 'is not a safetensors file: its header is not a JSON object');
  const twice = repeatedKey(text);
  if (twice !== undefined) {
    throw bad(path, `is damaged: its header names ${shown(twice)} twice, which the format forbids`);
  }
  const metadata: [string, string][] = [];
  const entries: Entry[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name !== '__metadata__') {
      entries.push(parseEntry(path, name, value));
      continue;
    }
    if (!isRecord(value)) throw bad(path, 'has a header whose __metadata__ is not an object');
    for (const [key, text] of Object.entries(value)) {
      if (typeof text !== 'string')
        throw bad(path, `has a header whose __metadata__.${shown(key)} is not a string`);
      metadata.push([key, text]);
    }
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkOffsets(path, entries, size - header.length);
  return { metadata: Object.fromEntries(metadata), entries };
}

function parseEntry(path: string, name: string, value: unknown): Entry {
  const fail = (what: string) => bad(path, `is damaged: tensor ${shown(name)} ${what}`);
  if (!isRecord(value)) throw fail('has no description in the header');
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !Object.hasOwn(STORAGE, dtype)) {
    throw fail(`has element type ${short(dtype)}; known are ${Object.keys(STORAGE).join(', ')}`);
  }
  const isCount = (item: unknown): item is number => Number.isSafeInteger(item) && (item as number) >= 0;
  if (!Array.isArray(shape) || !shape.every(isCount)) throw fail(`has shape ${short(shape)}`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw fail(`has data_offsets ${short(offsets)}`);
  }
  const [begin, end] = offsets as [number, number];
  const bytes = shape.reduce((product, size) => product * size, STORAGE[dtype as Dtype].BYTES_PER_ELEMENT);
  if (end - begin !== bytes) {
    throw fail(
      `of type ${dtype} and shape [${shape}] needs ${bytes} bytes, its offsets [${offsets}] give ${end - begin}`,
    );
  }
  return { name, dtype: dtype as Dtype, shape: shape as number[], begin, end };
}

/** A value of the header, as much of it as a line can hold. */
function short(value: unknown): string {
  const text = shown(JSON.stringify(value) ?? 'missing');
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** The tensors must tile the data exactly: no hole, no overlap, nothing missing, nothing after them. */
function checkOffsets(path: string, entries: readonly Entry[], dataBytes: number): void {
  let expected = 0;
  for (const { name, begin, end } of entries) {
    if (begin < expected) throw bad(path, `is damaged: tensor ${shown(name)} overlaps the one before it`);
    if (begin > expected)
      throw bad(path, `is damaged: ${begin - expected} bytes before tensor ${shown(name)} belong to none`);
    expected = end;
  }
  if (expected > dataBytes) {
    throw bad(path, `is truncated: its tensors need ${expected} bytes, the file holds ${dataBytes} of them`);
  }
  if (expected < dataBytes) {
    throw bad(path, `is damaged: ${dataBytes - expected} bytes follow its last tensor`);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `details.fault` holds the finding alone, for a caller who knows better advice. */
function bad(path: string, fault: string): DataError {
  return new DataError(`${path} ${fault}. Copy, download or write it again.`, { path, fault });
}
