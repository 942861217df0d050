// What a folder holds and nobody reads: counted and named by the source, in data show and as notes.

import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { labelsOf, openSource, sourceNotes } from '../../../../src/images/index.js';
import { failure, put, temporaryFolder } from '../../support.js';

const folder = temporaryFolder();

function layout(name: string, files: string[]): string {
  for (const file of files) put(join(folder, name, file), '');
  return join(folder, name);
}

describe('what is left out', () => {
  it('is counted by kind and named, and thumbnails are no images', async () => {
    const root = layout('photos', [
      'cat/1.jpg',
      'dog/2.jpg',
      'cat/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg',
      '__MACOSX/cat/._1.jpg',
      '.thumbnails/1.jpg',
      'cat/._1.jpg',
      'dog/.DS_Store',
      'dog/Thumbs.db',
      'dog/desktop.ini',
      'dog/old.gif',
      'dog/phone.HEIC',
      'notes.txt',
      'dog/meta.json',
      'dog/noending',
      'dog/5.jpg.part',
      'lost+found/x.png',
    ]);
    mkdirSync(join(root, 'empty'));
    mkdirSync(join(root, 'only-notes'));
    put(join(root, 'only-notes/a.txt'), '');
    symlinkSync(join(root, 'gone.jpg'), join(root, 'dog/3.jpg'));
    const source = await openSource(`folder:${root}`);
    expect([source.length, source.classes]).toEqual([2, ['cat', 'dog']]);
    expect(source.leftOut).toEqual([
      { what: 'images of kinds that are not read', count: 2, examples: ['dog/old.gif', 'dog/phone.HEIC'] },
      {
        what: 'files of other kinds',
        count: 5,
        examples: ['dog/5.jpg.part', 'dog/meta.json', 'dog/noending'],
      },
      { what: 'hidden files', count: 4, examples: ['cat/._1.jpg', 'dog/.DS_Store', 'dog/Thumbs.db'] },
      {
        what: 'hidden folders, of thumbnails or of a system',
        count: 4,
        examples: ['.thumbnails/', '__MACOSX/', 'cat/@eaDir/'],
      },
      { what: 'links that lead nowhere', count: 1, examples: ['dog/3.jpg'] },
      { what: 'class folders without images', count: 2, examples: ['empty/', 'only-notes/'] },
    ]);
    expect(sourceNotes(source)).toEqual([
      expect.stringMatching(
        /^folder:.*: left out 2 images of kinds that are not read \(dog\/old.gif, dog\/phone.HEIC\), 5 files/,
      ),
    ]);
  });

  it('nothing is said where nothing is', async () => {
    const source = await openSource(`folder:${layout('clean', ['cat/1.jpg', 'dog/2.jpg'])}`);
    expect(sourceNotes(source)).toEqual([]);
    expect(sourceNotes(await openSource('synthetic:scenes?count=2'))).toEqual([]);
  });

  it('a part of thumbnails only is empty, and says what it holds', async () => {
    const root = layout('thumbs', ['train/@eaDir/1.jpg', 'train/a.gif', 'test/b/1.jpg']);
    const { message } = await failure(() => openSource(`folder:${root}?split=train`));
    expect(message).toContain('holds no images');
    expect(message).toContain('1 images of kinds that are not read, 1 hidden folders');
  });

  it('images beside class folders have no label; one folder beside loose images is no class', async () => {
    const stray = await openSource(`folder:${layout('stray', ['a/1.png', 'b/2.png', 'cover.png'])}`);
    expect(stray.classes).toEqual(['a', 'b']);
    expect([0, 1, 2].map((i) => labelsOf(stray, i))).toEqual([[0], [1], []]);
    expect(stray.leftOut).toEqual([
      { what: 'images beside the class folders, without a label', count: 1, examples: ['cover.png'] },
    ]);
    const flat = await openSource(`folder:${layout('flat', ['1.png', '2.png', 'more/3.png'])}`);
    expect(flat.classes).toBeUndefined();
    expect(flat.unlabelled).toContain(
      "2 of its 3 images lie beside its one class folder 'more' (1.png, 2.png)",
    );
  });

  it('label files that nobody reads, and images that a label file leaves without one', async () => {
    const other = layout('other', ['a/1.png', 'b/2.png']);
    put(join(other, 'labels.csv'), 'id,species,count\n7,cat,1\n');
    expect((await openSource(`folder:${other}`)).leftOut).toEqual([
      { what: 'label files that name none of the images', count: 1, examples: ['labels.csv'] },
    ]);
    const real = layout('real', ['1.png', '2.png']);
    put(join(real, 'labels.csv'), '1.png,cat\n2.png,\n');
    expect((await openSource(`folder:${real}`)).leftOut).toEqual([
      { what: 'images without a label', count: 1, examples: ['2.png'] },
    ]);
  });

  it('classes that differ in case or white space only are remarked', async () => {
    const source = await openSource(
      `folder:${layout('alike', ['Cat/1.png', 'cat/2.png', 'dog /3.png', 'dog/4.png'])}`,
    );
    expect(source.classes).toHaveLength(4);
    expect(source.remarks![0]).toContain(
      "upper and lower case or white space only: 'Cat' and 'cat', 'dog' and 'dog '",
    );
  });

  it('names with control characters stand escaped in what is said', async () => {
    const source = await openSource(
      `folder:${layout('forged', ['a/1.png', 'b/2.png', 'x\nerror: forged.txt'])}`,
    );
    expect(sourceNotes(source)[0]).toContain('(x\\nerror: forged.txt)');
  });

  it('in both folders of pairs', async () => {
    const root = layout('pairs', ['i/1.jpg', 'm/1.png', 'i/readme.md', 'm/.cache']);
    expect((await openSource(`pairs:${root}/i,${root}/m?classes=2`)).leftOut).toEqual([
      { what: 'files of other kinds', count: 1, examples: ['readme.md'] },
      { what: 'hidden files', count: 1, examples: ['.cache'] },
    ]);
  });
});

describe('one Unicode form', () => {
  const [composed, apart] = ['café'.normalize('NFC'), 'café'.normalize('NFD')];

  it('class folders of train and test, written by two systems', async () => {
    const root = layout('forms', [
      `train/${composed}/1.png`,
      'train/tea/2.png',
      `test/${apart}/3.png`,
      'test/tea/4.png',
    ]);
    const test = await openSource(`folder:${root}`, { split: 'test' });
    expect(test.classes).toEqual([composed, 'tea']);
    expect([0, 1].map((i) => test.label!(i))).toEqual([0, 1]);
    expect(test.name(0)).toBe(join(root, `test/${apart}/3.png`));
  });

  it('one class where a folder has both', async () => {
    const source = await openSource(
      `folder:${layout('both', [`${composed}/1.png`, `${apart}/2.png`, 'tea/3.png'])}`,
    );
    expect(source.classes).toEqual([composed, 'tea']);
    expect([0, 1, 2].map((i) => source.label!(i))).toEqual([0, 0, 1]);
  });

  it('images and label maps, files and their lines, labels and classes', async () => {
    const maps = layout('maps', [`i/${composed}.jpg`, `m/${apart}.png`]);
    expect((await openSource(`pairs:${maps}/i,${maps}/m?classes=2`)).length).toBe(1);
    const root = layout('lines', [`train/${composed}/1.png`, 'train/tea/2.png', `val/${apart}.png`]);
    put(join(root, 'val/labels.csv'), `${composed}.png,${apart}\n`);
    const val = await openSource(`folder:${root}`, { split: 'test' });
    expect(labelsOf(val, 0)).toEqual([0]);
  });

  it('a class in another case is no class, and the message names the one there is', async () => {
    const root = layout('case', ['train/Cat/1.png', 'train/dog/2.png', 'test/cat/3.png']);
    const { message } = await failure(() => openSource(`folder:${root}`, { split: 'test' }));
    expect(message).toContain(
      "the class folder 'cat', which the train images do not have; theirs is called 'Cat'",
    );
  });
});
