// Image and label files by hand, byte by byte: PNG, TIFF and IDX files that no library writes.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { deflateSync } from 'node:zlib';
import sharp from 'sharp';

const SIZE = { width: 24, height: 24 };
export const noise = (length) => Uint8Array.from({ length }, (_, i) => (i * 2654435761) >>> 13);
export const picture = () => sharp(noise(24 * 24 * 3), { raw: { ...SIZE, channels: 3 } });

export function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** A PNG chunk. */
export function chunk(type, body = Buffer.alloc(0)) {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), body]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(body.length);
  sum.writeUInt32BE(crc32(named));
  return Buffer.concat([length, named, sum]);
}

/** A PNG file by hand: size, depth, colour type, filtered rows, and chunks before the pixels. */
export function png({ width, height, bits = 8, colours = 0, rows, before = [] }) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([bits, colours, 0, 0, 0], 8);
  const signature = Buffer.from('89504e470d0a1a0a', 'hex');
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    ...before,
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND'),
  ]);
}

/** A label map of 32 x 32 pixels by hand, with the palette and the chunks that are asked for. */
export function mapPng(labels, { palette, before = [], bits = 8, width = 32, height = 32 } = {}) {
  const stride = 1 + (width * bits) / 8;
  const rows = Buffer.alloc(height * stride);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (bits === 16) rows.writeUInt16BE(labels(x, y), y * stride + 1 + 2 * x);
      else rows[y * stride + 1 + x] = labels(x, y);
    }
  }
  const chunks = palette ? [chunk('PLTE', Buffer.from(palette.flat())), ...before] : before;
  return png({ width, height, bits, colours: palette ? 3 : 0, rows, before: chunks });
}

/** A TIFF file of one picture, by hand: 24 x 24 pixels of `bands` values. */
export function tiff({
  values,
  bands = 1,
  photometric = 1,
  format = 1,
  extra,
  pages = 1,
  width = 24,
  height = 24,
}) {
  const data = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  const tags = [
    [256, 4, [width]],
    [257, 4, [height]],
    [258, 3, new Array(bands).fill(8 * values.BYTES_PER_ELEMENT)],
    [259, 3, [1]],
    [262, 3, [photometric]],
    [273, 4, [8]],
    [277, 3, [bands]],
    [278, 4, [height]],
    [279, 4, [data.length]],
    ...(extra ? [[338, 3, extra]] : []),
    [339, 3, new Array(bands).fill(format)],
  ];
  const size = 2 + 12 * tags.length + 4 + 400;
  const start = Buffer.from('49492a0000000000', 'hex');
  const first = 8 + data.length + (data.length & 1);
  start.writeUInt32LE(first, 4);
  const directories = Array.from({ length: pages }, (_, page) => {
    const at = first + page * size;
    const bytes = Buffer.alloc(size);
    let free = 2 + 12 * tags.length + 4;
    bytes.writeUInt16LE(tags.length);
    tags.forEach(([tag, type, list], i) => {
      const entry = 2 + 12 * i;
      bytes.writeUInt16LE(tag, entry);
      bytes.writeUInt16LE(type, entry + 2);
      bytes.writeUInt32LE(list.length, entry + 4);
      const width = type === 3 ? 2 : 4;
      let to = entry + 8;
      if (list.length * width > 4) {
        bytes.writeUInt32LE(at + free, entry + 8);
        to = free;
        free += list.length * width;
      }
      for (const [k, v] of list.entries()) bytes.writeUIntLE(v, to + k * width, width);
    });
    if (page + 1 < pages) bytes.writeUInt32LE(at + size, 2 + 12 * tags.length);
    return bytes;
  });
  return Buffer.concat([start, data, Buffer.alloc(data.length & 1), ...directories]);
}

export function webpHeader(name, write) {
  const bytes = Buffer.alloc(64);
  bytes.write('RIFF', 0, 'latin1');
  bytes.writeUInt32LE(56, 4);
  bytes.write(`WEBP${name}`, 8, 'latin1');
  bytes.writeUInt32LE(44, 16);
  write(bytes);
  return bytes;
}

export function jpegHeader(width, height, bands = 3) {
  const bytes = Buffer.from('ffd8ffc00011080000000003012200021101031101', 'hex');
  bytes.writeUInt16BE(height, 7);
  bytes.writeUInt16BE(width, 9);
  bytes[11] = bands;
  return bytes;
}

export const svg = (size) =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}"><filter id="f"><feTurbulence numOctaves="9"/></filter><rect width="100%" height="100%" filter="url(#f)"/></svg>`;
export const put = (path, bytes) => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
};
export const idx = (sizes, values) => {
  const header = Buffer.alloc(4 + 4 * sizes.length);
  header.writeUInt32BE(0x800 + sizes.length);
  for (const [i, size] of sizes.entries()) header.writeUInt32BE(size, 4 + 4 * i);
  return Buffer.concat([header, values]);
};
