// labels.csv and labels.txt of a folder: several labels an image, or none, by number or by name, and what does not fit.

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DataError } from '../../src/errors.js';
import { labelCounts, labelsOf, openSource } from '../../src/images/index.js';
import { failure, put, temporaryFolder } from './support.js';

const folder = temporaryFolder();

/** Writes empty files (no test here decodes them) and a label file. */
function tree(root: string, images: string[], files: Record<string, string>): string {
  for (const image of images) put(join(folder, root, image), '');
  for (const [name, text] of Object.entries(files)) put(join(folder, root, name), text);
  return join(folder, root);
}

async function labelsIn(uri: string, split?: 'test'): Promise<(readonly number[])[]> {
  const source = await openSource(uri, { split });
  return Array.from({ length: source.length }, (_, i) => labelsOf(source, i));
}

describe('label files', () => {
  it('give a flat folder several labels an image, or none', async () => {
    const root = tree('real', ['c.png', 'a.jpg', 'sub/b, 2.jpg'], {
      'labels.csv': 'path,label\n# ReaL\nsub/b, 2.jpg,4;0\n\n./c.png, \na.jpg,2;2\r\n',
    });
    const source = await openSource(`folder:${root}`);
    expect(source.classes).toEqual(['0', '1', '2', '3', '4']);
    expect(await labelsIn(`folder:${root}`)).toEqual([[2], [], [4, 0]]);
    expect([0, 1, 2].map((i) => source.label!(i))).toEqual([2, undefined, 4]);
    expect(labelCounts(source)).toEqual([1, 0, 1, 0, 1]);
  });

  it('end the path at white space in labels.txt; words are class names', async () => {
    const root = tree('txt', ['1.jpg', '2.jpg', '3.jpg'], {
      'labels.txt': '1.jpg wolf\n2.jpg\tant\n3.jpg,wolf;ant\n',
    });
    expect((await openSource(`folder:${root}`)).classes).toEqual(['ant', 'wolf']);
    expect(await labelsIn(`folder:${root}`)).toEqual([[1], [0], [1, 0]]);
  });

  it('name or number the classes of the train part', async () => {
    const images = ['train/n01/x.jpg', 'train/n02/y.jpg', 'train/n10/z.jpg', 'val/a.jpg', 'val/b.jpg'];
    const numbers = tree('numbers', images, { 'val/labels.csv': 'a.jpg,2\nb.jpg,0;1\n' });
    expect(await labelsIn(`folder:${numbers}?numbers=sorted`, 'test')).toEqual([[2], [0, 1]]);
    const sorted = await openSource(`folder:${numbers}?numbers=sorted`, { split: 'test' });
    expect(sorted.classes).toEqual(['n01', 'n02', 'n10']);
    expect(await labelsIn(sorted.uri)).toEqual([[2], [0, 1]]);
    expect(sorted.settings).toEqual({ numbers: 'sorted' });
    const names = tree('names', images, { 'val/labels.csv': 'a.jpg,n10\nb.jpg,n01\n' });
    expect(await labelsIn(`folder:${names}`, 'test')).toEqual([[2], [0]]);
    const digits = tree('digits', ['train/1/x.jpg', 'train/2/y.jpg', 'train/10/z.jpg', 'val/a.jpg'], {
      'val/labels.csv': 'a.jpg,2\n', // the folder called 2, third in the order of names
    });
    expect(await labelsIn(`folder:${digits}`, 'test')).toEqual([[2]]);
  });

  it('are part of the identity', async () => {
    const identity = async (text: string) =>
      (await openSource(`folder:${tree('same', ['a.jpg'], { 'labels.csv': text })}`)).identity();
    expect(await identity('a.jpg,1\n')).not.toBe(await identity('a.jpg,2\n'));
  });

  it('of another kind leave class folders as they are', async () => {
    const root = tree('other', ['cat/a.jpg', 'dog/b.jpg'], { 'labels.txt': 'cat\ndog\n' });
    expect(await labelsIn(`folder:${root}`)).toEqual([[0], [1]]);
    put(join(root, 'labels.txt'), 'cat/a.jpg dog\ndog/b.jpg cat;dog\n');
    expect(await labelsIn(`folder:${root}`)).toEqual([[1], [0, 1]]);
  });

  it('tell everything that does not fit in one error', async () => {
    const root = tree('misfit', ['a.jpg', 'b.jpg', 'c.jpg'], {
      'labels.csv': 'a.jpg,1\na.jpg,2\nx.jpg,3\ny.jpg,3\n',
    });
    const error = await failure(() => openSource(`folder:${root}`));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toContain('2 images without a line (b.jpg, c.jpg)');
    expect(error.message).toContain('2 lines whose image is not there (x.jpg, y.jpg)');
    expect(error.message).toContain('1 images on several lines (a.jpg)');
    put(join(root, 'labels.txt'), '');
    expect((await failure(() => openSource(`folder:${root}`))).message).toContain('keep one');
  });

  it('name labels that are no class of the train part', async () => {
    const root = tree('unknown', ['train/n01/x.jpg', 'train/n02/y.jpg', 'val/a.jpg', 'val/b.jpg'], {
      'val/labels.csv': 'a.jpg,2\nb.jpg,1\n',
    });
    const { message } = await failure(() => openSource(`folder:${root}?split=test&numbers=sorted`));
    expect(message).toContain('1 labels that are no class (2)');
    expect(message).toContain('numbers 0 to 1');
  });
});
