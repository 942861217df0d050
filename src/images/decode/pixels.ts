// The only door to sharp: image files to RGB bytes, label maps or depth maps, RGB bytes and charts to PNG.

import { readRegular } from '../../base/files/read.js';
import { shown } from '../../base/text.js';
import { DataError } from '../../errors.js';
import { inksToRgb, narrowDeep, narrowFloats, type ValueRange } from './bit_depth.js';
import { type ImageHeader, MOST_BYTES, MOST_PIXELS, readHeader } from './header.js';
import { type MapKind, storedNumbers } from './label_png.js';
import { readNpy } from './npy.js';
import type { DepthMap, LabelMap, RawImage } from './resample.js';
import { exifOrientation } from './tiff.js';

let loaded: Promise<typeof import('sharp').default> | undefined;

/** sharp, loaded with the first file: threads that draw scenes do without it. */
function loadSharp(): Promise<typeof import('sharp').default> {
  loaded ??= import('sharp').then(({ default: sharp }) => {
    sharp.cache(false); // every image is read once an epoch: caching decoded files only costs memory
    sharp.concurrency(1); // several images are decoded side by side instead
    return sharp;
  });
  return loaded;
}

/** How an image file is decoded. */
export interface DecodeOptions {
  /** `upright` (the default): turned as the EXIF or TIFF tag says. `stored`: as the pixels lie in the file, for what label maps are drawn on. */
  orientation?: 'upright' | 'stored';
  /** Black and white of files of 16 bits and of floats; files of 8 bits are taken as they are. */
  range?: ValueRange;
}

/**
 * Decodes an image file (JPEG, PNG, WebP or TIFF, whatever its name ends with) to RGB bytes [height, width, 3], as Pillow's `convert('RGB')` does: grey
 * repeated, inks to RGB without a profile, alpha dropped, palettes resolved, colour profiles ignored, the high byte of 16 bits (Pillow clips those of grey
 * files at 255). Unlike Pillow it is turned upright unless `orientation` says otherwise. Throws DataError naming the file when it cannot be read whole
 * (truncated, no regular file, another kind, too large: see readHeader) or when its values mean nothing as RGB without a `range` (see narrowDeep and narrowFloats).
 */
export async function decodeImage(path: string, options: DecodeOptions = {}): Promise<RawImage> {
  const bytes = readRegular(path, MOST_BYTES);
  const header = readHeader(path, bytes);
  try {
    const { data, height, width, channels } = await decodeValues(bytes, header, options);
    const pixels = toBytes(shown(path), header, data, options.range);
    return { data: channels === 1 ? repeatGrey(pixels) : pixels, height, width };
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError(`${shown(path)} cannot be decoded: ${reason(error)}`, { file: path });
  }
}

/** Values of 8 bits, 16 bits or floats, as the file stores them but for alpha. */
interface Decoded {
  data: Uint8Array;
  height: number;
  width: number;
  channels: number;
}

/** How sharp gives each kind of values unconverted: the space that it works in, the one that it ends in, the type. */
const FORMS = {
  plain: { grey: 'b-w', colour: 'srgb', depth: 'uchar' },
  cmyk: { grey: 'cmyk', colour: 'cmyk', depth: 'uchar' },
  deep: { grey: 'grey16', colour: 'rgb16', depth: 'ushort' },
  float: { grey: 'b-w', colour: 'scrgb', depth: 'float' },
} as const;

async function decodeValues(
  bytes: Buffer,
  header: ImageHeader,
  { orientation }: DecodeOptions,
): Promise<Decoded> {
  const sharp = await loadSharp();
  const form = FORMS[header.values];
  const space = header.grey ? form.grey : form.colour;
  let image = sharp(bytes, { failOn: 'truncated', ignoreIcc: true, limitInputPixels: MOST_PIXELS });
  if (header.values !== 'plain')
    image = image.pipelineColourspace(header.values === 'deep' ? 'rgb16' : space);
  if (orientation !== 'stored') image = image.autoOrient();
  image = image.toColourspace(space);
  if (header.values !== 'cmyk') image = image.removeAlpha();
  const { data, info } = await image.raw({ depth: form.depth }).toBuffer({ resolveWithObject: true });
  const expected = header.values === 'cmyk' ? 4 : header.grey ? 1 : 3;
  if (info.channels !== expected) throw new Error(`${info.channels} bands where ${expected} belong`);
  return { data, height: info.height, width: info.width, channels: info.channels };
}

/** Decoded values as bytes, RGB or grey. */
function toBytes(name: string, { values }: ImageHeader, data: Uint8Array, range?: ValueRange): Uint8Array {
  const view = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (values === 'plain') return view;
  if (values === 'cmyk') return inksToRgb(view);
  const { buffer } =
    view.byteOffset % 4 === 0 && view.byteLength === view.buffer.byteLength ? view : view.slice();
  return values === 'deep'
    ? narrowDeep(name, new Uint16Array(buffer), range)
    : narrowFloats(name, new Float32Array(buffer), range);
}

/** The numbers of a PNG file as it stores them [height, width], with what else it says. */
interface DecodedNumbers {
  data: Uint8Array | Uint16Array;
  height: number;
  width: number;
  /** The EXIF orientation, 1 to 8. */
  orientation: number;
  palette?: Buffer | undefined;
}

async function decodeNumbers(path: string, what: MapKind): Promise<DecodedNumbers> {
  const { bits, png, palette, exif } = storedNumbers(path, readRegular(path, MOST_BYTES), what);
  const sharp = await loadSharp();
  let decoded: { data: Buffer; info: { width: number; height: number; channels: number } };
  try {
    decoded = await sharp(png, { failOn: 'truncated', limitInputPixels: MOST_PIXELS })
      .toColourspace(bits === 16 ? 'grey16' : 'b-w')
      .raw({ depth: bits === 16 ? 'ushort' : 'uchar' })
      .toBuffer({ resolveWithObject: true });
  } catch (error) {
    throw new DataError(`${shown(path)} cannot be decoded: ${reason(error)}`, { file: path });
  }
  const { data, info } = decoded;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const unit = 255 / (2 ** bits - 1); // of a number with less than 8 bits
  const numbers =
    bits === 16
      ? new Uint16Array(bytes.slice().buffer)
      : bits === 8
        ? bytes
        : bytes.map((level) => level / unit);
  const { height, width } = info;
  return { data: numbers, height, width, orientation: exif ? exifOrientation(exif) : 1, palette };
}

/**
 * Decodes a label map from a PNG file: the palette indices, or the grey levels, as they are stored (1, 2, 4, 8 or 16 bits, interlaced
 * or not; a 1-bit grey file holds the labels 0 and 1). What colours a palette has, and any transparency, does not matter.
 * Throws DataError for files that cannot be read, store colours or alpha, or hold a label over 255.
 */
export async function decodeLabelMap(path: string): Promise<LabelMap & { orientation: number }> {
  const { data, height, width, orientation, palette } = await decodeNumbers(path, 'label map');
  const highest = data instanceof Uint16Array ? data.reduce((a, b) => Math.max(a, b), 0) : 0;
  if (highest > 255) {
    throw new DataError(
      `${shown(path)} holds label ${highest} in 16 bits; labels from 0 to 255 are supported`,
      { file: path },
    );
  }
  const labels = data instanceof Uint16Array ? Uint8Array.from(data) : data;
  const map = { data: labels, height, width, orientation };
  return palette ? { ...map, colours: coloursOf(labels, palette) } : map;
}

/**
 * Decodes a depth map: a greyscale PNG file or a NumPy array (.npy, see readNpy), times `scale` metres a unit. What is not above 0, or no number,
 * becomes 0: nothing was measured there. Throws DataError for files that cannot be read, store colours, or measure nothing at all.
 */
export async function decodeDepthMap(
  path: string,
  scale: number,
): Promise<DepthMap & { orientation: number }> {
  const stored = path.toLowerCase().endsWith('.npy')
    ? { ...readNpy(path, readRegular(path, MOST_BYTES)), orientation: 1, palette: undefined }
    : await decodeNumbers(path, 'depth map');
  const { height, width, orientation } = stored;
  if (stored.palette) {
    throw new DataError(`${shown(path)} is no depth map: a PNG with a palette; expected greyscale`, {
      file: path,
    });
  }
  const data = new Float32Array(height * width);
  let measured = false;
  for (let p = 0; p < data.length; p++) {
    const metres = stored.data[p]! * scale;
    if (!(metres > 0 && metres < Number.POSITIVE_INFINITY)) continue;
    data[p] = metres;
    measured = true;
  }
  if (!measured) {
    throw new DataError(
      `${shown(path)} measures no depth: no pixel is above 0; remove it together with its image`,
      { file: path },
    );
  }
  return { data, height, width, orientation };
}

/** The palette's colours of the labels that occur. */
function coloursOf(labels: Uint8Array, palette: Uint8Array): Uint8Array<ArrayBuffer> {
  const colours = new Uint8Array(256 * 4);
  for (const label of labels) colours[4 * label + 3] = 1;
  for (let label = 0; label < 256; label++) {
    if (3 * label + 3 > palette.length) colours[4 * label + 3] = 0;
    else if (colours[4 * label + 3]) colours.set(palette.subarray(3 * label, 3 * label + 3), 4 * label);
  }
  return colours;
}

/** Bytes in which most files have their header. */
const HEAD = 2 ** 16;

/** Size of an image file as its pixels are stored, from its header alone. Throws DataError as decodeImage does. */
export function storedSize(path: string): { height: number; width: number } {
  const head = readRegular(path, MOST_BYTES, HEAD);
  try {
    return readHeader(path, head);
  } catch (error) {
    if (head.length < HEAD) throw error;
    return readHeader(path, readRegular(path, MOST_BYTES));
  }
}

/** The orientation that the EXIF or TIFF tag of an image file names, 1 to 8; 1 without one. Throws DataError as decodeImage does. */
export async function orientationOf(path: string): Promise<number> {
  const bytes = readRegular(path, MOST_BYTES);
  readHeader(path, bytes);
  try {
    return (await (await loadSharp())(bytes).metadata()).orientation ?? 1;
  } catch (error) {
    throw new DataError(`${shown(path)} cannot be read: ${reason(error)}`, { file: path });
  }
}

/** RGB bytes as a PNG file's bytes. */
export async function encodePng(image: RawImage): Promise<Uint8Array> {
  const raw = { width: image.width, height: image.height, channels: 3 as const };
  return (await loadSharp())(image.data, { raw }).png({ compressionLevel: 9 }).toBuffer();
}

/** RGB bytes as a JPEG file's bytes, chroma halved as most photographs have it. */
export async function encodeJpeg(image: RawImage, quality: number): Promise<Uint8Array> {
  const raw = { width: image.width, height: image.height, channels: 3 as const };
  return (await loadSharp())(image.data, { raw }).jpeg({ quality, chromaSubsampling: '4:2:0' }).toBuffer();
}

/** One channel, three times over. */
function repeatGrey(grey: Uint8Array): Uint8Array {
  const out = new Uint8Array(grey.length * 3);
  for (let i = 0, at = 0; i < grey.length; i++, at += 3) {
    const level = grey[i]!;
    out[at] = level;
    out[at + 1] = level;
    out[at + 2] = level;
  }
  return out;
}

/** libvips' message on one line, without its repeated prefixes. */
function reason(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return [...new Set(message.split('\n').filter(Boolean))].join('; '); // libvips says the same for each scan
}

/** A chart as PNG, `scale` times as large in pixels as it says. Its text needs a font on the machine. */
export async function renderSvg(svg: string, scale: number): Promise<Uint8Array> {
  return (await loadSharp())(Buffer.from(svg), { density: 72 * scale })
    .png({ palette: true })
    .toBuffer();
}
