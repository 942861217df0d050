// Files that are not what their names say: other kinds, bombs, FIFOs, devices, folders, and files that shrink; each is one line, at once.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { deflateSync, gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { readRegular } from '../../../src/base/files/read.js';
import { DataError } from '../../../src/errors.js';
import { MOST_PIXELS } from '../../../src/images/decode/header.js';
import { decodeImage, decodeLabelMap, storedSize } from '../../../src/images/decode/pixels.js';
import { failure, put, temporaryFolder } from '../support.js';
import { chunk } from './png_files.js';
import { writeTiff } from './tiff_files.js';

const folder = temporaryFolder();
const rgb = Uint8Array.from({ length: 8 * 6 * 3 }, (_, i) => (i * 11) % 256);
const picture = sharp(rgb, { raw: { width: 8, height: 6, channels: 3 } });
const gif = await picture.clone().gif().toBuffer();
const avif = await picture.clone().heif({ compression: 'av1' }).toBuffer();
const svg =
  '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="6"><rect width="8" height="6" fill="red"/></svg>';

/** The one line that `run` fails with, which names `path`; it must come within a second. */
async function line(path: string, run: () => unknown): Promise<string> {
  const begin = performance.now();
  const error = await failure(run);
  expect(performance.now() - begin).toBeLessThan(1000);
  expect(error).toBeInstanceOf(DataError);
  expect(error.message).toContain(path);
  expect(error.message).not.toContain('\n');
  return error.message;
}

/** PNG bytes of a size that the pixels may not have: `rows` rows of zeros. */
function png(width: number, height: number, rows: number, [bits, colours] = [8, 0]): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([bits, colours, 0, 0, 0], 8);
  const row = 1 + Math.ceil((width * bits * (colours === 2 ? 3 : 1)) / 8);
  const signature = Buffer.from('89504e470d0a1a0a', 'hex');
  const pixels = chunk('IDAT', deflateSync(Buffer.alloc(rows * row)));
  return Buffer.concat([signature, chunk('IHDR', header), pixels, chunk('IEND', Buffer.alloc(0))]);
}

describe('kinds', () => {
  it('decodes by what a file holds, not by its name', async () => {
    const kinds = {
      png: picture.clone().png(),
      webp: picture.clone().webp({ lossless: true }),
      tiff: picture.clone().tiff({ compression: 'deflate' }),
    };
    for (const [kind, image] of Object.entries(kinds)) {
      const path = put(join(folder, `is-${kind}.jpg`), await image.toBuffer());
      expect((await decodeImage(path)).data, kind).toEqual(rgb);
      expect(storedSize(path)).toMatchObject({ width: 8, height: 6 });
    }
  });

  it.each([
    ['an SVG file', Buffer.from(svg)],
    ['an SVG file', Buffer.from(`<?xml version="1.0"?>\n<!-- a comment -->\n${svg}`)],
    ['a GIF file', gif],
    ['an AVIF or video file', avif],
    ['a gzip file', gzipSync(svg)],
    ['a BMP file', Buffer.from('BM6000')],
    ['a PDF file', Buffer.from('%PDF-1.7\n')],
    ['a Git LFS pointer', Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:0\n')],
    ['a web page', Buffer.from('<!DOCTYPE html><html>404</html>')],
    ['a file of zeros', Buffer.alloc(4096)],
    ['no image file of a known kind', Buffer.from('P6 1 1 255 abc')],
    ['empty', Buffer.alloc(0)],
  ])('refuses %s under any name', async (words, bytes) => {
    for (const name of ['x.png', 'x.jpg', 'x.tif', 'x.webp']) {
      const path = put(join(folder, name), bytes);
      expect(await line(path, () => decodeImage(path))).toContain(`is ${words}`);
      expect(await line(path, () => storedSize(path))).toContain(`is ${words}`);
    }
  });

  it('a file of any kind cut at any place is refused in one line, or has all its pixels', async () => {
    const kinds = [
      picture.clone().png(),
      picture.clone().webp(),
      picture.clone().webp({ lossless: true }),
      picture.clone().tiff({ compression: 'jpeg' }), // its quantisation tables come last
      picture.clone().tiff({ compression: 'deflate', tile: true, tileWidth: 16, tileHeight: 16 }),
      picture.clone().jpeg(),
      picture.clone().jpeg({ progressive: true }),
    ];
    const path = join(folder, 'cut.tif');
    for (const image of kinds) {
      const whole = await image.toBuffer();
      put(path, whole);
      const { data } = await decodeImage(path);
      let refused = 0;
      for (let share = 0; share < 1; share += 0.02) {
        put(path, whole.subarray(0, Math.floor(share * whole.length)));
        const result = await decodeImage(path).catch((error: Error) => error);
        if (result instanceof Error) {
          expect(result).toBeInstanceOf(DataError);
          expect(result.message).toContain(path);
          expect(result.message).not.toContain('\n');
          refused++;
        } else expect(result.data).toEqual(data);
      }
      expect(refused).toBeGreaterThan(45); // of 50; Pillow too reads a PNG file that lacks its last chunk
    }
  });
});

describe('bombs', () => {
  const [side, tall] = [40_000, 65_000];

  it.each([
    ['PNG', png(side, side, 2)],
    ['PNG of 1 bit', png(1e6, 1e6, 2, [1, 0])],
    ['PNG of the largest sizes', png(2 ** 31 - 1, 2 ** 31 - 1, 0)],
    ['WebP', webpOf(16_383, 16_383)],
    ['WebP canvas', webpCanvas(side, side)],
    ['JPEG', jpegOf(tall, tall)],
  ])('%s of a huge size', async (_, bytes) => {
    const path = put(join(folder, 'bomb.png'), bytes);
    expect(await line(path, () => decodeImage(path))).toMatch(
      / is \d+ x \d+ pixels; images of up to 89,478,485/,
    );
    expect(await line(path, () => storedSize(path))).toContain('pixels; images of up to');
  });

  it('TIFF of a huge size, or with tags that lie', async () => {
    const tiff = { width: 8, height: 6, bands: 1, photometric: 1, values: new Uint8Array(48) };
    const huge = writeTiff(join(folder, 'huge.tif'), {
      ...tiff,
      more: [
        [256, [65_000]],
        [257, [65_000]],
      ],
    });
    expect(await line(huge, () => decodeImage(huge))).toContain('65000 x 65000 pixels');
    const path = writeTiff(join(folder, 'lies.tif'), tiff);
    const whole = readFileSync(path);
    const at = whole.readUInt32LE(4);
    for (const [offset, value] of [
      [4, 0xfffffff0], // the directory lies outside
      [at + 2 + 2 * 12 + 4, 0xffffffff], // a tag of 2^32 - 1 values
    ] as const) {
      const bytes = Buffer.from(whole);
      bytes.writeUInt32LE(value, offset);
      put(path, bytes);
      expect(await line(path, () => decodeImage(path))).toContain('TIFF tags are damaged');
    }
    const loop = Buffer.from(whole);
    loop.writeUInt32LE(at, at + 2 + 12 * whole.readUInt16LE(at)); // the directory after this one is this one
    put(path, loop);
    expect((await decodeImage(path)).width).toBe(8);
  });

  it('label maps of a huge size or with a header of another checksum', async () => {
    const path = put(join(folder, 'map.png'), png(side, side, 1));
    expect(await line(path, () => decodeLabelMap(path))).toContain(`${side} x ${side} pixels`);
    const small = png(8, 6, 6);
    small[19] = 4; // the width, without its checksum
    put(path, small);
    expect(await line(path, () => decodeLabelMap(path))).toContain('checksum of its chunk IHDR');
  });

  it('the bound is where Pillow warns', () => {
    expect(MOST_PIXELS).toBe(Math.floor(2 ** 30 / 4 / 3));
  });
});

describe('what is no file', () => {
  it('FIFOs, devices, folders and sockets are named at once', async () => {
    const fifo = join(folder, 'fifo.png');
    execFileSync('mkfifo', [fifo]);
    const zero = join(folder, 'zero.png');
    symlinkSync('/dev/zero', zero);
    const directory = join(folder, 'folder.png');
    mkdirSync(directory);
    const socket = join(folder, 'socket.png');
    const server = createServer().listen(socket);
    await new Promise((resolve) => server.once('listening', resolve));
    for (const [path, words] of [
      [fifo, 'is a FIFO, not a file'],
      [zero, 'is a device, not a file'],
      [directory, 'is a folder, not a file'],
      [socket, 'is a socket, not a file'],
    ] as const) {
      for (const read of [decodeImage, decodeLabelMap, storedSize]) {
        expect(await line(path, () => read(path))).toContain(words);
      }
    }
    server.close();
  });

  it('a file over the limit, and one that is gone', async () => {
    const path = join(folder, 'sparse.png');
    writeFileSync(path, '');
    truncateSync(path, 2 ** 33); // a hole: takes no disk
    expect(await line(path, () => decodeImage(path))).toContain(
      'has 8,589,934,592 bytes; at most 537,919,486',
    );
    const gone = join(folder, 'gone.png');
    expect(await line(gone, () => decodeImage(gone))).toContain('ENOENT');
    expect(readRegular(put(join(folder, 'head.bin'), 'abcdef'), 6, 4).toString()).toBe('abcd');
    expect(await line('head.bin', () => readRegular(join(folder, 'head.bin'), 5))).toContain('6 bytes');
  });
});

/** A lossless WebP header of this size without pixels. */
function webpOf(width: number, height: number): Buffer {
  const bytes = Buffer.alloc(64);
  bytes.write('RIFF', 0, 'latin1');
  bytes.writeUInt32LE(56, 4);
  bytes.write('WEBPVP8L', 8, 'latin1');
  bytes.writeUInt32LE(44, 16);
  bytes[20] = 0x2f;
  bytes.writeUInt32LE((((height - 1) << 14) | (width - 1)) >>> 0, 21);
  return bytes;
}

/** An extended WebP header. */
function webpCanvas(width: number, height: number): Buffer {
  const bytes = Buffer.alloc(64);
  bytes.write('RIFF', 0, 'latin1');
  bytes.writeUInt32LE(56, 4);
  bytes.write('WEBPVP8X', 8, 'latin1');
  bytes.writeUInt32LE(10, 16);
  bytes.writeUIntLE(width - 1, 24, 3);
  bytes.writeUIntLE(height - 1, 27, 3);
  return bytes;
}

/** A JPEG file up to its frame header. */
function jpegOf(width: number, height: number): Buffer {
  const bytes = Buffer.from(
    'ffd8ffe000104a46494600010100000100010000ffc0001108000000000301220002110103110100',
    'hex',
  );
  bytes.writeUInt16BE(height, 25);
  bytes.writeUInt16BE(width, 27);
  return bytes;
}
