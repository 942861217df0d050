// Evaluation views against what Pillow makes of the reference pictures, and reading many of them in order.

import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { readSafetensors } from '../../../src/base/safetensors.js';
import { DataError, UsageError } from '../../../src/errors.js';
import {
  type EvaluationOptions,
  type EvaluationView,
  type ImageSource,
  openSource,
  readAll,
  readForEvaluation,
} from '../../../src/images/index.js';
import { compiledImages, failure, put, temporaryFolder } from '../support.js';

const golden = fileURLToPath(new URL('../../golden/images', import.meta.url));
const { tensors: pillow } = await readSafetensors(join(golden, 'pillow.safetensors'));
const folder = temporaryFolder();
let pictures: ImageSource;

beforeAll(async () => {
  for (const name of ['small', 'tall']) {
    put(join(folder, 'i', 'x.txt'), '');
    put(join(folder, 'm', 'x.txt'), '');
    copyFileSync(join(golden, `${name}.png`), join(folder, 'i', `${name}.png`));
    copyFileSync(join(golden, `${name}_labels.png`), join(folder, 'm', `${name}.png`));
  }
  pictures = await openSource(`pairs:${folder}/i,${folder}/m?classes=256`);
});

/** The reference bytes whose name begins so. */
function reference(start: string): { data: Uint8Array; height: number; width: number } {
  const [, tensor] = [...pillow].find(([name]) => name.startsWith(start))!;
  return { data: tensor.data as Uint8Array, height: tensor.shape[0]!, width: tensor.shape[1]! };
}

describe('readForEvaluation', () => {
  it.each(['small', 'tall'])(
    '%s squashed, with its label map, is what Pillow makes of both',
    async (name) => {
      const image = reference(`${name}.png.squash`);
      const map = reference(`${name}.labels_nearest`);
      expect([map.height, map.width]).toEqual([image.height, image.width]);
      const i = name === 'small' ? 0 : 1;
      const { height, width } = image;
      const view = await readForEvaluation(pictures, i, {
        transform: 'squash',
        height,
        width,
        labelMaps: true,
      });
      expect(view.index).toBe(i);
      expect(Buffer.compare(view.pixels, image.data)).toBe(0);
      expect(Buffer.compare(view.labelMap!, map.data)).toBe(0);
    },
  );

  it('resized and cut is what Pillow makes', async () => {
    const { data, height, width } = reference('tall.png.resize256');
    const view = await readForEvaluation(pictures, 1, {
      transform: 'resize-crop',
      resize: 256,
      height,
      width,
    });
    expect(Buffer.compare(view.pixels, data)).toBe(0);
    expect(view.labelMap).toBeUndefined();
  });

  it('cuts the label map where it cuts the image', async () => {
    // An image whose grey level is 10 times its label: after the same geometry, the label is the level (at the nearest pixel).
    const side = 40;
    const levels = Uint8Array.from(
      { length: side * side },
      (_, p) => Math.floor((p % side) / 8) + Math.floor(p / side / 8),
    );
    const source = {
      ...pictures,
      read: async () => ({
        data: Uint8Array.from({ length: 3 * side * side }, (_, p) => 10 * levels[Math.floor(p / 3)]!),
        height: side,
        width: side,
      }),
      labelMap: async () => ({ data: levels, height: side, width: side }),
    };
    const view = await readForEvaluation(source, 0, {
      transform: 'resize-crop',
      resize: 40,
      height: 20,
      width: 24,
      labelMaps: true,
    });
    expect(view.labelMap).toHaveLength(20 * 24);
    expect(new Set(view.labelMap).size).toBeGreaterThan(3);
    for (let p = 0; p < 480; p++) expect(view.pixels[3 * p]).toBe(10 * view.labelMap![p]!);
  });

  it('says what cannot be', async () => {
    const squash = { transform: 'squash', height: 8, width: 8, labelMaps: true } as const;
    const without = await openSource(`folder:${folder}/i`);
    expect((await failure(() => readForEvaluation(without, 0, squash))).message).toContain('no label maps');
    const wrong = { ...pictures, labelMap: async () => ({ data: new Uint8Array(4), height: 2, width: 2 }) };
    const error = await failure(() => readForEvaluation(wrong, 0, squash));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toContain('small.png is 2 x 2 pixels but the image is 131 x 97');
    const crop = { transform: 'resize-crop', resize: 20, height: 24, width: 16 } as const;
    expect(await failure(() => readForEvaluation(pictures, 0, crop))).toBeInstanceOf(UsageError);
  });
});

const squash: EvaluationOptions = { transform: 'squash', height: 16, width: 16, labelMaps: true };
const URI = 'synthetic:scenes?size=32&count=90';

async function collect(views: AsyncIterable<EvaluationView>): Promise<EvaluationView[]> {
  const all: EvaluationView[] = [];
  for await (const view of views) all.push(view);
  return all;
}

describe('readAll', () => {
  it('reads the images asked for in their order, few at once', async () => {
    const source = await openSource(URI);
    let open = 0;
    let most = 0;
    const slow: ImageSource = {
      ...source,
      async read(i) {
        most = Math.max(most, ++open);
        await new Promise((resolve) => setTimeout(resolve, (i * 7) % 5)); // they end in another order
        open--;
        return source.read(i);
      },
    };
    const indices = [5, 89, 0, 5, 7, 8, 9, 10, 11];
    const views = await collect(readAll(slow, indices, squash, { workers: 0, ahead: 4 }));
    expect(views.map(({ index }) => index)).toEqual(indices);
    expect(most).toBe(4);
    expect(views[1]).toEqual(await readForEvaluation(source, 89, squash));
    expect(await collect(readAll(source, undefined, squash))).toHaveLength(90);
    expect(await collect(readAll(source, [], squash))).toEqual([]);
  });

  it('rests while images that belong together are used', async () => {
    const source = await openSource(URI);
    let begun = 0;
    const counted: ImageSource = {
      ...source,
      read(i) {
        begun++;
        return source.read(i);
      },
    };
    const seen: number[] = [];
    const options = { workers: 0, ahead: 4, together: 4 };
    for await (const { index } of readAll(counted, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0], squash, options)) {
      seen.push(index);
      expect(begun).toBe(Math.min(10, 4 * Math.ceil(seen.length / 4)));
    }
    expect(seen).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
  });

  it('tells an unreadable image when its turn comes', async () => {
    const source = await openSource(URI);
    const bad: ImageSource = {
      ...source,
      async read(i) {
        if (i === 3) throw new DataError('image 3 is broken');
        return source.read(i);
      },
    };
    const seen: number[] = [];
    const error = await failure(async () => {
      for await (const { index } of readAll(bad, [0, 1, 2, 3, 4], squash, { workers: 0 })) seen.push(index);
    });
    expect(error.message).toBe('image 3 is broken');
    expect(seen).toEqual([0, 1, 2]);
  });

  it('gives the same from threads, which end with the loop', async () => {
    const compiled = await compiledImages();
    const source = await compiled.openSource(URI);
    const threads = () => process.getActiveResourcesInfo().filter((kind) => kind === 'MessagePort').length;
    const before = threads();
    const views = await collect(compiled.readAll(source, undefined, squash, { workers: 2 }));
    expect(views).toEqual(await collect(readAll(await openSource(URI), undefined, squash)));
    for await (const { index } of compiled.readAll(source, undefined, squash, { workers: 2, ahead: 30 })) {
      if (index === 2) break;
    }
    expect(threads()).toBe(before);
    put(join(folder, 'broken/a.png'), 'no picture');
    copyFileSync(join(golden, 'small.png'), join(folder, 'broken/b.png'));
    const broken = await compiled.openSource(`folder:${folder}/broken`);
    const view = { transform: 'squash', height: 8, width: 8 } as const;
    const error = await failure(() => collect(compiled.readAll(broken, [1, 0], view, { workers: 1 })));
    expect(error.name).toBe('DataError');
    expect(error.message).toContain('broken/a.png');
    const gone = { ...broken, uri: `folder:${folder}/gone` };
    expect(
      (await failure(() => collect(compiled.readAll(gone, [0], view, { workers: 1 })))).message,
    ).toContain('does not exist');
  });
});
