// What the image tests share: reference pictures, small data sets written to a temporary folder, and the compiled sources for threads.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import ts from 'typescript';
import { afterAll } from 'vitest';
import type { ImageSource } from '../../src/images/index.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** `images/` of CAPI_REFERENCE_DIR when that has one, else the copy in test/golden. */
export function referenceImages(): string {
  const other = process.env.CAPI_REFERENCE_DIR;
  return other && existsSync(join(other, 'images'))
    ? join(other, 'images')
    : join(root, 'test/golden/images');
}

/** A folder that is removed after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'capi-images-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes a file, making the folders above it. */
export function put(path: string, bytes: Uint8Array | string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  return path;
}

/** The bytes of an IDX file of unsigned bytes. */
export function idxBytes(sizes: number[], values: ArrayLike<number>): Buffer {
  const header = Buffer.alloc(4 + 4 * sizes.length);
  header.writeUInt32BE(0x800 + sizes.length, 0);
  sizes.forEach((size, d) => {
    header.writeUInt32BE(size, 4 + 4 * d);
  });
  return Buffer.concat([header, Uint8Array.from(values)]);
}

/** Writes an IDX data set: in split s, image i is a filled square of level 100 + i (train) or 200 + i (test), labelled i % 10. */
export function writeIdx(
  folder: string,
  counts: { train: number; test: number },
  gzip: boolean,
  side = 28,
): string {
  for (const [split, prefix] of [
    ['train', 'train'],
    ['test', 't10k'],
  ] as const) {
    const count = counts[split];
    const pixels = new Uint8Array(count * side * side);
    for (let i = 0; i < count; i++) {
      for (let y = 4; y < side - 4; y++) {
        const row = i * side * side + y * side;
        pixels.fill((split === 'train' ? 100 : 200) + i, row + 4, row + side - 4);
      }
    }
    const files = {
      [`${prefix}-images-idx3-ubyte`]: idxBytes([count, side, side], pixels),
      [`${prefix}-labels-idx1-ubyte`]: idxBytes(
        [count],
        Array.from({ length: count }, (_, i) => i % 10),
      ),
    };
    for (const [name, bytes] of Object.entries(files)) {
      put(join(folder, gzip ? `${name}.gz` : name), gzip ? gzipSync(bytes) : bytes);
    }
  }
  return folder;
}

/** The error that `run` throws. */
export async function failure(run: () => unknown): Promise<Error> {
  try {
    await run();
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected an error, there was none');
}

/**
 * The modules that start threads compiled to JavaScript, from which they can: the current sources, whatever `dist` holds.
 */
export async function compiledImages(): Promise<{
  openBatches: typeof import('../../src/images/draw/batches.js').openBatches;
  readAll: typeof import('../../src/images/read/readers.js').readAll;
  findOverlap: typeof import('../../src/images/overlap.js').findOverlap;
  openSource: (uri: string) => Promise<ImageSource>;
}> {
  const out = join(root, 'node_modules/.cache/capi-image-tests', `${process.pid}`);
  afterAll(() => rmSync(out, { recursive: true, force: true }));
  put(join(out, 'package.json'), '{"type": "module"}');
  const src = join(root, 'src');
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' });
  for (const file of files.filter((name) => /^(base\/.*|images\/.*|[^/]*)(?<!\.d)\.ts$/.test(name))) {
    const { outputText } = ts.transpileModule(readFileSync(join(src, file), 'utf8'), {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
    });
    put(join(out, file.replace(/ts$/, 'js')), outputText);
  }
  const load = (file: string) => import(/* @vite-ignore */ pathToFileURL(join(out, 'images', file)).href);
  const used = ['draw/batches.js', 'read/readers.js', 'overlap.js', 'sources/index.js'];
  return Object.assign({}, ...(await Promise.all(used.map(load))));
}
