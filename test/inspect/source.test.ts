// What is said of a source of images, and the contact sheet of it.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { DataError, UsageError } from '../../src/errors.js';
import { decodeImage } from '../../src/images/index.js';
import { surveySource } from '../../src/inspect/source.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-show-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const uri = 'synthetic:scenes?size=32&count=40';
const options = { count: 6, force: false };

describe('surveySource', () => {
  it('counts, measures and draws', async () => {
    const out = join(folder, 'sheet.png');
    const result = await surveySource(uri, { ...options, out });
    expect(result).toMatchObject({
      source: 'synthetic:scenes?count=40&difficulty=0.5&seed=0&size=32&split=train',
      images: 40,
      sizes: { height: [32, 32], width: [32, 32] },
      contact_sheet: out,
      unreadable: [],
    });
    expect(result.classes!.reduce((sum, { images }) => sum + images!, 0)).toBe(40);
    const sheet = await decodeImage(out);
    expect(sheet.width).toBe(2 * (256 + 4) + 4); // six pairs of 2 x 128 pixels in two columns
    expect(readdirSync(folder)).toEqual(['sheet.png']);
  });

  it('says how many images have several labels or none, and what no score counts', async () => {
    const images = join(folder, 'labelled');
    mkdirSync(images);
    const grey = { width: 8, height: 8, channels: 3, background: 'grey' } as const;
    for (const name of ['a.png', 'b.png', 'c.png', 'd.png'])
      writeFileSync(join(images, name), await sharp({ create: grey }).png().toBuffer());
    writeFileSync(join(images, 'labels.csv'), 'a.png,1;0\nb.png,1\nc.png,\nd.png,0;1\n');
    const out = join(folder, 'labels.png');
    const result = await surveySource(`folder:${images}`, { ...options, out });
    expect(result.labels).toEqual({ several: 2, none: 1 });
    const ignore = await surveySource(`pairs:${images},${images}?classes=256&ignore=0,255`, {
      ...options,
      out,
      force: true,
    });
    expect(ignore.labels).toBeUndefined();
    expect(ignore.label_map_classes).toHaveLength(256);
    expect(ignore.ignored_labels).toEqual([0, 255]);
    const one = await surveySource(uri, { ...options, out, force: true });
    expect(one.labels).toEqual({ several: 0, none: 0 });
  });

  it('leaves an existing file alone unless forced', async () => {
    const out = join(folder, 'precious.png');
    writeFileSync(out, 'precious');
    await expect(surveySource(uri, { ...options, out })).rejects.toThrow(UsageError);
    expect(readFileSync(out, 'utf8')).toBe('precious');
    await surveySource(uri, { ...options, out, force: true });
    expect((await decodeImage(out)).height).toBeGreaterThan(100);
  });

  it('writes nothing for a source that cannot be opened', async () => {
    const out = join(folder, 'none.png');
    await expect(surveySource(`folder:${folder}/nowhere`, { ...options, out })).rejects.toThrow(DataError);
    expect(existsSync(out)).toBe(false);
  });
});
