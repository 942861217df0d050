// Sources with depth maps: PNG and .npy files that NumPy and Pillow wrote, the layouts of NYU, the order of generated objects, and what is said of files that do not fit.

import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { DataError, UsageError } from '../../../src/errors.js';
import { encodePng, type ImageSource, openSource, readAll } from '../../../src/images/index.js';
import { suiteNeeding } from '../../support/suites.js';
import { python } from '../../support/tools.js';
import { chunk } from '../decode/png_files.js';
import { compiledImages, failure, put, temporaryFolder } from '../support.js';

const base = temporaryFolder();
const image = (width = 6, height = 4) =>
  encodePng({ data: new Uint8Array(width * height * 3).fill(90), width, height });

/** A greyscale PNG of 16 bits with these numbers. */
function png16(numbers: ArrayLike<number>, width: number, height: number, type = 0): Buffer {
  const rows = Buffer.alloc(height * (1 + 2 * width));
  for (let p = 0; p < width * height; p++) {
    rows.writeUInt16BE(numbers[p]!, Math.floor(p / width) * (1 + 2 * width) + 1 + 2 * (p % width));
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([16, type, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** A .npy file with this header and these bytes of values. */
function npy(header: string, values: Uint8Array, version = 1): Buffer {
  const length = Buffer.alloc(version > 1 ? 4 : 2);
  if (version > 1) length.writeUInt32LE(header.length);
  else length.writeUInt16LE(header.length);
  const magic = Buffer.from([0x93, ...Buffer.from('NUMPY'), version, 0]);
  return Buffer.concat([magic, length, Buffer.from(header, 'latin1'), values]);
}
const floats = (values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 6), }\n";

const METRES = Array.from({ length: 24 }, (_, p) => 1 + p / 8);

async function pairsOf(name: string, maps: Record<string, Uint8Array>, width = 6): Promise<string> {
  for (const file of Object.keys(maps)) {
    put(join(base, name, 'i', file.replace(/\.[^.]*$/, '.png')), await image(width));
    put(join(base, name, 'd', file), maps[file]!);
  }
  return `pairs:${join(base, name, 'i')},${join(base, name, 'd')}`;
}

/** What the source says of its first depth map. */
const firstError = async (uri: string): Promise<Error> =>
  failure(async () => (await openSource(uri)).depthMap!(0));

describe('pairs with depth maps', () => {
  it('reads PNG of 16 bits times the metres of a unit, and .npy as it is', async () => {
    const numbers = METRES.map((metres) => metres * 1000);
    const uri = await pairsOf('both', {
      'a.png': png16(numbers, 6, 4),
      'b.npy': npy(HEADER, floats(METRES)),
      'c.npy': npy(HEADER, floats([Number.NaN, -1, Number.POSITIVE_INFINITY, ...METRES.slice(3)]), 2),
    });
    const source = await openSource(`${uri}?depth=0.001`);
    expect(source.labelMap).toBeUndefined();
    expect((await source.depthMap!(0)).data).toEqual(Float32Array.from(numbers, (n) => n * 0.001));
    const metres = await openSource(`${uri}?depth=1`);
    expect((await metres.depthMap!(1)).data).toEqual(Float32Array.from(METRES));
    expect((await metres.depthMap!(2)).data).toEqual(Float32Array.from([0, 0, 0, ...METRES.slice(3)]));
    const again = await openSource(metres.uri);
    expect([again.uri, await again.identity()]).toEqual([metres.uri, await metres.identity()]);
    expect(metres.settings).toMatchObject({ depth: 1, orientation: 'stored' });
  });

  it('are known by their maps, their images by themselves', async () => {
    const uri = `${await pairsOf('known', { 'a.npy': npy(HEADER, floats(METRES)) })}?depth=1`;
    const before = await openSource(uri);
    const [whole, images] = [await before.identity(), await before.imagesIdentity!()];
    await pairsOf('known', { 'a.npy': npy(HEADER, floats([...METRES].reverse())) });
    const after = await openSource(uri);
    expect(await after.imagesIdentity!()).toBe(images);
    expect(await after.identity()).not.toBe(whole);
  });

  it('line up with images: squashed by the nearest neighbour, through threads too', async () => {
    const { openSource, readAll: readInThreads } = await compiledImages();
    const uri = `${await pairsOf('squash', { 'a.npy': npy(HEADER, floats(METRES)) })}?depth=1`;
    const source = await openSource(uri);
    const options = { transform: 'squash', height: 2, width: 3, depthMaps: true } as const;
    for (const workers of [0, 1]) {
      for await (const view of readInThreads(source, undefined, options, { workers })) {
        const at = [7, 9, 11, 19, 21, 23]; // rows 1 and 3, columns 1, 3 and 5
        expect(view.depthMap).toEqual(Float32Array.from(at, (p) => METRES[p]!));
        expect(view.pixels.length).toBe(18);
      }
    }
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['zero.png', png16(new Uint16Array(24), 6, 4), /zero\.png measures no depth: no pixel is above 0/],
    ['nan.npy', npy(HEADER, floats(METRES.map(() => Number.NaN))), /measures no depth/],
    ['size.png', png16(METRES, 5, 4), /size\.png is 5 x 4 pixels but its image .* is 6 x 4$/],
    ['size.npy', npy(HEADER.replace('(4, 6)', '(6, 4)'), floats(METRES)), /is 4 x 6 pixels but its image/],
    [
      'colour.png',
      png16(METRES, 2, 4, 2),
      /is no depth map: a colour PNG; expected greyscale, one depth a pixel$/,
    ],
    ['text.npy', Buffer.from('1 2 3'), /is no \.npy file/],
    ['four.npy', npy(HEADER, floats(METRES), 4), /is of version 4 of the \.npy format; 1 to 3 are read/],
    ['order.npy', npy(HEADER.replace('False', 'True'), floats(METRES)), /is in Fortran order/],
    [
      'big.npy',
      npy(HEADER.replace('<f4', '>f4'), floats(METRES)),
      /holds >f4; little-endian float32, float64 and uint16/,
    ],
    ['int.npy', npy(HEADER.replace('<f4', '<i8'), floats([...METRES, ...METRES])), /holds <i8/],
    ['objects.npy', npy(HEADER.replace('<f4', '|O'), floats(METRES)), /holds \|O/],
    [
      'struct.npy',
      npy(HEADER.replace("'<f4'", "[('z', '<f4')]"), floats(METRES)),
      /no header of an array of numbers/,
    ],
    [
      'flat.npy',
      npy(HEADER.replace('(4, 6)', '(24,)'), floats(METRES)),
      /has the shape \(24,\); expected height and width/,
    ],
    [
      'cut.npy',
      npy(HEADER, floats(METRES.slice(1))),
      /has 92 bytes of values where its shape \(4, 6\) needs 96/,
    ],
    ['head.npy', npy(HEADER, floats(METRES)).subarray(0, 40), /is cut short/],
    [
      'bomb.npy',
      npy(HEADER.replace('(4, 6)', '(400000, 600000)'), floats(METRES)),
      /images of up to 89,478,485 pixels/,
    ],
  ])('%s is one line', async (name, bytes, says) => {
    const error = await firstError(`${await pairsOf(`bad-${name}`, { [name]: bytes })}?depth=1`);
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toMatch(says);
    expect(error.message).not.toContain('\n');
  });

  it('says which partners are missing', async () => {
    const uri = await pairsOf('missing', {
      'a.npy': npy(HEADER, floats(METRES)),
      'b.png': png16(METRES, 6, 4),
    });
    rmSync(join(base, 'missing/d/a.npy'));
    put(join(base, 'missing/d/c.npy'), npy(HEADER, floats(METRES)));
    put(join(base, 'missing/d/e.jpg'), 'x');
    const { message } = await failure(() => openSource(`${uri}?depth=1`));
    expect(message).toMatch(
      /1 images without a depth map in .*\(a\.png\); 1 depth maps without an image in .*\(c\.npy\)/,
    );
    expect(message).toMatch(/1 files beside the depth maps that are no PNG or \.npy \(e\.jpg\)/);
  });

  it.each([
    ['depth=0', /depth=0; it must be the metres of a unit/],
    ['depth=x', /depth=x; it must be a number/],
    ['depth=1&classes=3', /has depth and classes: its maps hold depth or labels/],
    ['depth=1&ignore=3', /has depth and ignore/],
  ])('%s is refused', async (query, says) => {
    const error = await failure(() => openSource(`pairs:/a,/b?${query}`));
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toMatch(says);
  });
});

describe('NYU Depth v2', () => {
  const SCENES = ['kitchen_0028b/rgb_00045', 'attic_1/rgb_00003', 'attic_1/rgb_00020'];
  const numbers = METRES.map((_, p) => 800 + p);
  const depthOf = (name: string) => `${name.replace('rgb_', 'sync_depth_')}.png`;

  async function layout(folder: string, below: string): Promise<string> {
    for (const name of SCENES) {
      put(join(base, folder, below, `${name}.jpg`), await image());
      put(join(base, folder, below, depthOf(name)), png16(numbers, 6, 4));
    }
    return join(base, folder);
  }
  const lines = (slash = '') =>
    SCENES.map((name) => `${slash}${name}.jpg ${slash}${depthOf(name)} 518.8579\n`).join('');
  const names = (source: ImageSource) =>
    Array.from({ length: source.length }, (_, i) => source.name(i).slice(base.length + 1));

  it.each([
    ['train', '', 'nyu_train.txt', '/'],
    ['train', 'sync', 'nyudepthv2_train_files_with_gt.txt', '/'],
    ['test', 'test', 'nyu_test.txt', ''],
    ['test', 'official_splits/test', 'nyudepthv2_test_files_with_gt.txt', ''],
  ])('reads the %s list of files in DIR/%s, in its order', async (split, below, list, slash) => {
    const folder = `nyu-${split}-${below.length}`;
    const root = await layout(folder, below);
    put(join(root, list), lines(slash));
    const source = await openSource(`nyu:${root}?split=${split}`);
    expect(names(source)).toEqual(SCENES.map((name) => join(folder, below, `${name}.jpg`)));
    const depth = await source.depthMap!(0);
    expect(depth.data).toEqual(Float32Array.from(numbers, (n) => n * 0.001)); // stored in millimetres
    expect(source.nativeSize).toEqual({ height: 480, width: 640 });
  });

  it('finds the files without a list', async () => {
    const source = await openSource(`nyu:${await layout('nyu-bare', 'test')}`, { split: 'test' });
    expect(names(source)).toEqual([...SCENES].sort().map((name) => `nyu-bare/test/${name}.jpg`));
  });

  it('says what is missing', async () => {
    const root = await layout('nyu-missing', 'test');
    expect((await failure(() => openSource(`nyu:${root}`))).message).toMatch(
      /has no train images: expected nyu_train\.txt with lines 'SCENE\/rgb_00045\.jpg SCENE\/sync_depth_00045\.png 518\.8579'/,
    );
    rmSync(join(root, 'test', depthOf(SCENES[1]!)));
    expect((await failure(() => openSource(`nyu:${root}?split=test`))).message).toMatch(
      /1 images without a depth map \(attic_1\/rgb_00003\.jpg\)/,
    );
    put(join(root, 'nyu_test.txt'), lines());
    expect((await failure(() => openSource(`nyu:${root}?split=test`))).message).toMatch(
      /nyu_test\.txt does not fit .*: 1 files that are not there \(test\/attic_1\/sync_depth_00003\.png\)/,
    );
    put(join(root, 'nyu_test.txt'), 'rgb.jpg\n');
    expect((await failure(() => openSource(`nyu:${root}?split=test`))).message).toMatch(
      /has the line 'rgb\.jpg'/,
    );
  });
});

describe('generated scenes', () => {
  it.each([0, 0.5, 1])(
    'at difficulty %f objects lie before the wall, the foremost nearest',
    async (difficulty) => {
      const source = await openSource(`synthetic:scenes?difficulty=${difficulty}&count=40`);
      const again = await openSource(source.uri);
      let several = 0;
      for (let i = 0; i < source.length; i++) {
        const [depth, labels] = [await source.depthMap!(i), await source.labelMap!(i)];
        expect((await again.depthMap!(i)).data).toEqual(depth.data);
        const ofLabel = new Set(depth.data.filter((_, p) => labels.data[p]! > 0));
        const [low, high] = [1, 10]; // the wall
        for (const metres of ofLabel) expect(metres >= low && metres < high).toBe(true);
        // where no object lies, a decoy or the wall does
        if (difficulty === 0)
          expect(new Set(depth.data.filter((_, p) => labels.data[p] === 0))).toEqual(new Set([10]));
        // the main object is drawn last, over all others: its class has the least depth
        const main = depth.data.filter((_, p) => labels.data[p] === source.label!(i)! + 1);
        expect(Math.min(...main)).toBe(Math.min(...depth.data));
        if (ofLabel.size > 1) several++;
      }
      if (difficulty === 1) expect(several).toBeGreaterThan(10);
    },
  );

  it('keep their identity: depth follows from the places that are drawn anyway', async () => {
    // written down before scenes had depth
    const source = await openSource('synthetic:scenes?size=48&difficulty=0&seed=3&count=77');
    expect(await source.identity()).toBe('367e463efd364bf9fd3b51db21bd40b2064cff755a9c1dd6ce7852dde3b37cde');
  });

  it('line up with their labels when read for an evaluation', async () => {
    const source = await openSource('synthetic:scenes?size=64&count=3&difficulty=0');
    const options = { transform: 'squash', height: 32, width: 32, labelMaps: true, depthMaps: true } as const;
    for await (const { depthMap, labelMap } of readAll(source, undefined, options)) {
      depthMap!.forEach((metres, p) => {
        expect(metres < 10).toBe(labelMap![p]! > 0);
      });
    }
  });
});

suiteNeeding('fashion-mnist')('garments', () => {
  it('lie before the wall, the main one nearest', async () => {
    const source = await openSource('fashion-scenes:/usr/share/datasets/fashion-mnist?difficulty=1&count=20');
    for (let i = 0; i < source.length; i++) {
      const [depth, labels] = [await source.depthMap!(i), await source.labelMap!(i)];
      depth.data.forEach((metres, p) => {
        expect(metres < 10).toBe(labels.data[p]! > 0);
      });
      const main = depth.data.filter((_, p) => labels.data[p] === source.label!(i)! + 1);
      expect(Math.min(...main)).toBe(Math.min(...depth.data));
    }
  });
});

suiteNeeding('python')('files that NumPy and Pillow write', () => {
  it('give the numbers that NumPy holds', async () => {
    const script = `
import sys
import numpy as np
from numpy.lib import format
from PIL import Image
out = sys.argv[1]
r = np.random.default_rng(0)
for k, (kind, version) in enumerate([('<f4', (1, 0)), ('<f8', (2, 0)), ('<u2', (3, 0)), ('<f4', None)]):
    a = (r.random((4, 6)) * 9 + 1).astype(kind)
    if k == 3: a = a[..., None]
    with open(f'{out}/d/{k}.npy', 'wb') as f: format.write_array(f, a, version)
    a.astype('<f4').tofile(f'{out}/{k}.raw')
deep = r.integers(1, 65536, (4, 6)).astype('<u2')
Image.fromarray(deep).save(f'{out}/d/4.png')
(deep * 0.001).astype('<f4').tofile(f'{out}/4.raw')
`;
    const folder = join(base, 'numpy');
    for (const k of [0, 1, 2, 3, 4]) put(join(folder, `i/${k}.png`), await image());
    put(join(folder, 'd/keep.txt'), '');
    const { status, stderr } = spawnSync(python, ['-c', script, folder], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
    for (const k of [0, 1, 2, 3, 4]) {
      const uri = `pairs:${join(folder, 'i')},${join(folder, 'd')}?depth=${k === 4 ? 0.001 : 1}`;
      const raw = readFileSync(join(folder, `${k}.raw`));
      const expected = new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length));
      expect((await (await openSource(uri)).depthMap!(k)).data).toEqual(expected);
    }
  });
});
