// Sources with label maps in files: the layouts of ADE20K, PASCAL VOC and of anyone's pairs, and what is said of files that do not fit.

import { copyFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { DataError, UsageError } from '../../../src/errors.js';
import { decodeLabelMap, openSource, sampleSource } from '../../../src/images/index.js';
import { failure, put, temporaryFolder } from '../support.js';

const golden = fileURLToPath(new URL('../../golden/images', import.meta.url));
const palettePng = join(golden, 'labels_voc.png'); // labels 0, 5, 20, 255 as palette indices, written by Pillow
const folder = temporaryFolder();
const [HEIGHT, WIDTH] = [23, 37];

const background = { r: 90, g: 120, b: 60 };
const photo = sharp({ create: { width: WIDTH, height: HEIGHT, channels: 3, background } });
const jpeg = await photo.clone().jpeg().toBuffer();
const smaller = await sharp(jpeg).resize(30, 23).jpeg().toBuffer();

/** An 8-bit grey PNG whose pixels go through `labels`. */
function grey(...labels: number[]): Promise<Buffer> {
  const data = Uint8Array.from({ length: HEIGHT * WIDTH }, (_, i) => labels[i % labels.length]!);
  const raw = { width: WIDTH, height: HEIGHT, channels: 1 as const };
  return sharp(data, { raw }).toColourspace('b-w').png().toBuffer();
}

/** Writes JPEG files and label maps (the palette file for those without content); gives the root. */
async function tree(root: string, files: Record<string, Buffer | undefined>): Promise<string> {
  for (const [name, bytes] of Object.entries(files)) {
    const path = join(folder, root, name);
    if (bytes) put(path, bytes);
    else if (/\.jpe?g$/i.test(name)) put(path, jpeg);
    else {
      mkdirSync(dirname(path), { recursive: true });
      copyFileSync(palettePng, path);
    }
  }
  return join(folder, root);
}

const none = undefined;
const NAMES = Array.from({ length: 150 }, (_, i) => `${i + 1}\t0.1\t1\t1\t0\tthing ${i + 1}, stuff`);

async function ade(root: string): Promise<string> {
  const path = await tree(root, {
    'images/training/ADE_train_00000002.jpg': none,
    'images/training/ADE_train_00000010.jpg': none,
    'images/training/ADE_train_00000001.jpg': none,
    'annotations/training/ADE_train_00000010.png': await grey(0, 10),
    'annotations/training/ADE_train_00000002.png': await grey(0, 1, 150),
    'annotations/training/ADE_train_00000001.png': await grey(7),
    'images/validation/ADE_val_00000001.jpg': none,
    'annotations/validation/ADE_val_00000001.png': await grey(255, 151),
  });
  put(join(path, 'objectInfo150.txt'), `Idx\tRatio\tTrain\tVal\tStuff\tName\n${NAMES.join('\n')}\n`);
  put(join(path, 'sceneCategories.txt'), 'ADE_train_00000001 kitchen\n');
  return path;
}

describe('ade20k', () => {
  it('reads the archive: sorted, 150 classes and other, 0 and 255 ignored', async () => {
    const root = await ade('ade/ADEChallengeData2016');
    const source = await openSource(`ade20k:${root}`);
    expect(source).toMatchObject({ split: 'train', length: 3, ignoreLabels: [0, 255] });
    expect(source.labelMapClasses).toHaveLength(151);
    expect([0, 1, 150].map((i) => source.labelMapClasses![i])).toEqual([
      'other',
      'thing 1, stuff',
      'thing 150, stuff',
    ]);
    expect([0, 1, 2].map((i) => source.name(i))).toEqual(
      ['01', '02', '10'].map((n) => join(root, `images/training/ADE_train_000000${n}.jpg`)),
    );
    expect([...(await source.labelMap!(1)).data.subarray(0, 4)]).toEqual([0, 1, 150, 0]);
    const { data, ...size } = await source.read(1);
    expect(size).toEqual({ height: HEIGHT, width: WIDTH });
    expect(Math.abs(data[0]! - background.r)).toBeLessThan(4); // JPEG of a flat colour
    expect(source.label).toBeUndefined();
  });

  it('finds the archive inside of a folder; training and validation are train and test', async () => {
    await ade('ade/ADEChallengeData2016');
    const test = await openSource(`ade20k:${join(folder, 'ade')}`, { split: 'test' });
    expect(test).toMatchObject({
      split: 'test',
      length: 1,
      uri: `ade20k:${join(folder, 'ade/ADEChallengeData2016')}?split=test`,
    });
    expect((await openSource(test.uri)).name(0)).toBe(test.name(0));
    const error = await failure(() => test.labelMap!(0));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toBe(
      `${join(folder, 'ade/ADEChallengeData2016/annotations/validation/ADE_val_00000001.png')} holds the label 151; labels go from 0 to 150, ignored are 0, 255`,
    );
    expect((await sampleSource(test, 1))[0]!.problem).toContain('label 151');
  });

  it('numbers the classes without objectInfo150.txt, and refuses one that is another', async () => {
    const root = await ade('named');
    rmSync(join(root, 'objectInfo150.txt'));
    expect((await openSource(`ade20k:${root}`)).labelMapClasses!.slice(0, 3)).toEqual(['other', '1', '2']);
    put(join(root, 'objectInfo150.txt'), NAMES.slice(1).join('\n'));
    expect((await failure(() => openSource(`ade20k:${root}`))).message).toContain('149 numbered lines');
  });

  it('tells everything that does not fit in one error', async () => {
    const root = await ade('misfit');
    await tree('misfit', {
      'images/training/a.jpg': none,
      'images/training/b.jpg': none,
      'images/training/c.jpeg': none,
      'images/training/d.jpg': none,
      'images/training/e.jpg': none,
      'images/training/ADE_train_00000001.jpeg': none,
      'annotations/training/x.png': none,
      'annotations/training/y.png': none,
      'annotations/training/e.jpg': none,
    });
    const error = (await failure(() => openSource(`ade20k:${root}`))) as DataError;
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toContain('5 images without a label map in');
    expect(error.message).toContain('(a.jpg, b.jpg, c.jpeg, …)');
    expect(error.message).toContain('2 label maps without an image');
    expect(error.message).toContain('(x.png, y.png)');
    expect(error.message).toContain('1 files beside the label maps that are no PNG (e.jpg)');
    expect(error.message).toContain('ADE_train_00000001.jpeg and ADE_train_00000001.jpg');
    expect(error.details.without_label_map).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(await openSource(`ade20k:${root}?split=test`)).toMatchObject({ length: 1 });
  });

  it('names all missing folders', async () => {
    const root = await tree('half', { 'images/training/a.jpg': none });
    const { message } = await failure(() => openSource(`ade20k:${root}?split=test`));
    expect(message).toContain('no images/validation/ and no annotations/validation/');
    expect((await failure(() => openSource(`ade20k:${folder}/nowhere`))).message).toContain('does not exist');
  });
});

async function voc(root: string): Promise<string> {
  const path = await tree(root, {
    'JPEGImages/2007_000032.jpg': none,
    'JPEGImages/2007_000033.jpg': none,
    'JPEGImages/2007_000042.jpg': none,
    'JPEGImages/2008_000001.jpg': none,
    'JPEGImages/2012_unlabelled.jpg': none,
    'SegmentationClass/2007_000032.png': none,
    'SegmentationClass/2007_000033.png': none,
    'SegmentationClass/2007_000042.png': await grey(3, 255),
    'SegmentationClassAug/2007_000032.png': none,
    'SegmentationClassAug/2008_000001.png': await grey(0, 15),
  });
  put(join(path, 'ImageSets/Segmentation/train.txt'), '2007_000033\n2007_000032\n');
  put(join(path, 'ImageSets/Segmentation/val.txt'), '2007_000042\r\n');
  put(join(path, 'ImageSets/Segmentation/trainval.txt'), '2007_000032\n2007_000033\n2007_000042');
  put(
    join(path, 'ImageSets/Segmentation/train_aug.txt'),
    '/JPEGImages/2008_000001.jpg /SegmentationClassAug/2008_000001.png\n/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png\n',
  );
  return path;
}

describe('voc', () => {
  it('reads palette label maps as indices, of the listed images only', async () => {
    const root = await voc('VOCdevkit/VOC2012');
    const source = await openSource(`voc:${root}`);
    expect(source).toMatchObject({ split: 'train', length: 2, ignoreLabels: [255] });
    expect(source.labelMapClasses).toHaveLength(21);
    expect([source.labelMapClasses![15], source.labelMapClasses![20]]).toEqual(['person', 'tv monitor']);
    expect(source.name(0)).toBe(join(root, 'JPEGImages/2007_000032.jpg'));
    const { data } = await source.labelMap!(0);
    expect([0, 6, 12, 18].map((x) => data[x])).toEqual([0, 5, 20, 255]);
    expect((await sharp(readFileSync(palettePng)).metadata()).isPalette).toBe(true);
  });

  it('has val as test, trainval, and the augmented list with its own label maps', async () => {
    const root = await voc('VOCdevkit/VOC2012');
    const test = await openSource(`voc:${folder}/VOCdevkit`, { split: 'test' });
    expect(test).toMatchObject({ split: 'test', length: 1, uri: `voc:${root}?list=val` });
    expect([...(await test.labelMap!(0)).data.subarray(0, 2)]).toEqual([3, 255]);
    expect(await openSource(`voc:${folder}?list=trainval`)).toMatchObject({ split: 'train', length: 3 });
    const augmented = await openSource(`voc:${root}?list=train_aug`, { split: 'test' });
    expect(augmented).toMatchObject({ split: 'train', length: 2 });
    expect([...(await augmented.labelMap!(1)).data.subarray(0, 2)]).toEqual([0, 15]);
    expect(await openSource(augmented.uri)).toMatchObject({ split: 'train', length: 2 });
  });

  it('says which list there is none of, and which split a list is of', async () => {
    const root = await voc('VOCdevkit/VOC2012');
    const error = await failure(() => openSource(`voc:${root}?list=trainaug`));
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toContain('lists there: train, train_aug, trainval, val');
    expect(await failure(() => openSource(`voc:${root}?list=../../train`))).toBeInstanceOf(DataError);
    const clash = await failure(() => openSource(`voc:${root}?list=train_aug&split=test`));
    expect(clash).toBeInstanceOf(UsageError);
    expect((await failure(() => openSource(`voc:${golden}`))).message).toContain('ImageSets/Segmentation');
  });

  it('tells missing images and missing label maps of a list together', async () => {
    const root = await voc('gaps');
    put(
      join(root, 'ImageSets/Segmentation/train.txt'),
      'gone_1\n2007_000032\n2012_unlabelled\ngone_2\n2008_000001\n',
    );
    const { message } = await failure(() => openSource(`voc:${root}`));
    expect(message).toContain('2 images without a label map in');
    expect(message).toContain('(2008_000001.jpg, 2012_unlabelled.jpg)');
    expect(message).toContain('2 listed images that are not in');
    expect(message).toContain('(gone_1, gone_2)');
    put(join(root, 'ImageSets/Segmentation/train.txt'), '2007_000032\n2007_000032\n');
    expect((await failure(() => openSource(`voc:${root}`))).message).toContain('1 names twice');
  });
});

describe('pairs', () => {
  it('matches nested files of any kind by path, with splits', async () => {
    const root = await tree('own', {
      'pictures/train/town/a.jpg': none,
      'pictures/train/b.JPEG': none,
      'pictures/val/c.png': await sharp(jpeg).png().toBuffer(),
      'maps/training/town/a.png': none,
      'maps/training/b.png': await grey(0, 2),
      'maps/test/c.PNG': await grey(20),
    });
    const uri = `pairs:${root}/pictures,${root}/maps?classes=21`;
    const train = await openSource(uri);
    expect(train).toMatchObject({ split: 'train', length: 2, ignoreLabels: [255] });
    expect(train.name(1)).toBe(join(root, 'pictures/train/town/a.jpg'));
    expect((await train.labelMap!(1)).data[6]).toBe(5);
    const test = await openSource(uri, { split: 'test' });
    expect(test.uri).toBe(`pairs:${root}/pictures,${root}/maps?classes=21&ignore=255&split=test`);
    expect((await (await openSource(test.uri)).labelMap!(0)).data[0]).toBe(20);
    const [here, there] = [await train.identity(), await test.identity()];
    expect(here).not.toBe(there);
    put(join(root, 'maps/training/b.png'), await grey(0, 2, 4, 6, 8));
    expect(await (await openSource(uri)).identity()).not.toBe(here);
  });

  it('is one split where it is not divided, with names from a file and its own ignored labels', async () => {
    const root = await tree('flat', { 'i/a.jpg': none, 'm/a.png': await grey(0, 2, 9) });
    const names = put(join(root, 'names.txt'), 'sky\nsea\nland\n');
    const uri = `pairs:${root}/i,${root}/m?names=${names}&ignore=9,0`;
    const source = await openSource(uri);
    expect(source).toMatchObject({
      split: 'all',
      labelMapClasses: ['sky', 'sea', 'land'],
      ignoreLabels: [0, 9],
    });
    expect([...(await source.labelMap!(0)).data.subarray(0, 3)]).toEqual([0, 2, 9]);
    expect((await openSource(source.uri)).ignoreLabels).toEqual([0, 9]);
    expect((await openSource(`pairs:${root}/i,${root}/m?classes=10&ignore=`)).ignoreLabels).toEqual([]);
    expect((await failure(() => openSource(uri, { split: 'test' }))).message).toContain('no test part');
    expect(await openSource(uri, { split: 'test', whole: true })).toMatchObject({ split: 'all' });
  });

  it('names the label map of another size, and the labels outside of the classes', async () => {
    const root = await tree('wrong', {
      'i/a.jpg': smaller,
      'm/a.png': none,
      'i/b.jpg': none,
      'm/b.png': await grey(0, 40, 21, 255),
    });
    const source = await openSource(`pairs:${root}/i,${root}/m?classes=21`);
    const size = await failure(() => source.labelMap!(0));
    expect(size).toBeInstanceOf(DataError);
    expect(size.message).toBe(`${root}/m/a.png is 37 x 23 pixels but its image ${root}/i/a.jpg is 30 x 23`);
    expect((await failure(() => source.labelMap!(1))).message).toContain(
      'm/b.png holds the labels 21, 40; labels go from 0 to 20, ignored are 255',
    );
  });

  it('sees what names differ in', async () => {
    const upper = await tree('upper', { 'i/Town_1.jpg': none, 'm/town_1.png': none });
    expect((await failure(() => openSource(`pairs:${upper}/i,${upper}/m?classes=21`))).message).toContain(
      "'Town_1' and 'town_1' differ in upper and lower case",
    );
    const suffix = await tree('suffix', { 'i/a.jpg': none, 'm/a_labels.png': none });
    expect((await failure(() => openSource(`pairs:${suffix}/i,${suffix}/m?classes=21`))).message).toContain(
      "'_labels' after the image's name",
    );
  });

  it.each([
    ['i', 'one comma'],
    ['i,m,x', 'one comma'],
    ['i,m', 'classes=N'],
    ['i,m?classes=3&names=f', 'one of the two'],
    ['i,m?classes=0', 'from 1 to 256'],
    ['i,m?classes=3&ignore=256', 'from 0 to 255'],
    ['i,m?classes=3&ignore=x', 'from 0 to 255'],
    ['i,m?classes=3&list=train', "unknown option 'list'"],
  ])('pairs:%s is refused', async (text, words) => {
    const error = await failure(() => openSource(`pairs:${text}`));
    expect(error).toBeInstanceOf(UsageError);
    expect(error.message).toContain(words);
  });

  it('keeps an image whose label map cannot be decoded as a problem of that file', async () => {
    const root = await tree('damaged', {
      'i/a.jpg': none,
      'm/a.png': readFileSync(palettePng).subarray(0, 400),
    });
    const [sample] = await sampleSource(await openSource(`pairs:${root}/i,${root}/m?classes=21`), 1);
    expect(sample!.problem).toContain('m/a.png cannot be decoded');
    expect(await failure(() => decodeLabelMap(join(root, 'm/a.png')))).toBeInstanceOf(DataError);
  });
});
