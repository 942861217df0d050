// `capi eval viz`: the files, what it refuses to overwrite, and its page in a real browser.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UsageError } from '../../src/errors.js';
import { decodeImage } from '../../src/images/index.js';
import { commandLine } from '../../src/shell.js';
import { drawPage, folderNames, type VizOptions, type VizResult } from '../../src/viz/page.js';
import { smallRun, temporaryFolder } from '../pretrain/small_run.js';
import { BrowserPage } from '../support/chromium.js';
import { suiteNeeding } from '../support/suites.js';

const folder = temporaryFolder();
const run = join(folder, 'run & more'); // a name that HTML and addresses must escape
beforeAll(() => smallRun(run, ['train.steps=2']));

const options = (more: Partial<VizOptions> = {}): Omit<VizOptions, 'engine'> => ({
  encoders: [run],
  data: 'synthetic:scenes?count=40',
  split: 'test',
  resolution: 24,
  heatmaps: false,
  signs: false,
  limit: 5,
  out: join(folder, 'out'),
  weights: 'ema',
  force: false,
  ...more,
});

const viz = async (more: Partial<VizOptions> = {}): Promise<VizResult> =>
  drawPage({ engine: { name: 'onnx', device: 'cpu', threads: 1 }, ...options(more) });
const filesIn = (out: string): string[] =>
  readdirSync(out, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(out.length + 1))
    .sort();

describe('the page of pictures', () => {
  it('writes exactly what it lists, every picture whole and of the size asked for', async () => {
    const out = join(folder, 'both');
    const listing = await viz({
      out,
      encoders: [run, 'random:quickstart', 'pixels:8'],
      heatmaps: true,
      signs: true,
    });
    expect(filesIn(out)).toEqual([...listing.files].sort());
    expect(listing.settings).toMatchObject({ images: 5, every: 8, split: 'test' });
    expect(
      listing.encoders.map((e) => [e.images.length, e.prototypes !== undefined, e.notes.length]),
    ).toEqual([
      [5, true, 0],
      [5, false, 1],
      [5, false, 1],
    ]);
    const pictures = listing.files.filter((file) => file.endsWith('.png'));
    // 5 images; an image of an encoder: 2 RGB, 16 heat maps, 16 sign variants, 4 grids of them; an encoder: 3 grids over images.
    const [map, strips] = [5 + 1, pictures.filter((f) => /prototype-\d/.test(f)).length];
    expect(pictures.length).toBe(5 + 3 * (5 * (2 + 16 + 16 + 4) + 3) + map + strips + 1);
    for (const file of pictures) {
      const { height, width } = await decodeImage(join(out, file));
      if (!/grid|prototype|heat\.|signs\./.test(file)) expect([file, height, width]).toEqual([file, 24, 24]);
    }
    const written = JSON.parse(readFileSync(join(out, 'viz.json'), 'utf8')) as VizResult;
    expect(written).toEqual(JSON.parse(JSON.stringify(listing)));
    const page = readFileSync(listing.page, 'utf8');
    for (const e of listing.encoders) expect(page).toContain(e.weightsHash);
    expect(page).not.toMatch(/(src|href)="(https?:)?\/\//);
  });

  it('gives the same pictures again', async () => {
    const [a, b] = [await viz({ out: join(folder, 'a') }), await viz({ out: join(folder, 'b') })];
    for (const file of a.files.filter((f) => f.endsWith('.png'))) {
      const [x, y] = [readFileSync(join(folder, 'a', file)), readFileSync(join(folder, 'b', file))];
      expect(`${file} ${x.equals(y)}`).toBe(`${file} true`);
    }
    expect(b.files).toEqual(a.files);
  });

  it('leaves prototypes out with a line where they are not those of the features', async () => {
    const { encoders } = await viz({ out: join(folder, 'student'), weights: 'student' });
    expect(encoders[0]!.notes).toEqual([expect.stringContaining('fitted to the EMA features')]);
    expect(encoders[0]!.prototypes).toBeUndefined();
  });

  it('overwrites nothing unless forced, and then its own files only', async () => {
    const out = join(folder, 'kept');
    mkdirSync(out);
    writeFileSync(join(out, 'notes.txt'), 'mine');
    await expect(viz({ out })).rejects.toThrow(UsageError);
    expect(filesIn(out)).toEqual(['notes.txt']);
    const many = await viz({ out, force: true, limit: 10 });
    writeFileSync(join(folder, 'outside.txt'), 'mine');
    const list = JSON.parse(readFileSync(join(out, 'viz.json'), 'utf8')) as { files: string[] };
    list.files.push('../outside.txt', join(folder, 'outside.txt'));
    writeFileSync(join(out, 'viz.json'), JSON.stringify(list));
    const few = await viz({ out, force: true });
    expect(few.files.length).toBeLessThan(many.files.length);
    expect(filesIn(out)).toEqual([...few.files, 'notes.txt'].sort());
    expect(existsSync(join(folder, 'outside.txt'))).toBe(true);
    await expect(viz({ out: join(out, 'notes.txt') })).rejects.toThrow(/is no folder/);
  });

  it('refuses a size that the patch does not divide, and leaves no folder', async () => {
    const out = join(folder, 'never');
    await expect(viz({ out, resolution: 30 })).rejects.toThrow(/not divisible by its patch 4/);
    await expect(viz({ out, data: `folder:${folder}/none` })).rejects.toThrow(/none/);
    expect(existsSync(out)).toBe(false);
  });

  it('names folders after encoders, and repeats the command as a shell reads it', () => {
    expect(folderNames(['runs/a/', 'random:vit-s-14?seed=1', 'x/run', 'y/run', '..'])).toEqual([
      'a',
      'random-vit-s-14-seed-1',
      '3-run',
      '4-run',
      'encoder',
    ]);
    expect(commandLine(['eval', 'viz', "it's", 'a b?', 'x=1'])).toBe(`capi eval viz 'it'\\''s' 'a b?' x=1`);
  });
});

suiteNeeding('chromium')('the page in a browser', () => {
  const out = join(folder, 'page #1?');
  let page: BrowserPage;
  beforeAll(async () => {
    await viz({ out, encoders: [run, 'pixels:8'], heatmaps: true, signs: true });
    page = await BrowserPage.open();
  });
  afterAll(() => page?.close());
  const open = async (): Promise<void> => {
    page.complaints.length = 0;
    page.requests.length = 0;
    await page.go(pathToFileURL(join(out, 'index.html')).href);
  };

  it('loads every picture from its own folder and complains about nothing', async () => {
    await page.look(1280, 900);
    await open();
    expect(await page.value('document.documentElement.dataset.pictures')).toBe('loaded');
    const broken = '[...document.images].filter((i) => i.src && i.naturalWidth === 0).length';
    expect(await page.value(broken)).toBe(0);
    expect(await page.value('document.images.length')).toBeGreaterThan(300);
    expect(page.requests.filter((url) => !/^(file|data):/.test(url))).toEqual([]);
    expect(page.complaints).toEqual([]);
  });

  it('says in words what every picture shows, and names encoder, weights and command', async () => {
    await open();
    const alts = await page.value<string[]>(
      "[...document.querySelectorAll('main img')].map((i) => i.getAttribute('alt') ?? '')",
    );
    expect(alts.filter((alt) => alt.length < 10)).toEqual([]);
    expect(new Set(alts).size).toBe(alts.length);
    const text = await page.value<string>('document.body.innerText');
    expect(text).toContain('run & more');
    expect(text).toContain('24 × 24 px');
    expect(text).toContain('5 of 40 (every 8th)');
  });

  it.each([
    [360, false],
    [360, true],
    [1600, true],
  ])('fits a window of %i px and is readable (dark: %s)', async (width, dark) => {
    await page.look(width, 800, dark);
    await open();
    const beyond = await page.value<number>('document.documentElement.scrollWidth - innerWidth');
    expect(beyond).toBeLessThanOrEqual(0);
    // Contrast of text and of quiet text with the paper, by WCAG 2: 4.5 is its bound for text of this size.
    const contrast = `(() => {
      const light = (c) => c.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const paper = light(getComputedStyle(document.body).backgroundColor);
      return ['body', 'figcaption', 'summary', 'a', 'th'].map((name) => {
        const ink = light(getComputedStyle(document.querySelector(name)).color);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
      });
    })()`;
    expect(Math.min(...(await page.value<number[]>(contrast)))).toBeGreaterThan(4.5);
    const light = await page.value<string>('getComputedStyle(document.body).backgroundColor');
    expect(light === 'rgb(255, 255, 255)').toBe(!dark);
  });

  it('works from the keyboard: enlarge, go on, close, choose what is shown', async () => {
    await page.look(1280, 900);
    await open();
    const focus = (selector: string): Promise<void> =>
      page.value(`document.querySelector(${JSON.stringify(selector)}).focus()`);
    const text = (): Promise<string> => page.value("document.querySelector('dialog p').textContent");
    const opened = (): Promise<boolean> => page.value("document.querySelector('dialog').open");
    await focus('.tile');
    await page.press('Enter');
    expect([await opened(), await text()]).toEqual([true, expect.stringContaining('Image. Image 0')]);
    await page.press('ArrowRight');
    expect(await text()).toContain('PCA of this image. Image 0');
    for (let i = 0; i < 5; i++) await page.press('ArrowRight'); // past the heat maps, which are closed
    expect(await text()).toContain('Image. Image 8');
    for (let i = 0; i < 5; i++) await page.press('ArrowLeft');
    await page.press('Escape');
    expect(await opened()).toBe(false);
    const at = "document.activeElement.querySelector('img').alt";
    // A closed dialog gives the focus back at once; `close`, at which the page moves it on, is a task of its own and comes later.
    await expect.poll(() => page.value(at), { timeout: 10_000 }).toContain('PCA of this image. Image 0');
    await focus('input[value="own"]');
    await page.press(' ');
    const shown = "[...document.querySelectorAll('article figure')].filter((f) => f.checkVisibility())";
    const kinds = await page.value<string[]>(`[...new Set(${shown}.map((f) => f.dataset.kind))]`);
    expect(kinds.sort()).toEqual(['image', 'joint', 'prototypes']);
    expect(page.complaints).toEqual([]);
  });

  it('says so when its pictures are not there', async () => {
    const notice = "getComputedStyle(document.querySelector('.missing')).display";
    await open();
    expect(await page.value(notice)).toBe('none');
    rmSync(join(out, 'images-24x24/00000.png'));
    await open();
    expect(await page.value(notice)).toBe('block');
    expect(page.complaints.length).toBeGreaterThan(0); // the test's own eyes: what is missing is seen
  });
});
