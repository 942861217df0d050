// Folders of images: layouts, splits, order, identity, and what is said about a folder that cannot be used.

import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { DataError } from '../../../src/errors.js';
import { openSource } from '../../../src/images/index.js';
import { failure, put, temporaryFolder } from '../support.js';

const folder = temporaryFolder();
const pictures = new Map<number, Buffer>();

beforeAll(async () => {
  for (const level of [0, 50, 100, 150]) {
    const background = { r: level, g: level, b: level };
    pictures.set(
      level,
      await sharp({ create: { width: 9, height: 6, channels: 3, background } })
        .png()
        .toBuffer(),
    );
  }
});

/** Writes one flat grey picture a path; gives the folder. */
function layout(name: string, files: string[]): string {
  files.forEach((file, i) => {
    put(join(folder, name, file), pictures.get((i % 4) * 50)!);
  });
  return join(folder, name);
}

describe('folder sources', () => {
  it('takes class names from the first level, files in the order of their paths', async () => {
    const root = layout('classes', [
      'dog/b.png',
      'cat/2/x.PNG',
      'cat/10/y.png',
      'dog/.hidden.png',
      'dog/notes.txt',
    ]);
    const source = await openSource(`folder:${root}`);
    expect(source).toMatchObject({ split: 'all', length: 3, classes: ['cat', 'dog'] });
    expect([0, 1, 2].map((i) => source.name(i))).toEqual(
      ['cat/10/y.png', 'cat/2/x.PNG', 'dog/b.png'].map((file) => join(root, file)),
    );
    expect([0, 1, 2].map((i) => source.label!(i))).toEqual([0, 0, 1]);
    expect(await source.read(0)).toMatchObject({ height: 6, width: 9 });
    expect((await source.read(0)).data[0]).toBe(100);
  });

  it('has no labels when any image lies at the top', async () => {
    const source = await openSource(`folder:${layout('flat', ['a.png', 'sub/b.png'])}`);
    expect(source.length).toBe(2);
    expect(source.classes).toBeUndefined();
    expect(source.label).toBeUndefined();
  });

  it('finds train and test (or val), whose labels are those of train', async () => {
    const root = layout('split', ['train/ant/1.png', 'train/bee/2.png', 'train/cow/3.png', 'val/cow/4.png']);
    const train = await openSource(`folder:${root}`);
    const test = await openSource(`folder:${root}`, { split: 'test' });
    expect([train.split, train.length, test.split, test.length]).toEqual(['train', 3, 'test', 1]);
    expect(test.classes).toEqual(['ant', 'bee', 'cow']);
    expect(test.label!(0)).toBe(2);
    expect((await openSource(test.uri, { split: 'train' })).length).toBe(1);
    put(join(root, 'val/dog/5.png'), pictures.get(0)!);
    expect((await failure(() => openSource(`folder:${root}?split=test`))).message).toContain("'dog'");
  });

  it('a class called train is a class where the source says so', async () => {
    const root = layout('vehicles', ['train/1.png', 'car/2.png']);
    const source = await openSource(`folder:${root}?parts=none`);
    expect(source.classes).toEqual(['car', 'train']);
    expect((await openSource(source.uri)).classes).toEqual(['car', 'train']);
    expect((await failure(() => openSource(`folder:${root}`))).message).toContain(
      "has 'train' beside 'car': is that a part or a class? Add ?parts=none",
    );
  });

  it('follows links, but not in circles', async () => {
    const root = layout('links', ['one/a.png']);
    symlinkSync(join(folder, 'classes', 'dog'), join(root, 'two'));
    symlinkSync(root, join(root, 'one', 'circle'));
    symlinkSync(join(root, 'gone'), join(root, 'one', 'dangling.png'));
    const source = await openSource(`folder:${root}`);
    expect(source.length).toBe(2);
  });

  it('identity follows contents, order and labels, not place and names', async () => {
    const identity = async (path: string) => (await openSource(`folder:${path}`)).identity();
    const files = ['x/a.png', 'y/b.png'];
    const first = await identity(layout('here', files));
    expect(await identity(layout('elsewhere/there', files))).toBe(first);
    expect(await identity(layout('renamed', ['x/a.png', 'y/c.png']))).toBe(first); // its order and classes are the same
    expect(await identity(layout('relabelled', ['x/a.png', 'z/b.png']))).not.toBe(first);
    expect(await identity(layout('one class', ['x/a.png', 'x/b.png']))).not.toBe(first);
    const grown = layout('grown', files);
    put(join(grown, 'y/b.png'), Buffer.concat([pictures.get(0)!, Buffer.from([0])]));
    expect(await identity(grown)).not.toBe(first);
  });

  it.each([
    ['nowhere', '', 'does not exist'],
    ['file.png', '', 'is a file'],
    ['empty', '', 'holds no images'],
    ['classes', '?split=test', 'test or val'],
    ['only-val', '?split=train', 'no train images'],
  ])('%s%s: says what is wrong with which folder', async (name, query, words) => {
    put(join(folder, 'file.png'), pictures.get(0)!);
    mkdirSync(join(folder, 'empty', 'class'), { recursive: true });
    layout('only-val', ['val/a/1.png']);
    const error = await failure(() => openSource(`folder:${join(folder, name)}${query}`));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toContain(join(folder, name));
    expect(error.message).toContain(words);
  });
});
