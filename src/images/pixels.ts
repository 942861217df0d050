// The only door to sharp: image files to RGB bytes or label maps, and RGB bytes to PNG.

import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import { DataError } from '../errors.js';
import type { LabelMap, RawImage } from './resample.js';

sharp.cache(false); // every image is read once an epoch: caching decoded files only costs memory
sharp.concurrency(1); // several images are decoded side by side instead

/**
 * Decodes an image file (JPEG, PNG, WebP, TIFF) to RGB bytes [height, width, 3]: turned upright by its EXIF tag, grey
 * repeated, CMYK converted, alpha dropped, 16 bits reduced to 8, colour profiles of RGB files ignored (as Pillow does).
 * Throws DataError naming the file when it cannot be read whole (truncated, not an image, an unsupported kind).
 */
export async function decodeImage(path: string): Promise<RawImage> {
  const bytes = await readBytes(path);
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
 * Decodes a label map stored as an 8-bit greyscale image without alpha, each grey level a label.
 * Throws DataError for files that cannot be read and for colour or palette images, whose levels are not labels.
 */
export async function decodeLabelMap(path: string): Promise<LabelMap> {
  const bytes = await readBytes(path);
  let width: number;
  let height: number;
  let data: Buffer;
  let channels: number;
  try {
    const image = sharp(bytes, { failOn: 'truncated', ignoreIcc: true });
    const metadata = await image.metadata();
    channels = metadata.depth === 'uchar' && metadata.space === 'b-w' ? metadata.channels : 0;
    const decoded = await image.toColourspace('b-w').raw().toBuffer({ resolveWithObject: true });
    data = decoded.data;
    width = decoded.info.width;
    height = decoded.info.height;
  } catch (error) {
    throw new DataError(`${path} cannot be decoded: ${reason(error)}`, { file: path });
  }
  if (channels !== 1) {
    throw new DataError(`${path} is no label map: expected an 8-bit greyscale image, one label a pixel`, {
      file: path,
    });
  }
  return { data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength), height, width };
}

/** RGB bytes as a PNG file's bytes. */
export async function encodePng(image: RawImage): Promise<Uint8Array> {
  const raw = { width: image.width, height: image.height, channels: 3 as const };
  return sharp(image.data, { raw }).png({ compressionLevel: 9 }).toBuffer();
}

async function readBytes(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
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
