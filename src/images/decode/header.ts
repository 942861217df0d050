// What the first bytes of an image file say: which of the four kinds it is, how large, and what its values mean. Everything else is refused here.

import { shown } from '../../base/text.js';
import { DataError } from '../../errors.js';
import { readTiff } from './tiff.js';

/** The most pixels of an image or label map: where Pillow warns of a decompression bomb. */
export const MOST_PIXELS = 89_478_485;

/** The largest image file that is read, in bytes: as many pixels of three times 16 bits, as they are. */
export const MOST_BYTES = 6 * MOST_PIXELS + 2 ** 20;

/** What a decoder must know of an image file. */
export interface ImageHeader {
  kind: 'JPEG' | 'PNG' | 'WebP' | 'TIFF';
  /** Pixels as stored, not turned by any EXIF tag. */
  width: number;
  height: number;
  /** How values become RGB: 8 bits as they are, inks, 16 unsigned bits, or floats (one or three bands). */
  values: 'plain' | 'cmyk' | 'deep' | 'float';
  /** Whether the file stores one band (and perhaps alpha), no colours. */
  grey: boolean;
}

/** What is wrong with a file. */
type Refusal = (what: string) => DataError;

export const PNG_SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/** Both byte orders, TIFF and BigTIFF. */
const TIFF_BEGINS = new Set(['49492a00', '4d4d002a', '49492b00', '4d4d002b']);

/**
 * Reads the header of the image file `path` with the content `bytes`, whatever its name ends with. Throws DataError, naming the file and what to
 * do, for other kinds than JPEG, PNG, WebP and TIFF, more than MOST_PIXELS, several pictures in one file, and values without a plain meaning as RGB
 * (bands that are no RGB, signed or 32-bit numbers, colour spaces such as CIELAB).
 */
export function readHeader(path: string, bytes: Buffer): ImageHeader {
  const name = shown(path);
  const wrong: Refusal = (what) => new DataError(`${name} ${what}`, { file: path });
  const header = ofKind(name, bytes, wrong);
  const { width, height } = header;
  if (width === 0 || height === 0) throw wrong(`cannot be decoded: it is ${width} x ${height} pixels`);
  checkPixels(path, header);
  return header;
}

/** Throws DataError for an image that would fill the memory. */
export function checkPixels(path: string, { width, height }: { width: number; height: number }): void {
  if (width * height <= MOST_PIXELS) return;
  throw new DataError(
    `${shown(path)} is ${width} x ${height} pixels; images of up to ${MOST_PIXELS.toLocaleString('en-US')} pixels are read: make it smaller or cut it up`,
    { file: path },
  );
}

function ofKind(name: string, bytes: Buffer, wrong: Refusal): ImageHeader {
  if (bytes.length === 0) throw wrong('is empty: copy it again, or remove it');
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return jpeg(bytes, wrong);
  if (bytes.subarray(0, 8).equals(PNG_SIGNATURE)) return png(bytes, wrong);
  const begin = bytes.toString('hex', 0, 4);
  if (TIFF_BEGINS.has(begin)) return tiff(name, bytes, wrong);
  if (bytes.toString('latin1', 0, 4) === 'RIFF' && bytes.toString('latin1', 8, 12) === 'WEBP') {
    return webp(bytes, wrong);
  }
  throw wrong(`is ${strangeKind(bytes)}; JPEG, PNG, WebP and TIFF files are decoded: convert or remove it`);
}

/** Kinds that are met under other names: how their bytes begin, in hexadecimal, or a pattern in their first text. */
const STRANGE: [string | RegExp, string][] = [
  ['474946', 'a GIF file'],
  ['424d', 'a BMP file'],
  ['25504446', 'a PDF file'],
  ['38425053', 'a Photoshop file'],
  ['1f8b', 'a gzip file'],
  ['504b0304', 'a zip file'],
  ['ff0a', 'a JPEG XL file'],
  ['0000000c4a584c20', 'a JPEG XL file'],
  ['0000000c6a50', 'a JPEG 2000 file'],
  ['ff4fff51', 'a JPEG 2000 file'],
  ['00000000000000000000000000000000', 'a file of zeros'],
  [/^.{4}ftyp(heic|heix|mif1|msf1|hevc)/s, 'a HEIC file'],
  [/^.{4}ftyp/s, 'an AVIF or video file'],
  [/^version https:\/\/git-lfs/, 'a Git LFS pointer (git lfs pull fetches what it stands for)'],
  [/<svg/i, 'an SVG file'],
  [/^\s*<(!doctype|html)/i, 'a web page'],
];

function strangeKind(bytes: Buffer): string {
  const [hex, text] = [bytes.toString('hex', 0, 16), bytes.toString('latin1', 0, 512)];
  const known = STRANGE.find(([sign]) => (typeof sign === 'string' ? hex.startsWith(sign) : sign.test(text)));
  return known?.[1] ?? 'no image file of a known kind';
}

const CUT = 'cannot be decoded: the file is cut short; copy it again';

/** Markers up to the frame header (ITU-T T.81, B.1 and B.2). */
function jpeg(bytes: Buffer, wrong: Refusal): ImageHeader {
  for (let at = 2; at + 4 <= bytes.length; ) {
    const marker = bytes[at + 1]!;
    if (bytes[at] !== 0xff) {
      at++; // stray bytes between segments, which every decoder passes over
    } else if (marker === 0xff || marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd8)) {
      at += marker === 0xff ? 1 : 2;
    } else if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) {
      if (at + 10 > bytes.length) break;
      const bands = bytes[at + 9]!;
      if (bands !== 1 && bands !== 3 && bands !== 4) throw wrong(`is a JPEG file of ${bands} bands`);
      return {
        kind: 'JPEG',
        height: bytes.readUInt16BE(at + 5),
        width: bytes.readUInt16BE(at + 7),
        values: bands === 4 ? 'cmyk' : 'plain',
        grey: bands === 1,
      };
    } else if (marker === 0xda || marker === 0xd9) {
      throw wrong('cannot be decoded: a JPEG file without a frame header');
    } else {
      at += 2 + bytes.readUInt16BE(at + 2);
    }
  }
  throw wrong(CUT);
}

/** The header chunk, and whether an animation follows (PNG specification, third edition, 11.2.1 and 11.3.6). */
function png(bytes: Buffer, wrong: Refusal): ImageHeader {
  if (bytes.length < 33) throw wrong(CUT);
  for (let at = 33; at + 12 <= bytes.length; at += 12 + bytes.readUInt32BE(at)) {
    const type = bytes.toString('latin1', at + 4, at + 8);
    if (type === 'IDAT') break;
    if (type === 'acTL') checkPictures(bytes.readUInt32BE(at + 8), wrong);
  }
  const [bits, colours] = [bytes[24]!, bytes[25]!];
  return {
    kind: 'PNG',
    width: bytes.readUInt32BE(16),
    height: bytes.readUInt32BE(20),
    values: bits === 16 ? 'deep' : 'plain',
    grey: colours === 0 || colours === 4,
  };
}

/** The size of the canvas or of the one picture (WebP container specification; VP8, RFC 6386, 9.1; VP8L, RFC 9649, 3.4). */
function webp(bytes: Buffer, wrong: Refusal): ImageHeader {
  if (bytes.length < 30) throw wrong(CUT);
  const chunk = bytes.toString('latin1', 12, 16);
  let [width, height] = [0, 0];
  if (chunk === 'VP8X') {
    [width, height] = [1 + bytes.readUIntLE(24, 3), 1 + bytes.readUIntLE(27, 3)];
    if (bytes[20]! & 0b10) checkPictures(countFrames(bytes), wrong);
  } else if (chunk === 'VP8L') {
    const packed = bytes.readUInt32LE(21);
    [width, height] = [1 + (packed & 0x3fff), 1 + ((packed >>> 14) & 0x3fff)];
  } else {
    [width, height] = [bytes.readUInt16LE(26) & 0x3fff, bytes.readUInt16LE(28) & 0x3fff];
  }
  return { kind: 'WebP', width, height, values: 'plain', grey: false };
}

function countFrames(bytes: Buffer): number {
  let frames = 0;
  for (let at = 12; at + 8 <= bytes.length; ) {
    if (bytes.toString('latin1', at, at + 4) === 'ANMF') frames++;
    const size = bytes.readUInt32LE(at + 4);
    at += 8 + size + (size & 1);
  }
  return frames;
}

function tiff(name: string, bytes: Buffer, wrong: Refusal): ImageHeader {
  const { width, height, bits, samples, bands, colours, pages } = readTiff(name, bytes);
  checkPictures(pages, wrong);
  const deep = bits === 16 && samples === 'unsigned' && (colours === 'grey' || colours === 'rgb');
  const float = bits === 32 && samples === 'float' && (bands === 1 || bands === 3) && colours !== 'palette';
  const plain = bits <= 8 && samples === 'unsigned';
  if (!deep && !float && !plain) {
    const what = { cmyk: 'inks', palette: 'palette indices', grey: 'numbers', rgb: 'numbers' }[colours];
    throw wrong(
      `holds ${samples} ${what} of ${bits} bits; unsigned ones of up to 16 bits and 32-bit floats are read: write it in 8 bits`,
    );
  }
  const values = colours === 'cmyk' ? 'cmyk' : deep ? 'deep' : float ? 'float' : 'plain';
  return { kind: 'TIFF', width, height, values, grey: bands < 3 && colours === 'grey' };
}

function checkPictures(count: number, wrong: Refusal): void {
  if (count <= 1) return;
  throw wrong(`holds ${count} pictures, of which one could be read: write each to a file of its own`);
}
