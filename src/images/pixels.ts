// The only door to sharp: image files to RGB bytes or label maps, RGB bytes and charts to PNG.

import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { DataError } from '../errors.js';
import { storedNumbers } from './label-png.js';
import type { LabelMap, RawImage } from './resample.js';

sharp.cache(false); // every image is read once an epoch: caching decoded files only costs memory
sharp.concurrency(1); // several images are decoded side by side instead

/**
 * Decodes an image file (JPEG, PNG, WebP, TIFF) to RGB bytes [height, width, 3]: turned upright by its EXIF tag, grey
 * repeated, CMYK converted, alpha dropped, 16 bits reduced to 8, colour profiles of RGB files ignored (as Pillow does).
 * Throws DataError naming the file when it cannot be read whole (truncated, not an image, an unsupported kind).
 */
export async function decodeImage(path: string): Promise<RawImage> {
  const bytes = readBytes(path);
  try {
    const { data, info } = await sharp(bytes, { failOn: 'truncated', ignoreIcc: true })
      .autoOrient()
      .toColourspace('srgb')
      .removeAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    const pixels = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (info.channels === 3) return { data: pixels, height: info.height, width: info.width };
    return { data: repeatGrey(pixels, info.channels), height: info.height, width: info.width };
  } catch (error) {
    throw new DataError(`${path} cannot be decoded: ${reason(error)}`, { file: path });
  }
}

/**
 * Decodes a label map from a PNG file: the palette indices, or the grey levels, as they are stored (1, 2, 4, 8 or 16 bits, interlaced
 * or not; a 1-bit grey file holds the labels 0 and 1). What colours a palette has, and any transparency, does not matter.
 * Throws DataError for files that cannot be read, store colours or alpha, or hold a label over 255.
 */
export async function decodeLabelMap(path: string): Promise<LabelMap> {
  const { bits, png } = storedNumbers(path, readBytes(path));
  const space = bits === 16 ? 'grey16' : 'b-w';
  let decoded: { data: Buffer; info: { width: number; height: number; channels: number } };
  try {
    decoded = await sharp(png, { failOn: 'truncated' })
      .toColourspace(space)
      .raw({ depth: bits === 16 ? 'ushort' : 'uchar' })
      .toBuffer({ resolveWithObject: true });
  } catch (error) {
    throw new DataError(`${path} cannot be decoded: ${reason(error)}`, { file: path });
  }
  const { data, info } = decoded;
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { data: toLabels(path, bytes, bits), height: info.height, width: info.width };
}

/** Decoded grey levels as the numbers that the file stores. */
function toLabels(path: string, bytes: Uint8Array, bits: number): Uint8Array {
  if (bits === 8) return bytes;
  if (bits < 8) {
    const unit = 255 / (2 ** bits - 1);
    return bytes.map((level) => level / unit);
  }
  const wide = new Uint16Array(bytes.slice().buffer);
  const highest = wide.reduce((a, b) => Math.max(a, b), 0);
  if (highest > 255) {
    throw new DataError(`${path} holds label ${highest} in 16 bits; labels from 0 to 255 are supported`, {
      file: path,
    });
  }
  return Uint8Array.from(wide);
}

/** Size of an image file as `decodeImage` gives it, from its header alone. Throws DataError naming the file. */
export async function imageSize(path: string): Promise<{ height: number; width: number }> {
  try {
    return (await sharp(path).metadata()).autoOrient;
  } catch (error) {
    throw new DataError(`${path} cannot be read: ${reason(error)}`, { file: path });
  }
}

/** RGB bytes as a PNG file's bytes. */
export async function encodePng(image: RawImage): Promise<Uint8Array> {
  const raw = { width: image.width, height: image.height, channels: 3 as const };
  return sharp(image.data, { raw }).png({ compressionLevel: 9 }).toBuffer();
}

/** RGB bytes as a JPEG file's bytes, chroma halved as most photographs have it. */
export async function encodeJpeg(image: RawImage, quality: number): Promise<Uint8Array> {
  const raw = { width: image.width, height: image.height, channels: 3 as const };
  return sharp(image.data, { raw }).jpeg({ quality, chromaSubsampling: '4:2:0' }).toBuffer();
}

/** In a reading thread nothing waits but the next image; the five turns of an asynchronous read cost a tenth of the whole work. */
function readBytes(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new DataError(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code ?? reason(error)}`, {
      file: path,
    });
  }
}

/** First of several identical or the only channel, three times over. */
function repeatGrey(pixels: Uint8Array, channels: number): Uint8Array {
  const count = pixels.length / channels;
  const out = new Uint8Array(count * 3);
  for (let i = 0; i < count; i++) {
    const level = pixels[i * channels]!;
    out[i * 3] = level;
    out[i * 3 + 1] = level;
    out[i * 3 + 2] = level;
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
  return sharp(Buffer.from(svg), { density: 72 * scale })
    .png({ palette: true })
    .toBuffer();
}
