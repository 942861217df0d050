// PyTorch checkpoints in the zip format of torch.save: the plain data in them, and their tensors on demand. Runs no code.

import { PickleDict, PickleGlobal, type PickleValue, readPickle } from '../base/pickle/pickle.js';
import type { Dtype, StoredTensor, TensorData } from '../base/safetensors.js';
import { DataError } from '../errors.js';
import { ZipReader } from './zip.js';

/** A storage that tensors of the checkpoint view; one zip member. */
class TorchStorage {
  constructor(
    readonly member: string,
    readonly dtype: Dtype,
    /** Number of elements. */
    readonly length: number,
  ) {}
}

/** A tensor of the checkpoint: a strided view of a storage, read by PthReader.read. Offset and strides count elements. */
export class TorchTensor {
  constructor(
    readonly storage: TorchStorage,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
  get dtype(): Dtype {
    return this.storage.dtype;
  }
}

const STORAGES: Record<string, Dtype> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
};

type ArrayClass = { new (buffer: ArrayBuffer): TensorData; new (length: number): TensorData };
const ARRAYS: Partial<Record<Dtype, { readonly BYTES_PER_ELEMENT: number }>> = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
};

const MOST_PICKLE_BYTES = 128 * 2 ** 20;
const MOST_AXES = 64;

/** An open checkpoint. Close it after use. Every fault is a DataError in one line that names the file. */
export class PthReader {
  private last: { member: string; bytes: Uint8Array } | undefined;

  private constructor(
    readonly path: string,
    private readonly zip: ZipReader,
    /** What was saved: usually a dict of tensors by name. */
    readonly root: PickleValue,
  ) {}

  /**
   * Opens a checkpoint and reads its pickle, no tensor yet.
   * @throws DataError when it is missing, damaged, of the old format, or asks for anything but plain data and tensors
   */
  static async open(path: string): Promise<PthReader> {
    const zip = await ZipReader.open(path);
    try {
      const pickles = [...zip.members.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
      if (pickles.length !== 1) {
        throw new DataError(`${path} is a zip archive but no PyTorch checkpoint: it has no FOLDER/data.pkl`, {
          path,
        });
      }
      const folder = pickles[0]!.slice(0, -'data.pkl'.length);
      await checkByteOrder(zip, folder);
      const { size } = zip.members.get(pickles[0]!)!;
      if (size > MOST_PICKLE_BYTES) {
        throw new DataError(`${path}: its pickle has ${size} bytes; read are at most ${MOST_PICKLE_BYTES}`);
      }
      const root = readPickle(await zip.read(pickles[0]!), {
        path,
        globals: allowedGlobals(path),
        persistent: (id) => storageOf(zip, folder, id),
      });
      return new PthReader(path, zip, root);
    } catch (error) {
      await zip.close();
      throw error;
    }
  }

  /**
   * Values of a tensor, row-major and contiguous, in memory of their own.
   * @throws DataError when its storage is damaged, or its view has more bytes than the whole file (a stride of 0 can)
   */
  async read(tensor: TorchTensor): Promise<StoredTensor> {
    const { storage, offset, shape, strides, dtype } = tensor;
    const values = new (ARRAYS[dtype] as unknown as ArrayClass)(await this.bytesOf(storage.member));
    const count = shape.reduce((n, d) => n * d, 1);
    if (count * values.BYTES_PER_ELEMENT > Math.max(this.zip.byteLength, values.byteLength)) {
      throw new DataError(
        `${this.path}: a tensor of shape [${shape}] is larger than the file that it is a view of`,
      );
    }
    const contiguous = shape.reduceRight<{ step: number; ok: boolean }>(
      ({ step, ok }, d, i) => ({ step: step * d, ok: ok && (d === 1 || strides[i] === step) }),
      { step: 1, ok: true },
    ).ok;
    if (contiguous || count === 0) return { dtype, shape, data: values.slice(offset, offset + count) };
    const data = new (values.constructor as unknown as ArrayClass)(count);
    const copy = (axis: number, from: number, to: number): number => {
      if (axis === shape.length) {
        data[to] = values[from]!;
        return to + 1;
      }
      let next = to;
      for (let i = 0; i < shape[axis]!; i++) next = copy(axis + 1, from + i * strides[axis]!, next);
      return next;
    };
    copy(0, offset, 0);
    return { dtype, shape, data };
  }

  /** Keeps the last storage: tensors that share one usually follow each other. */
  private async bytesOf(member: string): Promise<ArrayBuffer> {
    if (this.last?.member !== member) this.last = { member, bytes: await this.zip.read(member) };
    const { buffer, byteOffset, byteLength } = this.last.bytes;
    return byteOffset === 0 && byteLength === buffer.byteLength
      ? (buffer as ArrayBuffer)
      : (buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer);
  }

  async close(): Promise<void> {
    this.last = undefined;
    await this.zip.close();
  }
}

async function checkByteOrder(zip: ZipReader, folder: string): Promise<void> {
  const member = `${folder}byteorder`;
  const found = zip.members.get(member);
  if (!found) return;
  if (found.size > 16) throw malformed(zip.path, `its byte order takes ${found.size} bytes`);
  const order = Buffer.from(await zip.read(member)).toString('latin1');
  if (order !== 'little') {
    throw new DataError(
      `${zip.path} was saved in byte order ${JSON.stringify(order.slice(0, 20))}; read is little`,
    );
  }
}

/** The names that a checkpoint of tensors needs, and nothing else. */
function allowedGlobals(path: string): Map<string, PickleGlobal> {
  const globals = new Map<string, PickleGlobal>();
  const allow = (name: string, call?: (args: readonly PickleValue[]) => PickleValue): void =>
    void globals.set(name, new PickleGlobal(name, call));
  for (const name of Object.keys(STORAGES)) allow(`torch.${name}`);
  const rebuild = (args: readonly PickleValue[]): TorchTensor => tensorOf(path, args);
  allow('torch._utils._rebuild_tensor', rebuild);
  allow('torch._utils._rebuild_tensor_v2', (args) => {
    const meant = args[6]; // absent, or flags that change what the bytes mean: a lazy minus or conjugate
    if (meant instanceof Map && meant.size > 0)
      throw malformed(path, 'a tensor is a lazy negation or conjugate: save it after resolve_neg()');
    return rebuild(args);
  });
  allow('torch._utils._rebuild_parameter', ([tensor]) => {
    if (tensor instanceof TorchTensor) return tensor;
    throw malformed(path, 'a parameter is built from something that is no tensor');
  });
  allow('torch.Size', ([size]) => size ?? Object.freeze([]));
  allow('collections.OrderedDict', (args) => orderedDict(path, args));
  return globals;
}

function orderedDict(path: string, args: readonly PickleValue[]): PickleDict {
  const dict = new PickleDict();
  dict.ordered = true;
  const items = args[0] ?? [];
  if (!Array.isArray(items)) throw malformed(path, 'an OrderedDict is built from something that is no list');
  for (const pair of items as PickleValue[]) {
    if (!Array.isArray(pair) || pair.length !== 2)
      throw malformed(path, 'an OrderedDict has an item that is no pair');
    const [key, value] = pair as [PickleValue, PickleValue];
    if (typeof key !== 'string' && typeof key !== 'number') {
      throw malformed(path, 'an OrderedDict has a key that is no text');
    }
    dict.set(key, value);
  }
  return dict;
}

/** The storage that a persistent id ('storage', type, key, device, number of elements) names. */
function storageOf(zip: ZipReader, folder: string, id: PickleValue): TorchStorage {
  const fail = (what: string): DataError => malformed(zip.path, what);
  if (!Array.isArray(id) || id[0] !== 'storage' || id.length !== 5) {
    throw fail('a persistent id is no storage');
  }
  const [, type, key, , length] = id as PickleValue[];
  const dtype = type instanceof PickleGlobal ? STORAGES[type.name.replace(/^torch\./, '')] : undefined;
  if (!dtype) throw fail('a storage has a type that is none');
  if (typeof key !== 'string' || !/^\w+$/.test(key)) throw fail('a storage has a key that is no plain name');
  if (!isCount(length)) throw fail(`storage ${key} has a number of elements that is none`);
  const name = `${folder}data/${key}`;
  const member = zip.members.get(name);
  if (!member) throw fail(`storage ${key} is missing`);
  const bytes = length * ARRAYS[dtype]!.BYTES_PER_ELEMENT;
  if (member.size !== bytes) {
    throw fail(`storage ${key} should hold ${bytes} bytes (${length} of ${dtype}), it holds ${member.size}`);
  }
  return new TorchStorage(name, dtype, length);
}

const isCount = (value: PickleValue | undefined): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;

/** Arguments (storage, offset, size, stride, …) as a tensor whose every element lies in its storage. */
function tensorOf(path: string, [storage, offset, size, stride]: readonly PickleValue[]): TorchTensor {
  if (!(storage instanceof TorchStorage)) throw malformed(path, 'a tensor has no storage');
  const counts = (v: PickleValue | undefined): v is number[] =>
    Array.isArray(v) && v.length <= MOST_AXES && v.every(isCount);
  if (!isCount(offset) || !counts(size) || !counts(stride) || size.length !== stride.length) {
    throw malformed(path, 'a tensor has no valid offset, size or stride');
  }
  const count = size.reduce((n, d) => n * d, 1);
  const last = size.reduce((at, d, i) => at + (d - 1) * stride[i]!, offset);
  if (!Number.isSafeInteger(count) || (count > 0 && !(last < storage.length))) {
    throw malformed(
      path,
      `a tensor of size [${size}], stride [${stride}] and offset ${offset} leaves its storage of ${storage.length} elements`,
    );
  }
  return new TorchTensor(storage, offset, [...size], [...stride]);
}

function malformed(path: string, what: string): DataError {
  return new DataError(`${path} is damaged or no PyTorch checkpoint: ${what}`, { path });
}
