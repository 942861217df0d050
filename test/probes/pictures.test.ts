// The pictures: colours and grids to the byte, prototypes against the official logits, and a whole drawing against one made by hand.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import type { FrozenEncoder } from '../../src/encoder/frozen.js';
import { DataError } from '../../src/errors.js';
import type { ImageSource, RawImage } from '../../src/images/index.js';
import { divergingColours, prototypeColour, toByte } from '../../src/probes/pictures/colours.js';
import { drawEncoder, everyNth } from '../../src/probes/pictures/draw.js';
import { patchPicture } from '../../src/probes/pictures/patches.js';
import { PrototypeMap, readPrototypes } from '../../src/probes/pictures/prototypes.js';
import { GAP, heatTile, prototypeTile, rgbTile, SIGNS, tileGrid } from '../../src/probes/pictures/tiles.js';
import { CovarianceSums, orient, project, projectOnOwn } from '../../src/solvers/pca.js';
import { engines, onEveryEngine } from '../support/engines.js';
import { referenceDir, tensors } from '../support/golden.js';

const pixel = ({ data, width }: RawImage, y: number, x: number): number[] => [
  ...data.subarray(3 * (y * width + x), 3 * (y * width + x) + 3),
];

describe('colours', () => {
  it('clip at 2.3 standard deviations', () => {
    expect([-9, -2.3, 2.3, 9].map(toByte)).toEqual([0, 0, 255, 255]);
    expect(toByte(1)).toBe(Math.round((255 * 3.3) / 4.6));
    expect(toByte(1) + toByte(-1)).toBe(255);
  });

  it('diverge: blue below, nearly white in the middle, red above', () => {
    const at = (byte: number): number[] => [...divergingColours.subarray(3 * byte, 3 * byte + 3)];
    const [low, middle, high] = [at(0), at(127), at(255)] as [number[], number[], number[]];
    expect(low[2]! - low[0]!).toBeGreaterThan(80);
    expect(high[0]! - high[2]!).toBeGreaterThan(60);
    expect(Math.min(...middle)).toBeGreaterThan(235);
    const lightness = Array.from({ length: 256 }, (_, b) => at(b).reduce((a, c) => a + c));
    for (let b = 1; b < 256; b++) {
      if (b < 127) expect(lightness[b]!).toBeGreaterThanOrEqual(lightness[b - 1]!);
      if (b > 128) expect(lightness[b]!).toBeLessThanOrEqual(lightness[b - 1]!);
    }
  });

  it('of prototypes keep apart', () => {
    const colours = Array.from({ length: 48 }, (_, k) => prototypeColour(k));
    expect(prototypeColour(5)).toEqual(colours[5]);
    for (let a = 0; a < 48; a++) {
      for (let b = 0; b < a; b++) {
        const difference = Math.hypot(...colours[a]!.map((v, c) => v - colours[b]![c]!));
        // Below about 10 of 441 two colours side by side are hard to tell apart.
        expect(difference).toBeGreaterThan(10);
      }
    }
  });
});

describe('tiles', () => {
  const canvas = { rows: 2, columns: 3, height: 4, width: 9 };
  const values = Float64Array.from({ length: 24 }, (_, i) => (i - 12) / 4);
  const p = { rows: 12, count: 2, values, explained: [0.7, 0.2] };

  it('show each patch as a block; a component that is not there is the middle', () => {
    const tile = rgbTile(p, 6, canvas);
    expect([tile.height, tile.width]).toEqual([4, 9]);
    for (let y = 0; y < 4; y++) {
      for (let x = 0; x < 9; x++) {
        const row = 6 + Math.floor(y / 2) * 3 + Math.floor(x / 3);
        const expected = [toByte(values[2 * row]!), toByte(values[2 * row + 1]!), toByte(0)];
        expect(pixel(tile, y, x)).toEqual(expected);
      }
    }
    const heat = heatTile(p, 0, 1, canvas);
    const byte = toByte(values[2 * 5 + 1]!);
    expect(pixel(heat, 3, 8)).toEqual([...divergingColours.subarray(3 * byte, 3 * byte + 3)]);
    expect(pixel(prototypeTile(Int32Array.of(0, 1, 2, 3, 4, 7), canvas), 3, 8)).toEqual(prototypeColour(7));
  });

  it('come in 8 sign variants, the first as it is, each mirrored in the channels that it turns', () => {
    const plain = rgbTile(p, 0, canvas);
    const variants = SIGNS.map((signs) => rgbTile(p, 0, canvas, signs));
    expect(variants[0]).toEqual(plain);
    expect(new Set(SIGNS.map(String)).size).toBe(8);
    SIGNS.forEach((signs, v) => {
      for (const c of [0, 1]) {
        const byte = pixel(plain, 0, 0)[c]!;
        // Halves round upwards both ways, so the mirrored byte may be one off.
        const expected = signs[c]! > 0 ? byte : 255 - byte;
        expect(Math.abs(pixel(variants[v]!, 0, 0)[c]! - expected)).toBeLessThanOrEqual(signs[c]! > 0 ? 0 : 1);
      }
    });
  });

  it('stand in grids 10 px apart', () => {
    const one = (level: number): RawImage => ({
      data: new Uint8Array(5 * 7 * 3).fill(level),
      height: 5,
      width: 7,
    });
    const sheet = tileGrid([1, 2, 3, 4, 5].map(one));
    expect(GAP).toBe(10);
    expect([sheet.height, sheet.width]).toEqual([2 * 15 + 10, 3 * 17 + 10]);
    for (let y = 0; y < sheet.height; y++) {
      for (let x = 0; x < sheet.width; x++) {
        const [row, column] = [Math.floor((y - 10) / 15), Math.floor((x - 10) / 17)];
        const inside = (y - 10) % 15 < 5 && (x - 10) % 17 < 7 && y >= 10 && x >= 10;
        const level = inside && row * 3 + column < 5 ? row * 3 + column + 1 : 255;
        expect(pixel(sheet, y, x)).toEqual([level, level, level]);
      }
    }
  });

  it('are of every (n // limit)-th image', () => {
    const official = everyNth(20_210, 1024);
    expect([official.length, official[1], official.at(-1)]).toEqual([1064, 19, 20_197]);
    expect(everyNth(10, 3)).toEqual([0, 3, 6, 9]);
    expect(everyNth(3, 10)).toEqual([0, 1, 2]);
    expect(everyNth(0, 10)).toEqual([]);
  });

  it('of single patches frame the patch where it is, at the border too', () => {
    const image = { data: new Uint8Array(32 * 32 * 3).fill(100), height: 32, width: 32 };
    image.data.fill(200, 3 * (31 * 32 + 31)); // the last pixel of the last patch
    const grid = { rows: 4, columns: 4, height: 32, width: 32 };
    const corner = patchPicture(image, 15, grid); // 3 x 3 patches of 8 px on 96 px: the patch is the last 32 x 32
    expect(pixel(corner, 64, 70)).toEqual([0, 0, 0]);
    expect(pixel(corner, 65, 70)).toEqual([255, 255, 255]);
    expect(pixel(corner, 63, 70)[0]).toBe(100);
    const middle = patchPicture(image, 5, grid);
    expect([pixel(middle, 32, 40), pixel(middle, 40, 63)]).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
  });
});

onEveryEngine('prototypes', ({ open }) => {
  it('are those of the official clustering logits, the probabilities too', async () => {
    const [forward, layer] = await Promise.all([
      tensors('forward.safetensors'),
      readPrototypes(join(referenceDir, 'weights.safetensors')),
    ]);
    const [images, patches, width] = forward.get('teacher.patches')!.shape as [number, number, number];
    const features = forward.get('teacher.patches')!.data;
    const logits = forward.get('cluster.logits')!.data; // [position, image, prototype]
    const { count, temperature } = layer!;
    expect(temperature).toBe(0.12);
    const keep = 2;
    const map = await PrototypeMap.open(await open(), layer!, patches - 5, keep); // uneven calls
    const belief = (image: number, patch: number): number[] => {
      const row = Array.from(
        { length: count },
        (_, k) => logits[(patch * images + image) * count + k]! / temperature,
      );
      const largest = Math.max(...row);
      const total = row.reduce((sum, v) => sum + Math.exp(v - largest), 0);
      return row.map((v) => Math.exp(v - largest) / total);
    };
    const beliefs = Array.from({ length: images }, (_, i) =>
      Array.from({ length: patches }, (_, n) => belief(i, n)),
    );
    for (let i = 0; i < images; i++) {
      const own = Float32Array.from(
        { length: patches * width },
        (_, at) => features[i * patches * width + at]!,
      );
      const assigned = await map.assign(own);
      expect([...assigned]).toEqual(beliefs[i]!.map((row) => row.indexOf(Math.max(...row))));
    }
    const most = map.mostUsed(count);
    expect(most.reduce((sum, use) => sum + use.patches, 0)).toBe(images * patches);
    expect(most.map((use) => use.patches)).toEqual(most.map((use) => use.patches).sort((a, b) => b - a));
    for (const { index, nearest } of most) {
      const best = beliefs.map((rows) => Math.max(...rows.map((row) => row[index]!)));
      const order = best.map((_, i) => i).sort((a, b) => best[b]! - best[a]!);
      expect(nearest.map((n) => n.image)).toEqual(order.slice(0, keep));
      for (const near of nearest) {
        // 1e-5: float32 logits against float64 ones.
        expect(Math.abs(near.probability - best[near.image]!)).toBeLessThan(1e-5);
        expect(beliefs[near.image]![near.patch]![index]).toBe(best[near.image]!);
      }
    }
    await map.close();
  });
});

describe('drawEncoder', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'capi-pictures-'));
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));
  const engine = await engines[0]!.open();
  const [rows, columns, width] = [2, 4, 12];
  const size = { height: 8, width: 16 };

  /** Features that depend on the bytes of each patch, through fixed random directions. */
  const directions = stream(0, 'directions').fillNormal(new Float32Array(48 * width));
  const featuresOf = (image: Uint8Array): Float32Array => {
    const out = new Float32Array(rows * columns * width);
    for (let n = 0; n < rows * columns; n++) {
      for (let i = 0; i < 48; i++) {
        const [y, x, c] = [Math.floor(i / 12), Math.floor(i / 3) % 4, i % 3];
        const at = ((Math.floor(n / columns) * 4 + y) * size.width + (n % columns) * 4 + x) * 3 + c;
        for (let d = 0; d < width; d++)
          out[n * width + d]! += (image[at]! / 255) * directions[i * width + d]!;
      }
    }
    return out;
  };
  const encoder = (batch: number): FrozenEncoder => ({
    name: 'made',
    kind: 'pixels',
    weightsHash: '0',
    size,
    patch: 4,
    grid: { rows, columns },
    mean: [0, 0, 0],
    std: [1, 1, 1],
    patchWidth: width,
    globalWidth: null,
    registers: null,
    batch,
    run: async (images) => {
      const all = Array.from({ length: batch }, (_, i) => [
        ...featuresOf(images.subarray(i * 384, (i + 1) * 384)),
      ]);
      return { patches: Float32Array.from(all.flat()) };
    },
    close: async () => {},
  });
  const read = async (i: number): Promise<RawImage> => {
    if (i === 9) throw new DataError('made/9 cannot be decoded');
    const random = stream(i, 'image');
    return { data: new Uint8Array(384).map(() => random.int(256)), ...size };
  };
  const source = { uri: 'made:', length: 30, name: (i: number) => `made/${i}`, read } as ImageSource;
  const prototypes = {
    count: 5,
    width,
    weight: stream(1, 'prototypes').fillNormal(new Float32Array(5 * width)),
    bias: new Float32Array(5),
    temperature: 0.12,
  };

  async function draw(indices: number[], batch = 4, more: object = {}) {
    const files = new Map<string, RawImage>();
    const write = async (file: string, picture: RawImage): Promise<void> => {
      expect(files.has(file)).toBe(false);
      files.set(file, picture);
    };
    const request = { engine, encoder: encoder(batch), source, indices, heatmaps: true, signs: true };
    const out = await drawEncoder({ ...request, prefix: 'e', scratch, write, ...more });
    expect(readdirSync(scratch)).toEqual([]); // the features that waited there are gone
    return { files, out };
  }

  it('makes the pictures of the protocol from the features, image by image and jointly', async () => {
    const indices = [0, 3, 6, 12, 15, 18];
    const { files, out } = await draw(indices, 4, { prototypes });
    const canvas = { rows, columns, ...size };
    const all = await Promise.all(indices.map(async (i) => featuresOf((await read(i)).data)));
    const sums = new CovarianceSums(width);
    const together = Float32Array.from(all.flatMap((f) => [...f]));
    sums.add(together);
    const model = sums.components(10);
    const values = project(model, together);
    const joint = orient({ rows: sums.rows, count: 10, values, explained: model.explained });
    // Sums of other order may turn the last bit of a coordinate, and so a byte.
    const same = (file: string, expected: RawImage): void => {
      const found = files.get(file)!;
      const worst = Math.max(...found.data.map((v, i) => Math.abs(v - expected.data[i]!)));
      expect(`${file} ${found.height}x${found.width} ${worst <= 1}`).toBe(
        `${file} ${expected.height}x${expected.width} true`,
      );
    };
    for (const [i, image] of out.images.entries()) {
      const own = projectOnOwn(all[i]!, width, 6);
      expect([image.index, image.name]).toEqual([indices[i], `made/${indices[i]}`]);
      expect(files.get(image.image)).toEqual(await read(indices[i]!));
      same(image.own.rgb, rgbTile(own, 0, canvas));
      same(image.joint.rgb, rgbTile(joint, i * 8, canvas));
      expect([image.own.heatmaps.length, image.joint.heatmaps.length]).toEqual([6, 10]);
      expect([image.own.signs.length, image.joint.signs.length]).toEqual([8, 8]);
      same(image.own.signs[3]!, rgbTile(own, 0, canvas, SIGNS[3]!));
      same(image.joint.signs[6]!, rgbTile(joint, i * 8, canvas, SIGNS[6]!));
      expect(image.own.explained).toEqual(own.explained);
    }
    same(out.grids.find((g) => g.title === 'Images')!.file, tileGrid(await Promise.all(indices.map(read))));
    expect(out.grids.map((g) => g.title).sort()).toEqual(
      ['Images', 'PCA of all images together', 'PCA of each image', 'Prototypes'].sort(),
    );
    const named = [
      ...out.images.flatMap((i) => [
        i.image,
        i.prototypes!,
        ...[i.own, i.joint].flatMap((c) => [c.rgb, ...c.heatmaps, ...c.signs]),
      ]),
      ...out.grids.map((g) => g.file),
      ...out.prototypes!.rows.map((r) => r.file),
      out.prototypes!.sheet,
    ];
    const unnamed = [...files.keys()].filter((file) => !named.includes(file));
    expect(named.every((file) => files.has(file))).toBe(true);
    expect(unnamed.every((file) => /(own|joint)-(heat|signs)\.png$/.test(file))).toBe(true); // grids of one image
  });

  it('does not depend on the batch', async () => {
    const [a, b] = [await draw([0, 1, 2], 1), await draw([0, 1, 2], 5)];
    expect([...b.files.keys()]).toEqual([...a.files.keys()]);
    for (const [file, { data }] of a.files) {
      expect(`${file} ${Buffer.compare(b.files.get(file)!.data, data)}`).toBe(`${file} 0`);
    }
  });

  it('cuts long grids into sheets, and says which image cannot be read', async () => {
    const many = { ...source, length: 70, read: (i: number) => read(i % 9) };
    const plain = { source: many, heatmaps: false, signs: false };
    const { out } = await draw(everyNth(70, 70), 8, plain);
    expect(out.grids.filter((g) => g.file.includes('own')).map((g) => g.file)).toEqual([
      'e/grid-own-1.png',
      'e/grid-own-2.png',
    ]);
    await expect(draw([8, 9, 10])).rejects.toThrow('made/9 cannot be decoded');
    expect(readdirSync(scratch)).toEqual([]);
    await expect(draw([])).rejects.toThrow('made: has no images');
  });
});
