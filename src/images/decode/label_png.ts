// The numbers that a PNG file stores: palette files are rewritten as greyscale ones, so that a decoder gives indices and not colours.

import { shown } from '../../base/text.js';
import { DataError } from '../../errors.js';
import { checkPixels, PNG_SIGNATURE } from './header.js';

const GREYSCALE = 0;
const PALETTE = 3;
const KINDS: Record<number, string> = { 2: 'colour', 4: 'greyscale with alpha', 6: 'colour with alpha' };

const KIND = { 'label map': 'palette or greyscale PNG, one label', 'depth map': 'greyscale PNG, one depth' };

/** What the numbers stand for. */
export type MapKind = keyof typeof KIND;

/** A greyscale PNG file without palette, transparency and profiles; each grey level is a stored number. */
export interface StoredNumbers {
  /** Bits of a number: 1, 2, 4, 8 or 16. A decoder to 8 bits multiplies those of fewer by 255 / (2^bits - 1). */
  bits: number;
  png: Buffer;
  /** RGB of each number [numbers, 3], where the file has a palette. */
  palette?: Buffer;
  /** EXIF data as the file has it. */
  exif?: Buffer;
}

/**
 * Takes the file `path` with the content `bytes` as the stored numbers of a map: palette indices or grey levels, whatever the colours are.
 * The compressed pixels are handed on as they are; only the header changes (PNG specification, third edition, sections 5 and 11.2).
 * Throws DataError for files that are no PNG, are cut short or damaged, store colours, or have more than MOST_PIXELS.
 */
export function storedNumbers(path: string, bytes: Buffer, what: MapKind): StoredNumbers {
  const wrong = (what: string): DataError => new DataError(`${shown(path)} ${what}`, { file: path });
  if (!bytes.subarray(0, 8).equals(PNG_SIGNATURE)) {
    throw wrong(`is no PNG file: ${what}s are ${KIND[what]} a pixel`);
  }
  const kept: Buffer[] = [PNG_SIGNATURE];
  const stored: StoredNumbers = { bits: 0, png: PNG_SIGNATURE };
  let coloured = false;
  for (let at = 8, type = ''; type !== 'IEND'; ) {
    const end = at + 12 <= bytes.length ? at + 12 + bytes.readUInt32BE(at) : Number.POSITIVE_INFINITY;
    if (end > bytes.length) throw wrong('cannot be decoded: the file is cut short; copy it again');
    const chunk = bytes.subarray(at, end);
    type = chunk.toString('latin1', 4, 8);
    if (at === 8 && type !== 'IHDR') throw wrong('cannot be decoded: its first chunk is no header');
    if (critical(type) && crc32(chunk.subarray(4, -4)) !== chunk.readUInt32BE(chunk.length - 4)) {
      throw wrong(`cannot be decoded: the checksum of its chunk ${shown(type)} is wrong; copy it again`);
    }
    if (type === 'IHDR') {
      if (chunk.length !== 25) throw wrong('cannot be decoded: its header is damaged');
      checkPixels(path, { width: chunk.readUInt32BE(8), height: chunk.readUInt32BE(12) });
      stored.bits = chunk[16]!;
      kept.push(greyHeader(chunk, what, wrong));
      coloured = chunk[17] === PALETTE;
    } else if (type === 'IDAT' || type === 'IEND') {
      kept.push(chunk);
    } else if (type === 'PLTE' && coloured) {
      stored.palette = chunk.subarray(8, -4);
    } else if (type === 'eXIf') {
      stored.exif = chunk.subarray(8, -4);
    }
    at = end;
  }
  stored.png = Buffer.concat(kept);
  return stored;
}

/** Whether a decoder must understand a chunk (a capital first letter). */
const critical = (type: string): boolean => /^[A-Z]/.test(type);

/** The header chunk with its colour type set to greyscale and its checksum renewed. */
function greyHeader(chunk: Buffer, what: MapKind, wrong: (what: string) => DataError): Buffer {
  const type = chunk[17]!;
  if (type !== GREYSCALE && type !== PALETTE) {
    throw wrong(
      `is no ${what}: a ${KINDS[type] ?? 'strange'} PNG; expected ${KIND[what].replace(' PNG', '')} a pixel`,
    );
  }
  const header = Buffer.from(chunk);
  header[17] = GREYSCALE;
  header.writeUInt32BE(crc32(header.subarray(4, -4)), header.length - 4);
  return header;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc >>> 0;
});

/** CRC-32 (Node 20.11 has none yet in node:zlib). */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
