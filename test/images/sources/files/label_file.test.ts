// labels.csv and labels.txt of a folder: several labels an image, or none, by number or by name, and what does not fit.

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DataError } from '../../../../src/errors.js';
import { labelCounts, labelsOf, openSource } from '../../../../src/images/index.js';
import { failure, put, temporaryFolder } from '../../support.js';

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
    expect(sorted.settings).toMatchObject({ numbers: 'sorted', orientation: 'upright' });
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

  it.each([
    ['a byte order mark', '\ufeffpath,label\na.jpg,cat\nb.jpg,dog\n'],
    ['line ends of Windows', 'a.jpg,cat\r\nb.jpg,dog\r\n'],
    ['line ends of old Macs', 'a.jpg,cat\rb.jpg,dog'],
    ['quotes', '"path","label"\n"a.jpg","cat"\n"b.jpg",dog\n'],
    ['white space', '  a.jpg , cat \n\tb.jpg,\tdog\n\n'],
    ['another header', 'image_id,Category\na.jpg,cat\nb.jpg,dog\n'],
    ['paths of Windows', '.\\a.jpg,cat\n.\\b.jpg,dog\n'],
  ])('are read with %s', async (name, text) => {
    const root = tree(`kind-${name}`, ['a.jpg', 'b.jpg'], { 'labels.csv': text });
    expect((await openSource(`folder:${root}`)).classes).toEqual(['cat', 'dog']);
    expect(await labelsIn(`folder:${root}`)).toEqual([[0], [1]]);
  });

  it('quote paths with commas and quotes, and several labels', async () => {
    const root = tree('quoted', ['a, 1.jpg', 'say "b".jpg'], {
      'labels.csv': '"a, 1.jpg","x;y"\n"say ""b"".jpg",""\n',
    });
    expect(await labelsIn(`folder:${root}`)).toEqual([[0, 1], []]);
  });

  it.each([
    [
      'three columns',
      'path,label,split\na.jpg,cat,train\nb.jpg,dog,test\n',
      'has the columns path, label, split; expected two',
    ],
    ['swapped columns', 'label,filename\ncat,a.jpg\ndog,b.jpg\n', 'has the columns label, filename'],
    ['quotes that do not match', 'a.jpg,cat\nb.jpg,"dog\n', 'quotes that do not match'],
    [
      'bytes that are no UTF-8',
      Buffer.from([0x61, 0x2e, 0x6a, 0x70, 0x67, 0x2c, 0xe9, 10]),
      'is not UTF-8 text',
    ],
    ['UTF-16', Buffer.from('\ufeffa.jpg,cat\n', 'utf16le'), 'is not UTF-8 text'],
    ['a label below 0', 'a.jpg,-1\nb.jpg,0\n', 'the label -1: leave the label of an image without one empty'],
    ['no lines', '', '2 images without a line (a.jpg, b.jpg)'],
    [
      'a line that names a folder',
      'a.jpg,cat\nb.jpg,dog\nsub/,dog\n',
      '1 lines whose image is not there (sub/)',
    ],
  ])('are refused with %s', async (name, text, words) => {
    const root = tree(`wrong-${name}`, ['a.jpg', 'b.jpg'], {});
    put(join(root, 'labels.csv'), text);
    const error = await failure(() => openSource(`folder:${root}`));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toContain(words);
  });

  it('with numbers are refused where the train images name their classes, unless their order is said', async () => {
    const images = ['train/n01/x.jpg', 'train/n02/y.jpg', 'train/n03/z.jpg', 'val/a.jpg', 'val/b.jpg'];
    const root = tree('devkit', images, { 'val/labels.csv': 'a.jpg,1\nb.jpg,2\n' });
    const { message } = await failure(() => openSource(`folder:${root}?split=test`));
    expect(message).toContain('numbers its classes (1, 2) while the train images name them (n01, n02, n03)');
    expect(message).toContain('?numbers=sorted');
    expect(await labelsIn(`folder:${root}?numbers=sorted`, 'test')).toEqual([[1], [2]]);
    expect((await failure(() => openSource(`folder:${root}?numbers=devkit`))).message).toContain(
      'must be sorted',
    );
    const digits = tree('digits-beyond', ['train/1/x.jpg', 'train/2/y.jpg', 'val/a.jpg'], {
      'val/labels.csv': 'a.jpg,0\n',
    });
    expect((await failure(() => openSource(`folder:${digits}`, { split: 'test' }))).message).toContain(
      '1 labels that are no class (0)',
    );
    expect(await labelsIn(`folder:${digits}?numbers=sorted`, 'test')).toEqual([[0]]);
    const words = tree('words', images, { 'val/labels.csv': 'a.jpg,n01\nb.jpg,n02\n' });
    expect(
      (await failure(() => openSource(`folder:${words}?numbers=sorted`, { split: 'test' }))).message,
    ).toContain('labels that are no numbers (n01, n02)');
  });
});
