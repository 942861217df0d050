// TIFF files: what the tags of the first picture say of its bands and values, and how many pictures there are.

import { DataError } from '../../errors.js';

/** What is read of a TIFF file before its pixels are (TIFF 6.0, sections 2 to 8; the names are its own). */
export interface TiffHeader {
  width: number;
  height: number;
  /** Bits of a value. */
  bits: number;
  samples: 'unsigned' | 'signed' | 'float' | 'complex';
  /** Values of a pixel. */
  bands: number;
  colours: 'grey' | 'rgb' | 'palette' | 'cmyk';
  /** Pictures that are no reduced copy and no mask of another. */
  pages: number;
}

const TAG = {
  subfile: 254,
  width: 256,
  height: 257,
  bits: 258,
  compression: 259,
  photometric: 262,
  strips: 273,
  orientation: 274,
  bands: 277,
  stripBytes: 279,
  colourMap: 320,
  tiles: 324,
  tileBytes: 325,
  extra: 338,
  format: 339,
  jpegTables: 347,
};
const JPEG_COMPRESSION = 7;
/** The photometric interpretations that are read, and how many bands each needs. */
const READ: Record<number, { is: TiffHeader['colours']; bands: number }> = {
  0: { is: 'grey', bands: 1 },
  1: { is: 'grey', bands: 1 },
  2: { is: 'rgb', bands: 3 },
  3: { is: 'palette', bands: 1 },
  5: { is: 'cmyk', bands: 4 },
};
const PHOTOMETRIC: Record<number, string> = {
  4: 'a mask',
  6: 'YCbCr without JPEG compression',
  8: 'CIELAB',
  9: 'ICC L*a*b*',
  10: 'ITU L*a*b*',
  32803: 'a colour filter array (raw camera data)',
  32844: 'LogL',
  32845: 'LogLuv',
  34892: 'linear raw camera data',
};
const SAMPLES = {
  1: 'unsigned',
  2: 'signed',
  3: 'float',
  4: 'unsigned',
  5: 'complex',
  6: 'complex',
} as const;
const BYTES_OF_TYPE: Record<number, number> = { 1: 1, 3: 2, 4: 4, 7: 1, 16: 8 };
const MOST_DIRECTORIES = 4096;
const MOST_VALUES = 3 * 65536; // a colour map of 16 bits; every other tag that is read has fewer

/**
 * Reads the tags of a TIFF or BigTIFF file. Throws DataError naming the file for tags and pixels that lie outside of it, and for pixels whose meaning is
 * not plain: bands that are neither grey, RGB nor CMYK, or beside these anything but one alpha band, and colour spaces other than those.
 */
export function readTiff(path: string, bytes: Buffer): TiffHeader {
  const wrong = (what: string): DataError => new DataError(`${path} ${what}`, { file: path });
  const directories = listDirectories(bytes, () => wrong('cannot be decoded: its TIFF tags are damaged'));
  const first = directories[0];
  if (!first) throw wrong('cannot be decoded: a TIFF file without a picture');
  checkWhole(first, bytes.length, wrong);
  const one = (tag: number, fallback: number): number => first.get(tag)?.[0] ?? fallback;
  const bands = one(TAG.bands, 1);
  const bits = first.get(TAG.bits) ?? [1];
  const formats = first.get(TAG.format) ?? [1];
  if ([...bits, ...formats].some((value, i) => value !== (i < bits.length ? bits[0] : formats[0]))) {
    throw wrong(`has bands of different depths (${bits.join(', ')} bits): write it with one depth for all`);
  }
  const samples = SAMPLES[formats[0] as keyof typeof SAMPLES];
  if (!samples) throw wrong(`has values of the unknown format ${formats[0]}`);
  return {
    width: one(TAG.width, 0),
    height: one(TAG.height, 0),
    bits: bits[0]!,
    samples,
    bands,
    colours: coloursOf(first, bands, wrong),
    pages: directories.filter((tags) => ((tags.get(TAG.subfile)?.[0] ?? 0) & 0b101) === 0).length || 1,
  };
}

/** Throws where pixels lie beyond the end: libtiff takes them for grey where JPEG compresses them. */
function checkWhole(tags: Map<number, number[]>, length: number, wrong: (what: string) => DataError): void {
  for (const [offsets, counts] of [
    [tags.get(TAG.strips), tags.get(TAG.stripBytes)],
    [tags.get(TAG.tiles), tags.get(TAG.tileBytes)],
  ]) {
    if (offsets?.some((offset, i) => offset + (counts?.[i] ?? 0) > length)) {
      throw wrong('cannot be decoded: the file is cut short; copy it again');
    }
  }
}

/** The orientation that EXIF data (a TIFF file without pixels) names, 1 to 8; 1 without one, or where it cannot be read. */
export function exifOrientation(exif: Buffer): number {
  try {
    const [first] = listDirectories(exif, () => new DataError('damaged'));
    const value = first?.get(TAG.orientation)?.[0] ?? 1;
    return value >= 1 && value <= 8 ? value : 1;
  } catch (error) {
    if (error instanceof DataError) return 1;
    throw error;
  }
}

function coloursOf(
  tags: Map<number, number[]>,
  bands: number,
  wrong: (what: string) => DataError,
): TiffHeader['colours'] {
  const photometric = tags.get(TAG.photometric)?.[0] ?? 1;
  const jpeg = tags.get(TAG.compression)?.[0] === JPEG_COMPRESSION;
  const colours = photometric === 6 && jpeg ? READ[2] : READ[photometric];
  if (!colours) {
    const name = PHOTOMETRIC[photometric] ?? `of the colour space ${photometric}`;
    throw wrong(`is ${name}; grey, RGB, palette and CMYK TIFF files are read: convert it to RGB`);
  }
  const extra = tags.get(TAG.extra) ?? [];
  const alpha = bands === colours.bands + 1 && (extra[0] === 1 || extra[0] === 2);
  if (bands !== colours.bands && !(alpha && colours.bands !== 4 && colours.is !== 'palette')) {
    const named = { grey: 'grey', rgb: 'RGB', palette: 'palette indices', cmyk: 'CMYK' }[colours.is];
    throw wrong(
      `has ${bands} bands that are not ${named}${colours.bands === 4 || colours.is === 'palette' ? '' : ' with or without alpha'}: choose the three that are red, green and blue and write them as RGB`,
    );
  }
  const map = tags.get(TAG.colourMap);
  if (colours.is === 'palette' && map?.some((v) => v > 0) && map.every((v) => v < 256)) {
    throw wrong('has a colour map of 8-bit values where TIFF has 16 bits: nearly black; write it as RGB');
  }
  return colours.is;
}

/** The wanted tags of each directory in the file's chain; a chain that turns back on itself ends there. */
function listDirectories(bytes: Buffer, damaged: () => DataError): Map<number, number[]>[] {
  const little = bytes[0] === 0x49;
  const read = (at: number, width: number): number => {
    if (at < 0 || at + width > bytes.length) throw damaged();
    if (width === 8) return Number(little ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at));
    return little ? bytes.readUIntLE(at, width) : bytes.readUIntBE(at, width);
  };
  const big = read(2, 2) === 43;
  const [pointer, counter, entry] = big ? [8, 8, 20] : [4, 2, 12];
  const wanted = new Set<number>(Object.values(TAG));
  const seen = new Set<number>();
  const found: Map<number, number[]>[] = [];
  for (let at = read(big ? 8 : 4, pointer); at !== 0 && !seen.has(at); ) {
    seen.add(at);
    if (found.length >= MOST_DIRECTORIES) throw damaged();
    const count = read(at, counter);
    const begin = at + counter;
    if (count * entry > bytes.length) throw damaged();
    const tags = new Map<number, number[]>();
    for (let e = 0; e < count; e++) {
      const here = begin + e * entry;
      const tag = read(here, 2);
      const width = BYTES_OF_TYPE[read(here + 2, 2)];
      if (!wanted.has(tag) || width === undefined) continue;
      const values = read(here + 4, big ? 8 : 4);
      if (values > MOST_VALUES) throw damaged();
      const inside = here + 4 + (big ? 8 : 4);
      const from = values * width <= pointer ? inside : read(inside, pointer);
      tags.set(
        tag,
        Array.from({ length: values }, (_, i) => read(from + i * width, width)),
      );
    }
    found.push(tags);
    at = read(begin + count * entry, pointer);
  }
  return found;
}
