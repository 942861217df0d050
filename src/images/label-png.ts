// The numbers that a PNG file stores: palette files are rewritten as greyscale ones, so that a decoder gives indices and not colours.

import { DataError } from '../errors.js';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const GREYSCALE = 0;
const PALETTE = 3;
const KINDS: Record<number, string> = { 2: 'colour', 4: 'greyscale with alpha', 6: 'colour with alpha' };

/** A greyscale PNG file without palette, transparency and profiles; each grey level is a stored number. */
export interface StoredNumbers {
  /** Bits of a number: 1, 2, 4, 8 or 16. A decoder to 8 bits multiplies those of fewer by 255 / (2^bits - 1). */
  bits: number;
  png: Buffer;
}

/**
 * Takes the file `path` with the content `bytes` as stored numbers: palette indices or grey levels, whatever the colours are.
 * The compressed pixels are handed on as they are; only the header changes (PNG specification, third edition, sections 5 and 11.2).
 * Throws DataError for files that are no PNG, are cut short, or store colours.
 */
export function storedNumbers(path: string, bytes: Buffer): StoredNumbers {
  if (!bytes.subarray(0, 8).equals(SIGNATURE)) {
    throw new DataError(
      `${path} is no PNG file: label maps are palette or greyscale PNG, one label a pixel`,
      {
        file: path,
      },
    );
  }
  const kept: Buffer[] = [SIGNATURE];
  let bits = 0;
  for (let at = 8, type = ''; type !== 'IEND'; ) {
    const end = at + 12 <= bytes.length ? at + 12 + bytes.readUInt32BE(at) : Number.POSITIVE_INFINITY;
    if (end > bytes.length) {
      throw new DataError(`${path} cannot be decoded: the file is cut short; copy it again`, { file: path });
    }
    const chunk = bytes.subarray(at, end);
    type = chunk.toString('latin1', 4, 8);
    if (type === 'IHDR') {
      bits = chunk[16]!;
      kept.push(greyHeader(path, chunk));
    } else if (type === 'IDAT' || type === 'IEND') {
      kept.push(chunk);
    }
    at = end;
  }
  return { bits, png: Buffer.concat(kept) };
}

/** The header chunk with its colour type set to greyscale and its checksum renewed. */
function greyHeader(path: string, chunk: Buffer): Buffer {
  const type = chunk[17]!;
  if (type !== GREYSCALE && type !== PALETTE) {
    throw new DataError(
      `${path} is no label map: a ${KINDS[type] ?? 'strange'} PNG; expected palette or greyscale, one label a pixel`,
      { file: path },
    );
  }
  const header = Buffer.from(chunk);
  header[17] = GREYSCALE;
  header.writeUInt32BE(crc32(header.subarray(4, -4)), header.length - 4);
  return header;
}

/** CRC-32 of a few bytes (Node 20.11 has none yet in node:zlib). */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}
