// Arrays that NumPy saved (.npy): two-dimensional ones of numbers, such as depth maps.

import { shown } from '../../base/text.js';
import { DataError } from '../../errors.js';
import { checkPixels } from './header.js';

/** An array of numbers [height, width]. */
export interface NpyArray {
  data: Float32Array | Float64Array | Uint16Array;
  height: number;
  width: number;
}

const TYPES = { '<f4': Float32Array, '<f8': Float64Array, '<u2': Uint16Array } as const;

/**
 * Reads the file `path` with the content `bytes`: an array of float32, float64 or uint16, little endian, in C order, two-dimensional (a third dimension
 * of 1, in front or behind, is passed over), of format version 1, 2 or 3 (NEP 1). Throws DataError, naming the file, for anything else.
 */
export function readNpy(path: string, bytes: Buffer): NpyArray {
  const wrong = (what: string): DataError => new DataError(`${shown(path)} ${what}`, { file: path });
  if (bytes.toString('latin1', 0, 6) !== '\x93NUMPY') throw wrong('is no .npy file: save it with numpy.save');
  const version = bytes[6]!;
  if (!(version >= 1 && version <= 3))
    throw wrong(`is of version ${version} of the .npy format; 1 to 3 are read`);
  const long = version > 1; // four bytes for the length of the header instead of two
  const start = long ? 12 : 10;
  if (bytes.length < start) throw wrong('is cut short: copy it again');
  const end = start + (long ? bytes.readUInt32LE(8) : bytes.readUInt16LE(8));
  if (bytes.length < end) throw wrong('is cut short: copy it again');
  const header = bytes.toString(version === 3 ? 'utf8' : 'latin1', start, end);
  const field = (name: string, value: string): string | undefined =>
    new RegExp(`'${name}':\\s*${value}\\s*[,}]`).exec(header)?.[1];
  const type = field('descr', "'([^']*)'");
  const order = field('fortran_order', '(True|False)');
  const shape = field('shape', '\\(([\\d, ]*)\\)');
  if (type === undefined || order === undefined || shape === undefined) {
    throw wrong(
      'has no header of an array of numbers: save it with numpy.save, as float32, float64 or uint16',
    );
  }
  if (!Object.hasOwn(TYPES, type)) {
    throw wrong(
      `holds ${shown(type)}; little-endian float32, float64 and uint16 are read: save array.astype('<f4')`,
    );
  }
  if (order === 'True') throw wrong('is in Fortran order: save numpy.ascontiguousarray(array)');
  const sizes = shape
    .split(',')
    .filter((size) => size.trim() !== '')
    .map(Number);
  if (sizes.length === 3) sizes.splice(sizes[0] === 1 ? 0 : sizes[2] === 1 ? 2 : 3, 1);
  const [height, width] = sizes as [number, number];
  if (sizes.length !== 2 || !(height > 0 && width > 0)) {
    throw wrong(`has the shape (${shape}); expected height and width`);
  }
  checkPixels(path, { height, width });
  const values = TYPES[type as keyof typeof TYPES];
  const expected = height * width * values.BYTES_PER_ELEMENT;
  if (bytes.length !== end + expected) {
    throw wrong(
      `has ${bytes.length - end} bytes of values where its shape (${shape}) needs ${expected}: copy it again`,
    );
  }
  return {
    data: new values(
      bytes.buffer.slice(bytes.byteOffset + end, bytes.byteOffset + bytes.length) as ArrayBuffer,
    ),
    height,
    width,
  };
}
