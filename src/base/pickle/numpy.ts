// NumPy's arrays and scalars in restricted pickles: numbers of plain types, built here and not by NumPy.

import { Buildable, PickleGlobal, type PickleValue } from './values.js';

const TYPES = {
  b1: Uint8Array,
  i1: Int8Array,
  i2: Int16Array,
  i4: Int32Array,
  i8: BigInt64Array,
  u1: Uint8Array,
  u2: Uint16Array,
  u4: Uint32Array,
  u8: BigUint64Array,
  f4: Float32Array,
  f8: Float64Array,
} as const;

/** The type of an array: little endian or of single bytes. */
class NumpyType extends Buildable {
  constructor(readonly name: string) {
    super();
  }
  build(state: PickleValue): boolean {
    return Array.isArray(state) && (state[1] === '<' || state[1] === '|' || state[1] === '=');
  }
  /** The numbers in `bytes`; undefined for other types, and for bytes that are no whole numbers. */
  read(bytes: Uint8Array): number[] | undefined {
    if (!Object.hasOwn(TYPES, this.name)) return undefined;
    const values = TYPES[this.name as keyof typeof TYPES];
    if (bytes.length % values.BYTES_PER_ELEMENT !== 0) return undefined;
    return Array.from(new values(new Uint8Array(bytes).buffer), Number);
  }
}

/** An array, its values in C order. */
export class NumpyArray extends Buildable {
  values: number[] = [];
  shape: number[] = [];

  /** (version, shape, dtype, Fortran order, bytes) */
  build(state: PickleValue): boolean {
    if (!Array.isArray(state) || state.length !== 5 || state[3] !== false) return false;
    return this.fill(state[4], state[2], state[1]);
  }
  fill(bytes: PickleValue, type: PickleValue, shape: PickleValue): boolean {
    const values = bytes instanceof Uint8Array && type instanceof NumpyType ? type.read(bytes) : undefined;
    if (values === undefined || !Array.isArray(shape)) return false;
    this.shape = shape.map(Number);
    this.values = values;
    return this.shape.reduce((product, size) => product * size, 1) === values.length;
  }
}

const BUILDERS: Record<string, (args: readonly PickleValue[]) => PickleValue | undefined> = {
  'multiarray._reconstruct': () => new NumpyArray(),
  'multiarray.scalar': ([type, bytes]) =>
    type instanceof NumpyType && bytes instanceof Uint8Array ? type.read(bytes)?.[0] : undefined,
  'numeric._frombuffer': ([bytes, type, shape, order]) => {
    const array = new NumpyArray();
    return order === 'C' && array.fill(bytes!, type!, shape!) ? array : undefined;
  },
};

/** The names that pickles of arrays ask for, of NumPy 1 and 2. */
export const NUMPY_GLOBALS: ReadonlyMap<string, PickleGlobal> = new Map(
  [
    new PickleGlobal('numpy.ndarray'),
    new PickleGlobal('numpy.dtype', ([name]) => new NumpyType(String(name))),
    // the bytes of an array, or none, in pickles that have no bytes of their own
    new PickleGlobal('_codecs.encode', ([text, encoding]) =>
      typeof text === 'string' && encoding === 'latin1' ? Buffer.from(text, 'latin1') : undefined,
    ),
    ...['__builtin__', 'builtins'].map(
      (module) =>
        new PickleGlobal(`${module}.bytes`, (args) => (args.length === 0 ? new Uint8Array(0) : undefined)),
    ),
    ...Object.entries(BUILDERS).flatMap(([name, call]) => [
      new PickleGlobal(`numpy.core.${name}`, call),
      new PickleGlobal(`numpy._core.${name}`, call),
    ]),
  ].map((global) => [global.name, global]),
);
