// IDX files (the format of MNIST and Fashion-MNIST), gzipped or not, as an image source.

import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { constants, gunzip, gunzipSync } from 'node:zlib';
import { readRegular } from '../../base/files/read.js';
import { sha256 } from '../../base/hash.js';
import { DataError } from '../../errors.js';
import type { ImageSource, SourceKind, SourceOptions, SourceUri } from '../source.js';
import { absolute, canonicalUri, SPLIT_OPTION, splitOption } from './uri.js';

export const idx: SourceKind = {
  reads: 'IDX files (MNIST, Fashion-MNIST and kin), gzipped or not',
  place: 'DIR',
  example: 'idx:/usr/share/datasets/fashion-mnist',
  options: SPLIT_OPTION,
  open,
};

const IMAGES_MAGIC = 0x00000803; // unsigned bytes, three dimensions
const LABELS_MAGIC = 0x00000801; // unsigned bytes, one dimension
const PREFIX = { train: 'train', test: 't10k' } as const;
const HOW_TO_GET =
  "expected IDX files such as train-images-idx3-ubyte.gz; on Debian 'apt-get install dataset-fashion-mnist' puts Fashion-MNIST under /usr/share/datasets/fashion-mnist";

/** Labels of Fashion-MNIST; its label files are known by their digest, whatever the folder is called. */
const FASHION_CLASSES =
  'T-shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot'.split(', ');
const FASHION_LABEL_DIGESTS = [
  'bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9', // train, uncompressed
  '0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34', // test
];

/** One split of an IDX data set: grey bytes [count, height, width] and one label an image. */
export interface IdxData {
  images: Uint8Array;
  labels: Uint8Array;
  count: number;
  height: number;
  width: number;
  classes: string[];
  /** SHA-256 over both files, uncompressed. */
  digest(): string;
}

/** Opens `idx:DIR`: grey pictures (as RGB) with labels, splits train and test. Throws DataError. */
async function open(uri: SourceUri, options: SourceOptions): Promise<ImageSource> {
  const split = splitOption(uri, options.split) ?? 'train';
  const { images, labels, count, height, width, classes, digest } = await readIdx(uri.place, split);
  const area = height * width;
  return {
    uri: canonicalUri('idx', absolute(uri.place), { split }),
    split,
    length: count,
    classes,
    nativeSize: { height, width },
    name: (i) => `${split} image ${i}`,
    label: (i) => labels[i],
    async read(i) {
      const data = new Uint8Array(area * 3);
      for (let p = 0; p < area; p++) data.fill(images[i * area + p]!, p * 3, p * 3 + 3);
      return { data, height, width };
    },
    identity: async () => digest(),
  };
}

/** Reads the images and labels of one split from `folder`. Throws DataError naming the file that is missing or wrong. */
export async function readIdx(folder: string, split: 'train' | 'test'): Promise<IdxData> {
  const directory = resolve(folder);
  const found = await stat(directory).catch(() => undefined);
  if (!found?.isDirectory()) {
    throw new DataError(`${directory} is not a folder: ${HOW_TO_GET}`, { folder: directory });
  }
  const images = await readIdxFile(directory, `${PREFIX[split]}-images-idx3-ubyte`, IMAGES_MAGIC);
  const labels = await readIdxFile(directory, `${PREFIX[split]}-labels-idx1-ubyte`, LABELS_MAGIC);
  const [count, height, width] = images.sizes as [number, number, number];
  if (labels.sizes[0] !== count) {
    throw new DataError(
      `${labels.file} has ${labels.sizes[0]} labels but ${images.file} has ${count} images: they are not of one set`,
      { file: labels.file },
    );
  }
  if (count === 0 || height === 0 || width === 0) {
    throw new DataError(`${images.file} holds no images`, { file: images.file });
  }
  const fashion = FASHION_LABEL_DIGESTS.includes(sha256(labels.bytes));
  let highest = 0;
  for (const label of labels.values) highest = Math.max(highest, label);
  return {
    images: images.values,
    labels: labels.values,
    count,
    height,
    width,
    classes: fashion ? FASHION_CLASSES : Array.from({ length: highest + 1 }, (_, i) => `${i}`),
    digest: () => sha256(`${sha256(images.bytes)} ${sha256(labels.bytes)}`),
  };
}

interface IdxFile {
  file: string;
  bytes: Uint8Array;
  sizes: number[];
  values: Uint8Array;
}

/** The most bytes of an IDX file, uncompressed: 1.3 million pictures of 28 x 28 pixels. */
const MOST_BYTES = 2 ** 30;
/** Compressed bytes that hold every header. */
const HEAD = 4096;

async function readIdxFile(directory: string, name: string, magic: number): Promise<IdxFile> {
  // Mirrors of MNIST also write the third dash as a dot.
  const names = [name, name.replace('-idx', '.idx')].flatMap((n) => [`${n}.gz`, n]);
  const file = names.map((candidate) => join(directory, candidate)).find(existsSync);
  if (file === undefined) {
    throw new DataError(`${directory} has no ${name}[.gz]: ${HOW_TO_GET}`, { folder: directory });
  }
  const stored = readRegular(file, MOST_BYTES);
  const zipped = stored[0] === 0x1f && stored[1] === 0x8b;
  try {
    const head = zipped
      ? gunzipSync(stored.subarray(0, HEAD), { finishFlush: constants.Z_SYNC_FLUSH })
      : stored;
    const { sizes, header, length } = readIdxHeader(file, head, magic);
    // one byte more than there may be: enough to see that there are more, no room for a bomb
    const bytes = zipped ? await promisify(gunzip)(stored, { maxOutputLength: length + 1 }) : stored;
    if (bytes.length > length) throw leftOver(file);
    if (bytes.length < length) {
      throw new DataError(
        `${file} is truncated: ${bytes.length} bytes, its header promises ${length}; copy it again`,
        { file },
      );
    }
    return { file, bytes, sizes, values: bytes.subarray(header) };
  } catch (error) {
    if (error instanceof DataError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw leftOver(file);
    throw new DataError(`${file} cannot be decompressed: ${(error as Error).message}; copy it again`, {
      file,
    });
  }
}

function leftOver(file: string): DataError {
  return new DataError(`${file} has bytes left over after those that its header promises; copy it again`, {
    file,
  });
}

/** The sizes that an IDX header names, its own length, and that of the whole file, in bytes. Throws DataError. */
function readIdxHeader(
  file: string,
  bytes: Uint8Array,
  magic: number,
): { sizes: number[]; header: number; length: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const dimensions = magic & 0xff;
  const header = 4 + 4 * dimensions;
  const hex = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`;
  const found = bytes.length >= 4 ? view.getUint32(0) : 0;
  if (found !== magic) {
    throw new DataError(
      `${file} is no IDX file of ${dimensions} dimensions: its magic number is ${bytes.length >= 4 ? hex(found) : 'missing'}, expected ${hex(magic)}`,
      { file },
    );
  }
  if (bytes.length < header) {
    throw new DataError(
      `${file} is truncated: ${bytes.length} bytes, its header has ${header}; copy it again`,
      {
        file,
      },
    );
  }
  const sizes = Array.from({ length: dimensions }, (_, d) => view.getUint32(4 + 4 * d));
  const length = header + sizes.reduce((product, size) => product * size, 1);
  if (length > MOST_BYTES) {
    throw new DataError(
      `${file} promises ${sizes.join(' x ')} values; files of up to ${MOST_BYTES.toLocaleString('en-US')} bytes are read`,
      { file },
    );
  }
  return { sizes, header, length };
}
