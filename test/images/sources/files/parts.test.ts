// Train, val and test folders: in any case and under usual names, doubled, doubtful, held out; paths that hold what a URI means something by.

import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DataError, UsageError } from '../../../../src/errors.js';
import { type ImageSource, labelsOf, openSource } from '../../../../src/images/index.js';
import { looksLikePart, partOf } from '../../../../src/images/sources/files/parts.js';
import { failure, put, temporaryFolder } from '../../support.js';

const folder = temporaryFolder();

/** Writes empty files (no test here decodes them); gives the folder. */
function layout(name: string, files: string[]): string {
  for (const file of files) put(join(folder, name, file), '');
  return join(folder, name);
}

/** Two classes of two images in each of these parts. */
const parts = (name: string, ...of: string[]): string =>
  layout(
    name,
    of.flatMap((part) => ['a/1.png', 'a/2.png', 'b/3.png', 'b/4.png'].map((file) => `${part}/${file}`)),
  );

const names = (source: ImageSource): string[] =>
  Array.from({ length: source.length }, (_, i) => source.name(i));
const refusal = (text: string, split?: 'train' | 'test'): Promise<string> =>
  failure(() => openSource(text, { split })).then((error) => {
    expect([DataError, UsageError].some((kind) => error instanceof kind)).toBe(true);
    expect(error.message).not.toContain('\n');
    return error.message;
  });

describe('parts of a folder', () => {
  it.each([
    ['Train', 'Test'],
    ['TRAINING', 'TESTING'],
    ['Training', 'Testing'],
    ['train', 'Val'],
    ['trn', 'valid'],
    ['train', 'Validation'],
    ['train', 'dev'],
    ['Train', 'EVAL'],
    ['train', 'tst'],
  ])('%s and %s are train and test', async (train, test) => {
    const root = parts(`usual-${train}-${test}`, train, test);
    const [first, second] = [
      await openSource(`folder:${root}`),
      await openSource(`folder:${root}`, { split: 'test' }),
    ];
    expect([first.split, second.split]).toEqual(['train', 'test']);
    expect(names(first)[0]).toBe(join(root, train, 'a/1.png'));
    expect(names(second)[0]).toBe(join(root, test, 'a/1.png'));
    expect([first.classes, second.classes]).toEqual([
      ['a', 'b'],
      ['a', 'b'],
    ]);
    expect(names(await openSource(second.uri))).toEqual(names(second));
  });

  it('test counts before val, which its name asks for', async () => {
    const root = parts('three', 'train', 'val', 'test');
    const ask = async (split: string) => names(await openSource(`folder:${root}?split=${split}`))[0];
    expect(await ask('test')).toBe(join(root, 'test/a/1.png'));
    for (const word of ['val', 'validation', 'dev']) expect(await ask(word)).toBe(join(root, 'val/a/1.png'));
    const val = await openSource(`folder:${root}?split=val`);
    expect([val.split, val.uri]).toEqual(['test', `folder:${root}?split=val`]);
    const two = parts('two', 'train', 'test');
    expect(await refusal(`folder:${two}?split=val`)).toContain('no val images: it has train/ and test/');
    expect(await refusal(`folder:${two}?split=sample`)).toContain('must be train, test or val');
  });

  it('two folders of one part are refused, unless one is empty', async () => {
    const root = parts('doubled', 'Train', 'train', 'test');
    expect(await refusal(`folder:${root}`)).toContain(
      "has 'Train' and 'train', which are all its train part",
    );
    const tests = parts('doubled-tests', 'train', 'test', 'Testing');
    expect(await refusal(`folder:${tests}`)).toContain("'Testing' and 'test'");
    const root2 = parts('with-empty', 'Train', 'test');
    put(join(root2, 'train/notes.txt'), '');
    expect(names(await openSource(`folder:${root2}`))[0]).toBe(join(root2, 'Train/a/1.png'));
  });

  it.each([
    ['one part beside classes', ['train/1.png', 'car/2.png'], "'train' beside 'car'"],
    ['the test part alone beside others', ['Test/1.png', 'images/2.png'], "'Test' beside 'images'"],
    ['years', ['train2017/1.png', 'val2017/2.png'], "'train2017' and 'val2017' among its class folders"],
    ['words', ['training_set/1.png', 'test_set/2.png'], "'test_set' and 'training_set'"],
    ['one of three', ['cats/1.png', 'dogs/1.png', 'Test images/2.png'], "'Test images' among"],
    ['prefixes', ['seg_train/1.png', 'data-test/2.png'], "'data-test'"],
    ['numbered parts', ['01_train/1.png', '02_test/2.png'], "'01_train' and '02_test'"],
    ['medical parts', ['imagesTr/1.png', 'imagesTs/2.png'], "'imagesTr' and 'imagesTs'"],
    ['parts of domains', ['trainA/1.png', 'testA/2.png'], "'testA' and 'trainA'"],
    ['parts of classes', ['cats-train/1.png', 'cats-test/2.png'], "'cats-test' and 'cats-train'"],
    [
      'parts inside of classes',
      ['cat/train/1.png', 'cat/test/2.png', 'dog/train/3.png'],
      'inside of its class folders',
    ],
  ])('%s: refused, with the way to say otherwise', async (name, files, words) => {
    const root = layout(`doubtful-${name}`, files);
    const message = await refusal(`folder:${root}`);
    expect(message).toContain(words);
    expect(message).toContain('?parts=none');
    const said = await openSource(`folder:${root}?parts=none`);
    expect(said.classes).toEqual([...new Set(files.map((file) => file.split('/')[0]!))].sort());
    expect(names(await openSource(said.uri))).toEqual(names(said));
    expect(await refusal(`folder:${root}?parts=all`)).toContain('must be none');
  });

  it('parts of parts are no classes', async () => {
    const root = layout('nested', ['train/train/1.png', 'train/test/2.png', 'test/x/3.png']);
    expect(await refusal(`folder:${root}`)).toContain("has 'test' and 'train' where its classes should be");
    const val = layout('val-inside', ['train/cat/1.png', 'train/dog/2.png', 'train/val/cat/3.png']);
    expect(await refusal(`folder:${val}`)).toContain("has 'val' among its classes, which looks like a part");
    put(join(val, 'test/cat/4.png'), '');
    const asTest = openSource(`folder:${val}`, { split: 'test' });
    await expect(asTest).rejects.toThrow(/train has 'val' among its classes/);
    expect((await openSource(`folder:${val}/train?parts=none`)).classes).toEqual(['cat', 'dog', 'val']);
    const again = layout('train-inside', ['train/cat/1.png', 'train/train/cat/2.png', 'test/cat/3.png']);
    expect(await refusal(`folder:${again}`)).toContain("has 'train' among its classes");
    const tubes = layout('tubes', ['train station/1.png', 'crash test/2.png', 'tram/3.png']);
    expect(await refusal(`folder:${tubes}`)).toContain('?parts=none');
    expect(
      (await openSource(`folder:${layout('tube', ['test tube/1.png', 'flask/2.png'])}`)).classes,
    ).toEqual(['flask', 'test tube']);
    const cifar = layout('cifar', ['train/train/1.png', 'train/whale/2.png', 'test/train/3.png']);
    expect((await openSource(`folder:${cifar}`)).classes).toEqual(['train', 'whale']);
  });

  it('what lies beside the parts is said', async () => {
    const root = parts('beside', 'train', 'test');
    for (const file of ['extra/1.png', 'cover.jpg', 'empty/notes.txt']) put(join(root, file), '');
    const { leftOut } = await openSource(`folder:${root}`);
    expect(leftOut).toEqual([
      { what: 'folders with images beside the parts', count: 1, examples: ['extra/'] },
      { what: 'images beside the parts', count: 1, examples: ['cover.jpg'] },
    ]);
  });

  it('an unlabelled test part names the labelled val part beside it', async () => {
    const root = parts('challenge', 'train', 'val');
    put(join(root, 'test/9.png'), '');
    const test = await openSource(`folder:${root}`, { split: 'test' });
    expect(test.classes).toBeUndefined();
    expect(test.unlabelled).toContain(`val/ beside it has: test on folder:${root}?split=val`);
  });

  it('are found in any case in pairs and ade20k too', async () => {
    const root = layout('pairs', ['i/Train/1.jpg', 'i/VAL/2.jpg', 'm/training/1.png', 'm/Validation/2.png']);
    const uri = `pairs:${root}/i,${root}/m?classes=3`;
    expect(names(await openSource(uri, { split: 'test' }))).toEqual([join(root, 'i/VAL/2.jpg')]);
    expect(await refusal(`${uri}&split=val`).catch(() => 'opened')).toBe('opened');
    const ade = layout('ade', ['images/Training/1.jpg', 'annotations/training/1.png']);
    expect(names(await openSource(`ade20k:${ade}`))).toEqual([join(ade, 'images/Training/1.jpg')]);
    layout('ade', ['images/training/1.jpg']);
    expect(await refusal(`ade20k:${ade}`)).toContain("'Training' and 'training', which are one part");
  });

  it('words', () => {
    expect(['TRAIN', 'dev', 'tst', 'car'].map(partOf)).toEqual(['train', 'val', 'test', undefined]);
    const looks = [
      'train_images',
      'Val-2012',
      'testset',
      'seg_test',
      'train station',
      'testament',
      '2017',
      'developer',
    ];
    expect(looks.map(looksLikePart)).toEqual(['train', 'val', 'test', 'test', ...Array(4).fill(undefined)]);
  });
});

describe('hold-outs', () => {
  const files = ['a', 'b'].flatMap((c) => Array.from({ length: 10 }, (_, i) => `${c}/${i}.png`));

  it('divide every class by a share, the same wherever the folder lies', async () => {
    const root = layout('whole', files);
    const open = (at: string, query: string, split: 'train' | 'test') =>
      openSource(`folder:${at}?${query}`, { split });
    const [train, test] = [await open(root, 'holdout=0.2', 'train'), await open(root, 'holdout=0.2', 'test')];
    expect([train.length, test.length, train.split, test.split]).toEqual([16, 4, 'train', 'test']);
    expect([...names(train), ...names(test)].sort()).toEqual(files.map((file) => join(root, file)).sort());
    const labels = Array.from({ length: 4 }, (_, i) => labelsOf(test, i)[0]);
    expect(labels).toEqual([0, 0, 1, 1]);
    expect(test.uri).toBe(`folder:${root}?holdout=0.2&split=test`);
    expect(names(await openSource(test.uri))).toEqual(names(test));
    expect(test.settings).toMatchObject({ holdout: 0.2 });
    expect(await train.identity()).not.toBe(await test.identity());
    const moved = layout('elsewhere/whole', files);
    expect(names(await open(moved, 'holdout=0.2', 'test')).map((name) => name.slice(moved.length))).toEqual(
      names(test).map((name) => name.slice(root.length)),
    );
    const other = await open(root, 'holdout=0.2&seed=1', 'test');
    expect(names(other)).not.toEqual(names(test));
    expect(other.settings).toMatchObject({ holdout: 0.2, seed: 1 });
    expect((await open(root, 'holdout=0.5', 'test')).length).toBe(10);
  });

  it('of pairs and of a train part alone', async () => {
    const both = layout('pairs-whole', [...files.map((f) => `i/${f}`), ...files.map((f) => `m/${f}`)]);
    const uri = `pairs:${both}/i,${both}/m?classes=2&holdout=0.25`;
    const [train, test] = [await openSource(uri), await openSource(uri, { split: 'test' })];
    expect([train.length, test.length]).toEqual([15, 5]);
    expect(names(await openSource(test.uri))).toEqual(names(test));
    const alone = layout(
      'train-alone',
      files.map((file) => `train/${file}`),
    );
    expect((await openSource(`folder:${alone}?holdout=0.1`, { split: 'test' })).length).toBe(2);
  });

  it('are refused where there is a test part, or no share', async () => {
    const root = parts('has-test', 'train', 'test');
    expect(await refusal(`folder:${root}?holdout=0.2`)).toContain('has a test part, test/');
    const whole = layout('whole', files);
    for (const share of ['0', '1', '-1', '2', 'x', '']) {
      expect(await refusal(`folder:${whole}?holdout=${share}`)).toContain(`holdout=${share}`);
    }
    expect(await refusal(`folder:${whole}?seed=1`)).toContain('no holdout');
    expect(await refusal(`folder:${whole}?split=test`)).toContain('holdout=0.2');
    const single = layout('single', ['a/1.png', 'b/2.png']);
    expect(await refusal(`folder:${single}?holdout=0.5`, 'test')).toContain('leaves no test images of 2');
  });
});

describe('paths with characters that mean something', () => {
  it.each([
    'what?',
    'a&b',
    'a,b',
    '50%',
    '100%25',
    'x#1',
    'two words',
    'tab\tbed',
    'line\nfeed',
    'ü?ß',
    'k=v',
  ])('%j is found, and again by its URI', async (name) => {
    const root = layout(`paths/${name}`, ['i/a.png', 'm/a.png', 'names.txt']);
    put(join(root, 'names.txt'), 'x\ny\n');
    const written = encodeURIComponent(name);
    for (const scheme of ['folder', 'pairs']) {
      const place =
        scheme === 'folder'
          ? `${folder}/paths/${written}/i`
          : `${folder}/paths/${written}/i,${folder}/paths/${written}/m`;
      const query = scheme === 'folder' ? '' : `?names=${folder}/paths/${written}/names.txt`;
      const source = await openSource(`${scheme}:${place}${query}`);
      expect(source.name(0)).toBe(join(root, 'i/a.png'));
      // biome-ignore lint/suspicious/noControlCharactersInRegex: a URI stands in logs
      expect(source.uri).not.toMatch(/[\u0000-\u001f]/);
      const again = await openSource(source.uri);
      expect([again.name(0), again.uri]).toEqual([source.name(0), source.uri]);
    }
  });

  it('a question mark as it is starts the options, and the message says what to write', async () => {
    expect(await refusal(`folder:${folder}/what?/x`)).toContain('a ? of a path is written %3F');
    expect(await refusal(`pairs:${folder}/a,b,c?classes=2`)).toContain('a comma of a name is written %2C');
  });

  it('a percent sign that is no escape stays', async () => {
    const root = layout('90%zz', ['a.png']);
    expect((await openSource(`folder:${root}`)).name(0)).toBe(join(root, 'a.png'));
  });
});

describe('links', () => {
  it('that fan out are refused in a moment', async () => {
    const root = layout('fan', ['d0/a.png']);
    for (let i = 1; i <= 24; i++) {
      layout('fan', [`d${i}/keep.txt`]);
      for (const side of ['l', 'r']) symlinkSync(join(root, `d${i - 1}`), join(root, `d${i}`, side));
    }
    const begin = performance.now();
    expect(await refusal(`folder:${root}/d24`)).toContain('links that show the same folders again and again');
    expect(performance.now() - begin).toBeLessThan(20_000);
  });

  it('to one folder from two places are followed', async () => {
    const root = layout('twice', ['cat/1.png', 'dog/2.png', 'dog/more/3.png']);
    symlinkSync(join(root, 'dog'), join(root, 'hound'));
    expect((await openSource(`folder:${root}`)).length).toBe(5);
  });
});
