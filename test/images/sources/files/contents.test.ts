// What sources of files are known by: contents, order and labels; what options change; what older versions knew.
import { mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSource } from '../../../../src/images/index.js';

const base = join(tmpdir(), `capi-contents-${process.pid}`);
const given = process.env.CAPI_CACHE;
beforeAll(() => {
  process.env.CAPI_CACHE = join(base, 'cache');
});
afterAll(() => {
  if (given === undefined) delete process.env.CAPI_CACHE;
  else process.env.CAPI_CACHE = given;
  rmSync(base, { recursive: true, force: true });
});

/** A picture of 4 x 4 in one grey; uncompressed, so that all have one size. */
async function picture(path: string, grey: number, channels: 1 | 3 = 3): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const made = sharp(Buffer.alloc(16 * channels, grey), { raw: { width: 4, height: 4, channels } });
  await (channels === 1 ? made.toColourspace('b-w') : made).png({ compressionLevel: 0 }).toFile(path);
}

/** Rewrites a file of the same length, with its times as they were. */
function replace(path: string, bytes: Uint8Array): void {
  const { atime, mtime, size } = statSync(path);
  expect(bytes.length).toBe(size);
  writeFileSync(path, bytes);
  utimesSync(path, atime, mtime);
}

const identity = async (uri: string): Promise<string> => (await openSource(uri)).identity();
const images = async (uri: string): Promise<string> => (await openSource(uri)).imagesIdentity!();

describe('folder', () => {
  const root = join(base, 'folder');
  beforeAll(async () => {
    for (const [i, name] of ['cat', 'dog', 'eel'].entries()) {
      await picture(join(root, 'train', name, 'a.png'), 10 * i);
      if (name !== 'dog') await picture(join(root, 'test', name, 'a.png'), 100 + i);
    }
  });

  it('train and test images of the same names and sizes are other images', async () => {
    const [train, test] = [join(root, 'train/cat/a.png'), join(root, 'test/cat/a.png')];
    expect(statSync(train).size).toBe(statSync(test).size);
    expect(await identity(`folder:${root}/train/cat`)).not.toBe(await identity(`folder:${root}/test/cat`));
  });

  it('two paths to the same files give the same identities, settings and labels by name', async () => {
    const [by, itself] = [
      await openSource(`folder:${root}?split=test`),
      await openSource(`folder:${root}/test`),
    ];
    expect(by.classes).toEqual(['cat', 'dog', 'eel']);
    expect(itself.classes).toEqual(['cat', 'eel']);
    expect(await itself.identity()).toBe(await by.identity());
    expect(await itself.imagesIdentity!()).toBe(await by.imagesIdentity!());
    expect([itself.amongOwn, itself.settings]).toEqual([by.amongOwn, by.settings]);
  });

  it('its own classes are an option, in the address and in the settings', async () => {
    for (const uri of [`folder:${root}?split=test&classes=own`, `folder:${root}/test?classes=own`]) {
      const source = await openSource(uri);
      expect(source.classes).toEqual(['cat', 'eel']);
      expect([0, 1].map((i) => source.label!(i))).toEqual([0, 1]);
      expect(source.amongOwn).toBe(true);
      expect(source.settings).toMatchObject({ predicted_among: 'the classes of the test set' });
      expect(source.uri).toContain('classes=own');
      expect((await openSource(source.uri)).classes).toEqual(source.classes);
    }
    await expect(openSource(`folder:${root}?classes=cat`)).rejects.toThrow(
      /classes=cat; it may be classes=own/,
    );
  });

  it('an edit of the same size with its old times is another set, for older versions the same', async () => {
    const path = join(root, 'train/eel/a.png');
    const before = await openSource(`folder:${root}`);
    const known = [await before.identity(), await before.imagesIdentity!(), await before.formerIdentity!()];
    const other = join(base, 'other.png');
    await picture(other, 77);
    replace(path, readFileSync(other));
    const after = await openSource(`folder:${root}`);
    expect(await after.identity()).not.toBe(known[0]);
    expect(await after.imagesIdentity!()).not.toBe(known[1]);
    expect(await after.formerIdentity!()).toBe(known[2]);
  });

  it('labels.csv counts by its labels: other labels are another set of the same images, a comment is nothing', async () => {
    const flat = join(base, 'flat');
    await picture(join(flat, 'a.png'), 1);
    await picture(join(flat, 'b.png'), 2);
    const uri = `folder:${flat}`;
    const label = (text: string) => writeFileSync(join(flat, 'labels.csv'), text);
    label('a.png,x\nb.png,y\n');
    const [first, pixels] = [await identity(uri), await images(uri)];
    label('# of today\na.png,x\nb.png,y\n');
    expect(await identity(uri)).toBe(first);
    label('a.png,y\nb.png,x\n'); // of the same size
    expect(await identity(uri)).not.toBe(first);
    expect(await images(uri)).toBe(pixels);
  });
});

describe('pairs', () => {
  const root = join(base, 'pairs');
  const uri = (options: string) => `pairs:${root}/images,${root}/labels?${options}`;
  beforeAll(async () => {
    for (const i of [0, 1]) {
      await picture(join(root, 'images', `${i}.png`), 50 + i);
      await picture(join(root, 'labels', `${i}.png`), i, 1);
    }
    writeFileSync(join(root, 'names.txt'), 'sky\nsea\n');
  });

  it('classes, ignored labels and names are settings; contents are the same', async () => {
    const sources = await Promise.all(
      ['classes=2', 'classes=3', 'classes=2&ignore=0,255', `names=${root}/names.txt`].map((o) =>
        openSource(uri(o)),
      ),
    );
    expect(new Set(await Promise.all(sources.map((s) => s.identity()))).size).toBe(1);
    expect(new Set(sources.map((s) => JSON.stringify(s.settings))).size).toBe(4);
    expect(sources[2]!.settings).toMatchObject({ classes: 2, ignore: [0, 255] });
  });

  it('a names file that was edited is another setting', async () => {
    const names = async () => (await openSource(uri(`names=${root}/names.txt`))).settings;
    const before = await names();
    replace(join(root, 'names.txt'), Buffer.from('sea\nsky\n'));
    expect(await names()).not.toEqual(before);
  });

  it('a label map of the same size is another set of the same images', async () => {
    const [before, pixels] = [await identity(uri('classes=2')), await images(uri('classes=2'))];
    const other = join(base, 'map.png');
    await picture(other, 1, 1);
    replace(join(root, 'labels/0.png'), readFileSync(other));
    expect(await identity(uri('classes=2'))).not.toBe(before);
    expect(await images(uri('classes=2'))).toBe(pixels);
  });
});

describe('voc', () => {
  it('a list that was edited is another set, and the augmented maps are others', async () => {
    const root = join(base, 'VOC2012');
    const list = (name: string, text: string) => {
      mkdirSync(join(root, 'ImageSets/Segmentation'), { recursive: true });
      writeFileSync(join(root, 'ImageSets/Segmentation', `${name}.txt`), text);
    };
    for (const [i, name] of ['a1', 'a2', 'a3'].entries()) {
      await picture(join(root, 'JPEGImages', `${name}.png`), i);
      await picture(join(root, 'SegmentationClass', `${name}.png`), 0, 1);
      await picture(join(root, 'SegmentationClassAug', `${name}.png`), 1, 1);
    }
    list('train', 'a1\na2\n');
    list('train_aug', 'a1\na2\n');
    const first = await identity(`voc:${root}`);
    expect(await identity(`voc:${root}?list=train_aug`)).not.toBe(first);
    expect(await images(`voc:${root}?list=train_aug`)).toBe(await images(`voc:${root}`));
    list('train', 'a1\na3\n'); // of the same size
    expect(await identity(`voc:${root}`)).not.toBe(first);
  });
});

describe('generated sources', () => {
  it.each([
    ['synthetic:scenes?count=20&size=32', '943873a9f27da30c'],
    ['synthetic:scenes?count=20&size=32&split=test', '266bd404bee5967c'],
  ])('%s keeps its identity, has no settings and one identity', async (uri, known) => {
    const source = await openSource(uri);
    expect((await source.identity()).slice(0, 16)).toBe(known);
    expect([source.settings, source.imagesIdentity, source.formerIdentity]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });
});
