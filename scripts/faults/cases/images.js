// Image files that are not what they seem: other kinds, bombs, cut files, odd bands and depths, several pictures, no files at all.

import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { chunk, jpegHeader, mapPng, noise, picture, png, svg, tiff, webpHeader } from '../image_bytes.js';

export const part = 'images';

const KNN_RUN = [
  'eval',
  'cls',
  'pixels:8?size=16',
  '--train',
  'folder:data',
  '--test',
  'folder:data',
  '--protocol',
  'knn.yaml',
  '--out',
  'evals',
];
const BAD = 'test/class1/test1_0.png';

async function folders({ dir, make }) {
  await make.classFolders(join(dir, 'data'), { classes: 2, train: 4, test: 2 });
  make.file(join(dir, 'knn.yaml'), make.KNN);
  return join(dir, 'data', BAD);
}

/** A test image of a folder source becomes `content` (bytes, or a function that puts something at the path). */
function image(name, content, says, more = {}) {
  return {
    name,
    make: async (context) => {
      const path = await folders(context);
      rmSync(path);
      if (typeof content === 'function') await content(path);
      else writeFileSync(path, content);
    },
    run: KNN_RUN,
    code: 4,
    says,
    not: /│ knn/,
    within: 20,
    ...more,
  };
}

const deep = (low, high) =>
  Uint16Array.from({ length: 576 }, (_, i) => low + Math.round(((high - low) * i) / 575));
const gif = await picture().gif().toBuffer();
const avif = await picture().heif({ compression: 'av1' }).toBuffer();
const whole = {
  jpg: await picture().jpeg().toBuffer(),
  png: await picture().png().toBuffer(),
  webp: await picture().webp().toBuffer(),
  tif: await picture().tiff({ compression: 'lzw' }).toBuffer(),
  'jpeg-in.tif': await picture().tiff({ compression: 'jpeg' }).toBuffer(),
};
const cut = (kind, share) => whole[kind].subarray(0, Math.floor(whole[kind].length * share));

export const cases = [
  image('an SVG under the name of a PNG', svg(24), /test1_0\.png is an SVG file; JPEG, PNG, WebP and TIFF/, {
    ci: true,
  }),
  image('an SVG that takes minutes to draw', svg(20000), /is an SVG file/, { within: 8 }),
  image('a GIF', gif, /is a GIF file/),
  image('an AVIF', avif, /is an AVIF or video file/),
  image('a PDF', '%PDF-1.7\n1 0 obj', /is a PDF file/),
  image('a gzip file', gzipSync(whole.png), /is a gzip file/),
  image(
    'a Git LFS pointer',
    'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n',
    /is a Git LFS pointer/,
  ),
  image('a web page', '<!DOCTYPE html><title>404</title>', /is a web page/),
  image('a text file', 'no picture', /is no image file of a known kind/),
  image('no bytes', '', /test1_0\.png is empty/, { ci: true }),
  image('a megabyte of zeros', Buffer.alloc(2 ** 20), /is a file of zeros/),
  image(
    'a hole of 8 GiB',
    (path) => {
      writeFileSync(path, '');
      truncateSync(path, 2 ** 33);
    },
    /has 8,589,934,592 bytes/,
    { within: 10, megabytes: 500 },
  ),
  image(
    'a PNG of 60,000 x 60,000 pixels',
    png({ width: 60000, height: 60000, rows: Buffer.alloc(60001) }),
    /is 60000 x 60000 pixels; images of up to/,
    { ci: true, megabytes: 500 },
  ),
  image(
    'a PNG of 2^31 - 1 pixels a side',
    png({ width: 2 ** 31 - 1, height: 2 ** 31 - 1, bits: 1, rows: Buffer.alloc(9) }),
    /pixels; images of up to/,
  ),
  image('a PNG of no pixels', png({ width: 0, height: 5, rows: Buffer.alloc(5) }), /it is 0 x 5 pixels/),
  image(
    'a PNG whose pixels are fewer than its size',
    png({ width: 24, height: 24, rows: Buffer.alloc(100) }),
    /cannot be decoded/,
  ),
  image('a JPEG of 65,000 x 65,000 pixels', jpegHeader(65000, 65000), /is 65000 x 65000 pixels/),
  image('a JPEG of 5 bands', jpegHeader(24, 24, 5), /a JPEG file of 5 bands/),
  image(
    'a WebP of 16,383 x 16,383 pixels',
    webpHeader('VP8L', (b) => {
      b[20] = 0x2f;
      b.writeUInt32LE(((16382 << 14) | 16382) >>> 0, 21);
    }),
    /is 16383 x 16383 pixels/,
  ),
  image(
    'a WebP canvas of 2^24 pixels a side',
    webpHeader('VP8X', (b) => b.fill(0xff, 24, 30)),
    /is 16777216 x 16777216 pixels/,
  ),
  image(
    'a TIFF of 100,000 x 100,000 pixels',
    tiff({ values: noise(576), width: 100000, height: 100000 }),
    /is 100000 x 100000 pixels/,
  ),
  ...Object.keys(whole).flatMap((kind) =>
    [0.05, 0.5, 0.93].map((share) =>
      image(
        `${kind} cut at ${share * 100} %`,
        cut(kind, share),
        /test1_0\.png .*(cannot be decoded|is no image file|is empty)/,
      ),
    ),
  ),
  image('a JPEG without pixels', Buffer.from('ffd8ffd9', 'hex'), /cannot be decoded/),
  image(
    'a PNG with a flipped bit',
    Buffer.from(whole.png.map((v, i) => (i === 200 ? v ^ 4 : v))),
    /cannot be decoded/,
  ),
  image('a TIFF of damaged tags', Buffer.from('49492a00f0ffffff', 'hex'), /TIFF tags are damaged/),
  image('a FIFO', (path) => execFileSync('mkfifo', [path]), /devices, sockets or pipes named as images/, {
    code: 0,
    run: ['data', 'show', 'folder:data?split=test'],
    within: 10,
    not: undefined,
  }),
  image(
    'a link to /dev/zero',
    (path) => symlinkSync('/dev/zero', path),
    /devices, sockets or pipes named as images/,
    {
      code: 0,
      run: ['data', 'show', 'folder:data?split=test'],
      within: 10,
      not: undefined,
    },
  ),
  image('a folder with the name of an image', (path) => mkdirSync(path), /./, { code: 0, not: undefined }),
  image(
    'three pictures in one TIFF',
    tiff({ values: noise(576), pages: 3 }),
    /holds 3 pictures, of which one/,
    { ci: true },
  ),
  image(
    'an animated PNG',
    png({
      width: 24,
      height: 24,
      rows: Buffer.alloc(600),
      before: [chunk('acTL', Buffer.from([0, 0, 0, 4, 0, 0, 0, 0]))],
    }),
    /holds 4 pictures/,
  ),
  image(
    'an animated WebP',
    await sharp(noise(24 * 48 * 3), { raw: { width: 24, height: 48, channels: 3, pageHeight: 24 } })
      .webp()
      .toBuffer(),
    /holds 2 pictures/,
  ),
  image(
    'a TIFF of four bands',
    tiff({ values: noise(2304), bands: 4, extra: [0, 0, 0] }),
    /has 4 bands that are not grey/,
    { ci: true },
  ),
  image(
    'a TIFF of RGB and near infrared',
    tiff({ values: noise(2304), bands: 4, photometric: 2, extra: [0] }),
    /has 4 bands that are not RGB/,
  ),
  image(
    'a TIFF of 12 bands',
    tiff({ values: noise(6912), bands: 12, photometric: 2, extra: new Array(9).fill(0) }),
    /has 12 bands/,
  ),
  image('a TIFF of two bands', tiff({ values: noise(1152), bands: 2 }), /has 2 bands/),
  image('a TIFF in CIELAB', tiff({ values: noise(1728), bands: 3, photometric: 8 }), /is CIELAB/),
  image('a TIFF in YCbCr', tiff({ values: noise(1728), bands: 3, photometric: 6 }), /is YCbCr/),
  image('raw camera data', tiff({ values: noise(576), photometric: 32803 }), /raw camera data/),
  image('12 bits in a TIFF of 16', tiff({ values: deep(0, 4095) }), /16-bit values from 0 to 4095 only/, {
    ci: true,
  }),
  image(
    'a sliver of 16 bits',
    tiff({ values: deep(33000, 34000) }),
    /16-bit values from 33000 to 34000 only/,
  ),
  image(
    '12 bits in a PNG of 16',
    mapPng((x, y) => (x * 170 + y) % 4096, { bits: 16 }),
    /16-bit values from 0 to \d+ only/,
  ),
  image(
    'floats from 0 to 1',
    tiff({ values: Float32Array.from({ length: 576 }, (_, i) => i / 575), format: 3 }),
    /floats from 0 to 1/,
    { ci: true },
  ),
  image(
    'floats that are no numbers',
    tiff({ values: new Float32Array(576).fill(Number.NaN), format: 3 }),
    /576 values that are no finite numbers/,
  ),
  image('doubles', tiff({ values: new Float64Array(576), format: 3 }), /float numbers of 64 bits/),
  image('signed values', tiff({ values: new Int16Array(576), format: 2 }), /signed numbers of 16 bits/),
  image('values of 32 bits', tiff({ values: new Uint32Array(576) }), /unsigned numbers of 32 bits/),
  image('a JPEG under the name of a PNG', whole.jpg, /│ knn/, { code: 0, not: undefined }),
  image('a TIFF under the name of a PNG', whole.tif, /│ knn/, { code: 0, not: undefined }),
  image('a CMYK JPEG', await picture().toColourspace('cmyk').jpeg().toBuffer(), /│ knn/, {
    code: 0,
    not: undefined,
  }),
];
