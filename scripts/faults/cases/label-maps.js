// Label maps and IDX files that are not what they seem: colours, palettes, turned pictures, bombs, cut and damaged files.

import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { chunk, idx, mapPng, noise, picture, png, put, svg } from '../image_bytes.js';

export const part = 'label-maps';

const SEG = 'pairs:data/images,data/labels?classes=4';
const SEG_RUN = [
  'eval',
  'seg',
  'pixels:8?size=32',
  '--train',
  SEG,
  '--test',
  SEG,
  '--protocol',
  'logreg.yaml',
  '--out',
  'evals',
];

async function pairs({ dir, make }) {
  await make.pairs(join(dir, 'data'), { train: 4, test: 2 });
  make.file(join(dir, 'logreg.yaml'), make.LOGREG);
  return join(dir, 'data');
}

/** A pairs source is changed at its root. */
function map(name, change, says, more = {}) {
  return {
    name,
    make: async (context) => change(await pairs(context), context),
    run: SEG_RUN,
    code: 4,
    says,
    not: /│ logreg/,
    within: 20,
    ...more,
  };
}

const jpeg = await picture().jpeg().toBuffer();
const mapFile = (root) => join(root, 'labels/test/test1.png');
const square = (x, y) => (x >= 8 && x < 24 && y >= 8 && y < 24 ? 2 : 0);
/** An IDX set of 10 images whose training images are `content`. */
function idxCase(name, content, says, more = {}) {
  return {
    name: `IDX: ${name}`,
    make: ({ dir }) => {
      for (const prefix of ['train', 't10k']) {
        put(join(dir, 'idx', `${prefix}-images-idx3-ubyte.gz`), gzipSync(idx([10, 8, 8], noise(640))));
        put(
          join(dir, 'idx', `${prefix}-labels-idx1-ubyte.gz`),
          gzipSync(
            idx(
              [10],
              noise(10).map((v) => v % 3),
            ),
          ),
        );
      }
      content(dir);
    },
    run: ['data', 'show', 'idx:idx'],
    code: 4,
    says,
    within: 10,
    megabytes: 400,
    ...more,
  };
}
const train = 'idx/train-images-idx3-ubyte.gz';

/** Images with an EXIF orientation; label maps stay on the stored pixels. */
const turned = (orientation, change) => async (root) => {
  for (const [p, count] of [
    ['train', 4],
    ['test', 2],
  ]) {
    for (let i = 0; i < count; i++) {
      const path = join(root, `images/${p}/${p}${i}.png`);
      const bytes = await sharp(readFileSync(path))
        .webp({ lossless: true })
        .withMetadata({ orientation })
        .toBuffer();
      rmSync(path);
      put(join(root, `images/${p}/${p}${i}.webp`), bytes);
    }
  }
  await change?.(root);
};

/** The scores of a run's table, without its paths. */
const scores = (text) =>
  text
    .split('\n')
    .filter((line) => line.startsWith('│ logreg'))
    .join('\n');

export const cases = [
  map(
    'a map of colours',
    async (root) => writeFileSync(mapFile(root), await picture().png().toBuffer()),
    /is no label map: a colour PNG/,
    { ci: true },
  ),
  map(
    'a map with alpha',
    (root) =>
      writeFileSync(mapFile(root), png({ width: 32, height: 32, colours: 4, rows: Buffer.alloc(32 * 65) })),
    /greyscale with alpha PNG/,
  ),
  map(
    'a JPEG under the name of a map',
    (root) => writeFileSync(mapFile(root), jpeg),
    /test1\.png is no PNG file/,
  ),
  map('a JPEG beside the maps', (root) => writeFileSync(join(root, 'labels/test/other.jpg'), jpeg), /no PNG/),
  map(
    'an SVG under the name of a map',
    (root) => writeFileSync(mapFile(root), svg(32)),
    /test1\.png is no PNG file/,
  ),
  map('a map of no bytes', (root) => writeFileSync(mapFile(root), ''), /is no PNG file/),
  map('a map cut short', (root) => writeFileSync(mapFile(root), mapPng(square).subarray(0, 60)), /cut short/),
  map(
    'a map with a flipped bit',
    (root) => {
      const bytes = mapPng(square);
      bytes[45] ^= 8;
      writeFileSync(mapFile(root), bytes);
    },
    /the checksum of its chunk IDAT is wrong/,
    { ci: true },
  ),
  map(
    'a map with another height in its header',
    (root) => {
      const bytes = mapPng(square);
      bytes[23] = 16;
      writeFileSync(mapFile(root), bytes);
    },
    /the checksum of its chunk IHDR is wrong/,
  ),
  map(
    'a map of 40,000 x 40,000 pixels',
    (root) => writeFileSync(mapFile(root), png({ width: 40000, height: 40000, rows: Buffer.alloc(40001) })),
    /is 40000 x 40000 pixels/,
    { megabytes: 600 },
  ),
  map(
    'label 300 in 16 bits',
    (root) =>
      writeFileSync(
        mapFile(root),
        mapPng((x) => (x === 3 ? 300 : 0), { bits: 16 }),
      ),
    /holds label 300 in 16 bits/,
  ),
  map(
    'a label that is no class',
    (root) =>
      writeFileSync(
        mapFile(root),
        mapPng(() => 77),
      ),
    /holds the label 77/,
  ),
  map(
    'a map of another size',
    (root) => writeFileSync(mapFile(root), mapPng(square, { width: 24 })),
    /is 24 x 32 pixels but its image/,
    { ci: true },
  ),
  map(
    'a map that is a FIFO',
    (root) => {
      rmSync(mapFile(root));
      execFileSync('mkfifo', [mapFile(root)]);
    },
    /test1/,
    { within: 10 },
  ),
  map(
    'palettes that differ',
    (root) => {
      const [red, green, black] = [
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 0],
      ];
      writeFileSync(mapFile(root), mapPng(square, { palette: [black, red, green] }));
      writeFileSync(join(root, 'labels/test/test0.png'), mapPng(square, { palette: [black, green, red] }));
    },
    /has another palette than .*: label 2 is #/,
    { ci: true },
  ),
  map(
    'palettes that differ between training and test set',
    (root) => {
      for (const [file, green] of [
        ['train/train0', 90],
        ['train/train1', 90],
        ['train/train2', 90],
        ['train/train3', 90],
        ['test/test0', 200],
        ['test/test1', 200],
      ]) {
        const palette = [
          [0, 0, 0],
          [9, 9, 9],
          [0, green, 0],
        ];
        writeFileSync(join(root, `labels/${file}.png`), mapPng(square, { palette }));
      }
    },
    /has another palette than .*: label 2 is #00c800 here and #005a00 there/,
  ),
  map(
    'palettes that differ where no label is',
    (root) => {
      writeFileSync(
        mapFile(root),
        mapPng(square, {
          palette: [
            [0, 0, 0],
            [9, 9, 9],
            [0, 255, 0],
          ],
        }),
      );
      writeFileSync(
        join(root, 'labels/test/test0.png'),
        mapPng(square, {
          palette: [
            [0, 0, 0],
            [7, 7, 7],
            [0, 255, 0],
            [1, 1, 1],
          ],
        }),
      );
    },
    /│ logreg/,
    { code: 0, not: undefined },
  ),
  map(
    'a map that carries an orientation of its own',
    (root) => {
      const exif = Buffer.from('4d4d002a00000008000101120003000000010006000000000000', 'hex');
      writeFileSync(mapFile(root), mapPng(square, { before: [chunk('eXIf', exif)] }));
    },
    /has the EXIF orientation 6 but its image/,
  ),
  map(
    'a map drawn on the turned picture',
    turned(6, async (root) => {
      put(
        join(root, 'images/test/test1.webp'),
        await sharp(noise(32 * 16 * 3), { raw: { width: 32, height: 16, channels: 3 } })
          .webp()
          .withMetadata({ orientation: 6 })
          .toBuffer(),
      );
      writeFileSync(
        mapFile(root),
        mapPng(() => 1, { width: 16, height: 32 }),
      );
    }),
    /fits only once turned by the EXIF tag \(orientation 6\)/,
    { ci: true },
  ),
  {
    name: 'images with an EXIF orientation score as those without',
    make: async (context) => turned(3)(await pairs(context)),
    run: async ({ dir, capi, make }) => {
      await make.pairs(join(dir, 'plain/data'), { train: 4, test: 2 });
      const plain = await capi(SEG_RUN.map((word) => word.replaceAll('data/', 'plain/data/')));
      const result = await capi(SEG_RUN);
      return {
        ...result,
        stdout: `${result.stdout}\nequal: ${scores(plain.stdout) === scores(result.stdout) && scores(result.stdout) !== ''}`,
      };
    },
    code: 0,
    says: /equal: true/,
    within: 40,
  },

  idxCase(
    'a gzip bomb',
    (dir) => put(join(dir, train), gzipSync(idx([10, 8, 8], Buffer.alloc(2 ** 29)))),
    /has bytes left over/,
    { ci: true, within: 15 },
  ),
  idxCase(
    'a header that promises 2^32 - 1 images',
    (dir) => put(join(dir, train), gzipSync(idx([0xffffffff, 28, 28], noise(640)))),
    /promises 4294967295 x 28 x 28 values/,
  ),
  idxCase(
    'a header that promises more than there is',
    (dir) => put(join(dir, train), gzipSync(idx([60000, 28, 28], noise(640)))),
    /is truncated/,
  ),
  idxCase(
    'another magic number',
    (dir) => put(join(dir, train), gzipSync(Buffer.alloc(656))),
    /magic number is 0x00000000/,
  ),
  idxCase(
    'other counts of images and labels',
    (dir) => put(join(dir, train), gzipSync(idx([9, 8, 8], noise(576)))),
    /has 10 labels but .* has 9 images/,
  ),
  idxCase(
    'bytes left over',
    (dir) => put(join(dir, train), gzipSync(idx([10, 8, 8], noise(700)))),
    /has bytes left over/,
  ),
  idxCase(
    'a gzip file cut short',
    (dir) => put(join(dir, train), gzipSync(idx([10, 8, 8], noise(640))).subarray(0, 300)),
    /cannot be decompressed/,
  ),
  idxCase(
    'no gzip file but its magic number',
    (dir) => put(join(dir, train), Buffer.from('1f8b0000', 'hex')),
    /cannot be decompressed/,
  ),
  idxCase(
    'a FIFO',
    (dir) => {
      rmSync(join(dir, train));
      execFileSync('mkfifo', [join(dir, train)]);
    },
    /is a FIFO/,
  ),
  idxCase(
    'a link to /dev/zero',
    (dir) => {
      rmSync(join(dir, train));
      symlinkSync('/dev/zero', join(dir, train));
    },
    /is a device/,
  ),
  idxCase(
    'no images',
    (dir) => put(join(dir, train), gzipSync(idx([0, 8, 8], Buffer.alloc(0)))),
    /labels but|holds no images/,
  ),
];
