// What `capi data show` prints.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { capi } from './capi.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-show-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const show = (source: string): string[] =>
  capi(['data', 'show', source, '--count', '4', '--force', '--out', join(folder, 'sheet.png')]).stdout.split(
    '\n',
  );

describe('capi data show', () => {
  it('says how many images have several labels or none, and what no score counts', async () => {
    const images = join(folder, 'labelled');
    mkdirSync(images);
    const grey = { width: 8, height: 8, channels: 3, background: 'grey' } as const;
    for (const name of ['a.png', 'b.png', 'c.png', 'd.png'])
      writeFileSync(join(images, name), await sharp({ create: grey }).png().toBuffer());
    writeFileSync(join(images, 'labels.csv'), 'a.png,1;0\nb.png,1\nc.png,\nd.png,0;1\n');
    expect(show(`folder:${images}`)).toContain('labels       2 images have several, 1 none');
    expect(show(`pairs:${images},${images}?classes=256&ignore=0,255`)).toContain(
      'label map    256 classes, not scored: 0, 255',
    );
  });

  it('says nothing of labels where each image has one', () => {
    const lines = show('synthetic:scenes?size=32&count=40');
    expect(lines).toContain('images       40');
    expect(lines.filter((line) => line.startsWith('labels '))).toEqual([]);
  });
});
