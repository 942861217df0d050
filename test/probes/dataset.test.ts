// Evaluation data: features are those of the encoder on Pillow's images, computed once, resumed, of exactly the chosen images; labels patch by patch.
import { copyFileSync, mkdirSync, readdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readSafetensors } from '../../src/base/safetensors.js';
import type { FrozenEncoder } from '../../src/encoder/frozen.js';
import { openFrozen } from '../../src/encoder/open_frozen.js';
import { DataError, InterruptedError, UsageError } from '../../src/errors.js';
import {
  type ImageSource,
  openSource,
  resizeAndCenterCrop,
  resizeBicubic,
  resizeNearest,
} from '../../src/images/index.js';
import {
  chooseData,
  type EvaluationData,
  featuresKey,
  featuresOf,
  type InputTransform,
  patchMapsOf,
  transformFor,
} from '../../src/probes/dataset.js';
import { referenceImages, temporaryFolder } from '../images/support.js';
import { engines } from '../support/engines.js';

const engine = await engines[0]!.open();
const folder = temporaryFolder();
const SCENES = 'synthetic:scenes?size=32&count=11';
const SQUASH: InputTransform = { kind: 'squash' };

let store = '';
let stores = 0;
const opened: { close(): Promise<void> }[] = [];
beforeEach(() => {
  store = join(folder, `store-${++stores}`);
});
afterEach(async () => {
  for (const file of opened.splice(0)) await file.close();
});

/** An encoder with all three kinds of features, each telling of its own image alone; counts its calls. */
function toy(batch: number, size = { height: 24, width: 16 }, patch = 8) {
  const grid = { rows: size.height / patch, columns: size.width / patch };
  const bytes = size.height * size.width * 3;
  const sums = (images: Uint8Array, pieces: number, width: number) => {
    const length = Math.floor(bytes / pieces);
    return Float32Array.from({ length: batch * pieces * width }, (_, at) => {
      const piece = Math.floor(at / width);
      const from = Math.floor(piece / pieces) * bytes + (piece % pieces) * length;
      return images.subarray(from, from + length).reduce((a, b, i) => a + b * ((i + at) % width), 0);
    });
  };
  const calls = { count: 0 };
  const encoder: FrozenEncoder = {
    name: 'toy',
    kind: 'pixels',
    weightsHash: 'toy',
    size,
    patch,
    grid,
    mean: [0, 0, 0],
    std: [1, 1, 1],
    patchWidth: 3,
    globalWidth: 5,
    registers: { count: 2, width: 4 },
    batch,
    async run(images) {
      calls.count++;
      expect(images.length).toBe(batch * bytes);
      return {
        patches: sums(images, grid.rows * grid.columns, 3),
        global: sums(images, 1, 5),
        registers: sums(images, 2, 4),
      };
    },
    close: async () => {},
  };
  return { encoder, calls };
}

async function features(encoder: FrozenEncoder, data: EvaluationData, transform = SQUASH, watch = {}) {
  const found = await featuresOf(encoder, data, transform, store, watch);
  opened.push(found);
  return found;
}

async function labels(encoder: FrozenEncoder, data: EvaluationData, watch = {}) {
  const found = await patchMapsOf('labels', encoder, data, store, watch);
  opened.push(found);
  return found;
}

describe('chooseData', () => {
  it('takes all images, or a limited number spread evenly over the source', async () => {
    const source = await openSource(SCENES);
    expect([...(await chooseData(source, null)).indices]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect([...(await chooseData(source, 100)).indices]).toHaveLength(11);
    expect([...(await chooseData(source, 4)).indices]).toEqual([0, 2, 5, 8]); // floor of i * 11 / 4
    expect((await chooseData(source, 4)).identity).toBe(await source.identity());
    await expect(chooseData({ ...source, length: 0 }, null)).rejects.toThrow(/holds no images/);
  });
});

describe('featuresOf', () => {
  it.each<[InputTransform, string]>([
    [{ kind: 'resize-crop', shorter: 256 / 224 }, 'tall.png.resize256'],
    [SQUASH, 'tall.png.squash'],
  ])('are those of the image that Pillow makes (%o)', async (transform, name) => {
    mkdirSync(join(folder, 'tall'), { recursive: true });
    copyFileSync(join(referenceImages(), 'tall.png'), join(folder, 'tall/tall.png'));
    const { tensors } = await readSafetensors(join(referenceImages(), 'pillow.safetensors'));
    const [, image] = [...tensors].find(([key]) => key.startsWith(name))!;
    const [height, width] = image.shape as [number, number];
    const encoder = await openFrozen(`pixels:8?size=${height}x${width}`, { engine, batch: 1 });
    const found = await features(
      encoder,
      await chooseData(await openSource(`folder:${folder}/tall`), null),
      transform,
    );
    expect((await found.read(0, 1)).patches).toEqual((await encoder.run(image.data as Uint8Array)).patches);
  });

  it.each<InputTransform>([SQUASH, { kind: 'resize-crop', shorter: 1.25 }])(
    'are all parts of the encoder run on one image after another (%o)',
    async (transform) => {
      const source = await openSource(SCENES);
      const data = await chooseData(source, 7);
      const one = toy(1).encoder;
      const found = await features(toy(3).encoder, data, transform); // batches of 3, 3 and 1
      const { patches, global, registers } = await found.read(0, 7);
      for (const [place, i] of data.indices.entries()) {
        const image = await source.read(i);
        const input =
          transform.kind === 'squash' ? resizeBicubic(image, 24, 16) : resizeAndCenterCrop(image, 30, 24, 16); // 1.25 times the longer side
        const want = await one.run(input.data);
        expect(patches.subarray(place * 18, (place + 1) * 18)).toEqual(want.patches);
        expect(global!.subarray(place * 5, (place + 1) * 5)).toEqual(want.global);
        expect(registers!.subarray(place * 8, (place + 1) * 8)).toEqual(want.registers);
      }
      const part = await found.read(5, 2);
      expect(part.patches).toEqual(patches.subarray(5 * 18));
      expect(found.patches.count).toBe(7 * 6);
    },
  );

  it('are computed once for the same weights, images and transform, and again for others', async () => {
    const source = await openSource(SCENES);
    const data = await chooseData(source, 6);
    const { encoder, calls } = toy(4);
    const seen: [number, number][] = [];
    const first = await features(encoder, data, SQUASH, {
      onProgress: (done: number, total: number) => seen.push([done, total]),
    });
    expect([first.computed, calls.count, seen]).toEqual([
      6,
      2,
      [
        [4, 6],
        [6, 6],
      ],
    ]);
    const blind: ImageSource = {
      ...source,
      read: () => {
        throw new Error('read again');
      },
    };
    const second = await features(toy(1).encoder, { ...data, source: blind });
    expect([second.computed, calls.count]).toEqual([0, 2]);
    expect(await second.read(0, 6)).toEqual(await first.read(0, 6));

    const others: [FrozenEncoder, EvaluationData, InputTransform][] = [
      [encoder, { ...data, imagesIdentity: 'other files' }, SQUASH],
      [encoder, { ...data, indices: Int32Array.of(0, 1, 2, 3, 4, 5) }, SQUASH], // as many, not the same
      [encoder, data, { kind: 'resize-crop', shorter: 1 }],
      [encoder, data, { kind: 'resize-crop', shorter: 1.5 }],
      [{ ...encoder, weightsHash: 'others' }, data, SQUASH],
      [toy(4, { height: 16, width: 24 }).encoder, data, SQUASH],
      [toy(4, encoder.size, 4).encoder, data, SQUASH],
    ];
    for (const other of others) {
      expect((await features(...other)).computed).toBe(6);
    }
    expect(readdirSync(store)).toHaveLength(1 + others.length);
    expect(readdirSync(store)).toContain(featuresKey(encoder, data, SQUASH, store).folder.split('/').pop());
  });

  it('go on where a stopped computation was', async () => {
    const data = await chooseData(await openSource(SCENES), null);
    const wide = { ...toy(2).encoder, patchWidth: 200_000, globalWidth: null, registers: null };
    // Ten rows of 0.8 MB in a chunk of 8 MiB: of the 36 rows of six images thirty are kept, five images.
    const filled = (images: Uint8Array) => {
      const patches = new Float32Array(12 * 200_000);
      for (let row = 0; row < 12; row++) {
        const image = images.subarray(Math.floor(row / 6) * 1152);
        patches.fill(
          image.subarray(0, 1152).reduce((x, y) => x + y) + (row % 6),
          row * 200_000,
          (row + 1) * 200_000,
        );
        patches[row * 200_000] = image[row % 6]!;
      }
      return { patches };
    };
    const stop = new AbortController();
    const slow: FrozenEncoder = { ...wide, run: async (images) => filled(images) };
    const onProgress = (done: number) => {
      if (done === 6) stop.abort();
    };
    const stopped = features(slow, data, SQUASH, { signal: stop.signal, onProgress });
    await expect(stopped).rejects.toThrow(InterruptedError);
    await expect(stopped).rejects.toThrow('after the features of 6 of 11 images; the same command goes on');
    let calls = 0;
    const counting: FrozenEncoder = {
      ...wide,
      run: async (images) => {
        calls++;
        return filled(images);
      },
    };
    const found = await features(counting, data);
    expect([found.computed, calls]).toEqual([6, 3]);
    store = join(folder, 'whole');
    const whole = await features(slow, data);
    const bytes = async (set: typeof found, i: number) => Buffer.from((await set.read(i, 1)).patches.buffer);
    for (let i = 0; i < 11; i++) expect((await bytes(found, i)).equals(await bytes(whole, i))).toBe(true);
  });

  it('are told when they are damaged', async () => {
    const data = await chooseData(await openSource(SCENES), 3);
    const { encoder } = toy(3);
    await (await featuresOf(encoder, data, SQUASH, store)).close();
    const { folder: entry } = featuresKey(encoder, data, SQUASH, store);
    for (const cut of [1, 40, 100]) {
      const file = join(entry, 'global.mat');
      truncateSync(file, statSync(file).size - cut);
      await expect(features(encoder, data)).rejects.toThrow(/global\.mat .*capi data cache --prune/);
    }
  });

  it('need every image to be readable, and a centre that fits', async () => {
    const source = await openSource(SCENES);
    const broken: ImageSource = {
      ...source,
      async read(i) {
        if (i === 4) throw new DataError('image 4 is broken');
        return source.read(i);
      },
    };
    const data = await chooseData(source, null);
    await expect(features(toy(2).encoder, { ...data, source: broken })).rejects.toThrow('image 4 is broken');
    const small: InputTransform = { kind: 'resize-crop', shorter: 0.5 };
    await expect(features(toy(2).encoder, data, small)).rejects.toThrow(UsageError);
    expect((await features(toy(2).encoder, data)).computed).toBe(11); // the broken attempt left nothing wrong
  });
});

describe('transformFor', () => {
  it('is the official 256 for 224, and rounds', () => {
    const crop: InputTransform = { kind: 'resize-crop', shorter: 256 / 224 };
    const at = (side: number) => transformFor(crop, { height: side, width: side });
    expect(at(224)).toEqual({ transform: 'resize-crop', resize: 256, height: 224, width: 224 });
    expect(at(32)).toMatchObject({ resize: 37 }); // 36.57
  });
});

describe('patchMapsOf', () => {
  it('has the metres of each patch, in the order of the label maps, from the store the second time', async () => {
    const source = await openSource(SCENES);
    const data = await chooseData(source, 4);
    const { encoder } = toy(2);
    const found = await patchMapsOf('depths', encoder, data, store);
    opened.push(found);
    expect([found.count, found.width]).toEqual([4 * 6, 64]);
    const rows = (await found.read(0, 24)).slice();
    for (const [place, i] of data.indices.entries()) {
      const map = resizeNearest(await source.depthMap!(i), 24, 16);
      for (let p = 0; p < 24 * 16; p++) {
        const [y, x] = [Math.floor(p / 16), p % 16];
        const row = place * 6 + Math.floor(y / 8) * 2 + Math.floor(x / 8);
        expect(rows[row * 64 + (y % 8) * 8 + (x % 8)]).toBe(map.data[p]);
      }
    }
    const { depthMap: _, ...blind } = source;
    const again = await patchMapsOf(
      'depths',
      encoder,
      { ...data, source: { ...blind, depthMap: source.labelMap } as never },
      store,
    );
    opened.push(again);
    expect((await again.read(0, 24)).slice()).toEqual(rows);
    await expect(patchMapsOf('depths', encoder, { ...data, source: blind }, store)).rejects.toThrow(
      /has no depth maps: depth needs a source that has/,
    );
  });
});

describe('patchMapsOf', () => {
  it('has a row of pixels for each patch, patches row by row', async () => {
    const source = await openSource(SCENES);
    const data = await chooseData(source, 4);
    const { encoder } = toy(2);
    const found = await labels(encoder, data);
    expect([found.count, found.width]).toEqual([4 * 6, 64]);
    const rows = (await found.read(0, 24)).slice();
    const used = new Set<number>();
    for (const [place, i] of data.indices.entries()) {
      const map = resizeNearest(await source.labelMap!(i), 24, 16);
      for (let y = 0; y < 24; y++) {
        for (let x = 0; x < 16; x++) {
          const row = place * 6 + Math.floor(y / 8) * 2 + Math.floor(x / 8);
          expect(rows[row * 64 + (y % 8) * 8 + (x % 8)]).toBe(map.data[y * 16 + x]);
          used.add(map.data[y * 16 + x]!);
        }
      }
    }
    expect(used.size).toBeGreaterThan(3);
  });

  it('is made once for all encoders of a size and patch, and tells of a source without label maps', async () => {
    const source = await openSource(SCENES);
    const data = await chooseData(source, 4);
    const first = await labels(toy(2).encoder, data);
    const blind: EvaluationData = {
      ...data,
      source: {
        ...source,
        labelMap: () => {
          throw new Error('read again');
        },
      },
    };
    const again = await labels({ ...toy(3).encoder, weightsHash: 'others' }, blind);
    expect((await again.read(0, 24)).slice()).toEqual((await first.read(0, 24)).slice());
    expect((await labels(toy(2, { height: 24, width: 16 }, 4).encoder, data)).width).toBe(16);
    const { labelMap: _, ...plain } = source;
    const error = await labels(toy(2).encoder, { ...data, source: plain }).catch((e) => e);
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toBe(`${source.uri} has no label maps: segmentation needs a source that has`);
  });

  it('can be stopped', async () => {
    const data = await chooseData(await openSource(SCENES), null);
    const stop = new AbortController();
    const onProgress = (done: number) => {
      if (done === 5) stop.abort();
    };
    await expect(labels(toy(2).encoder, data, { signal: stop.signal, onProgress })).rejects.toThrow(
      'interrupted after 5 of 11 label maps; the same command goes on',
    );
    expect((await labels(toy(2).encoder, data)).count).toBe(66);
  });
});
