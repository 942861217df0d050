// A run is what its files say: resumed on the pixels it was begun with, evaluated as it was trained, whoever edits its config since.
import { cpSync, mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCheckpoint, writeCheckpoint } from '../../src/checkpoint/file.js';
import { latestCheckpoint } from '../../src/checkpoint/folder.js';
import { loadEncoder } from '../../src/encoder/load.js';
import { checkpointEncoder } from '../../src/encoder/run_weights.js';
import { parseEncoderSpec } from '../../src/encoder/spec.js';
import { DataError, InterruptedError, UsageError } from '../../src/errors.js';
import { prepareRun } from '../../src/pretrain/prepare.js';
import { smallConfig, smallRun, temporaryFolder } from './small_run.js';

const base = temporaryFolder();
const data = join(base, 'data');
const given = process.env.CAPI_CACHE;
process.env.CAPI_CACHE = join(base, 'cache');
afterAll(() => {
  if (given === undefined) delete process.env.CAPI_CACHE;
  else process.env.CAPI_CACHE = given;
});

const SETS = [`data.source=folder:${data}`, 'train.steps=4', 'checkpoint.every=2', 'data.normalise=dataset'];

/** Pictures of one size in bytes, whatever they show. */
async function picture(i: number, grey: number): Promise<void> {
  const pixels = Buffer.from(Array.from({ length: 20 * 20 * 3 }, (_, p) => (grey + 7 * p) % 256));
  await sharp(pixels, { raw: { width: 20, height: 20, channels: 3 } })
    .tiff({ compression: 'none' })
    .toFile(join(data, `${i}.tif`));
}

/** Other pixels under the old name, size and time. */
async function replace(i: number, grey: number): Promise<void> {
  const path = join(data, `${i}.tif`);
  const { atime, mtime, size } = statSync(path);
  await picture(i, grey);
  expect(statSync(path).size).toBe(size);
  utimesSync(path, atime, mtime);
}

/** Runs until the first checkpoint of step 2, as the former identity knows the run where `former` is set. */
async function begun(folder: string, { former = false } = {}): Promise<void> {
  const prepared = await prepareRun(smallConfig(...SETS));
  const stop = new AbortController();
  const onStep = ({ step }: { step: number }) => step === 2 && stop.abort('SIGTERM');
  const known = former ? { identity: await prepared.former!() } : {};
  const run = smallRun(folder, SETS, { ...prepared, ...known, signal: stop.signal, onStep });
  await expect(run).rejects.toThrow(InterruptedError);
}

beforeAll(async () => {
  mkdirSync(data, { recursive: true });
  for (let i = 0; i < 8; i++) await picture(i, 20 * i);
});

describe('a run', () => {
  it('is not resumed on other pixels of the same names and sizes', async () => {
    const folder = join(base, 'pixels');
    await begun(folder);
    await replace(3, 200);
    await expect(smallRun(folder, SETS)).rejects.toThrow(/holds another run; what differs: data\.source/);
    await replace(3, 60);
    expect((await smallRun(folder, SETS)).step).toBe(4);
  });

  it('of an older version, which knew its images by names and sizes, goes on with a warning, and knows them from then on', async () => {
    const folder = join(base, 'older');
    await begun(folder, { former: true });
    const heard: string[] = [];
    const stop = new AbortController();
    const more = smallRun(folder, SETS, {
      signal: stop.signal,
      onStep: () => stop.abort('SIGTERM'),
      onMessage: (text) => heard.push(text),
    });
    await expect(more).rejects.toThrow(InterruptedError);
    expect(heard.join('\n')).toMatch(
      /warning: this run was begun by a version that knew its images by names/,
    );
    await replace(5, 200);
    await expect(smallRun(folder, SETS)).rejects.toThrow(UsageError);
    await expect(smallRun(folder, SETS)).rejects.toThrow(/other images: the files have the names and sizes/);
    await replace(5, 100);
    const quiet: string[] = [];
    expect((await smallRun(folder, SETS, { onMessage: (text) => quiet.push(text) })).step).toBe(4);
    expect(quiet.join('\n')).not.toMatch(/knew its images by names/);
  });
});

describe('what a run was trained with', () => {
  const run = join(base, 'run');
  const spec = (folder: string) => loadEncoder(parseEncoderSpec(folder));
  const copy = (name: string): string => {
    cpSync(run, join(base, name), { recursive: true });
    return join(base, name);
  };
  const edit = (file: string, from: string | RegExp, to: string): void => {
    const text = readFileSync(file, 'utf8');
    expect(text).toMatch(from);
    writeFileSync(file, text.replace(from, to));
  };
  beforeAll(async () => {
    await smallRun(run, SETS);
  });

  it.each([
    ['model.registers', /registers: 4/, 'registers: 2', 'model.registers 4 -> 2'],
    ['model.heads', /heads: 2/, 'heads: 4', 'model.heads 2 -> 4'],
    ['data.normalise', /normalise: dataset/, 'normalise: imagenet', 'data.normalise "dataset" -> "imagenet"'],
  ])('is not what an edited config.yaml says: %s', async (name, from, to, says) => {
    const folder = copy(`edited ${name}`);
    edit(join(folder, 'config.yaml'), from, to);
    await expect(checkpointEncoder(folder)).rejects.toThrow(DataError);
    await expect(checkpointEncoder(folder)).rejects.toThrow(says);
    await expect(loadEncoder(parseEncoderSpec(`random:${folder}`))).rejects.toThrow(says);
  });

  it('stays what it is where config.yaml says another place, engine or time between checkpoints', async () => {
    const folder = copy('moved');
    edit(join(folder, 'config.yaml'), `folder:${data}`, 'folder:/nowhere');
    edit(join(folder, 'config.yaml'), /threads: 1/, 'threads: 3');
    edit(join(folder, 'config.yaml'), /every: 2/, 'every: 3');
    const [moved, first] = [await spec(folder), await spec(run)];
    expect([moved.mean, moved.std, moved.weights]).toEqual([first.mean, first.std, first.weights]);
  });

  it('has the statistics of its images, whatever they are now; without them, older checkpoints need those images', async () => {
    const first = await spec(run);
    const older = copy('older checkpoint');
    const { path, step } = (await latestCheckpoint(join(older, 'checkpoints')))!;
    const { tensors, meta } = await readCheckpoint(path);
    expect(meta.pixels).toEqual({ mean: first.mean, std: first.std });
    const { pixels, ...rest } = meta;
    rmSync(path);
    await writeCheckpoint(join(older, 'checkpoints'), step, { tensors, meta: rest }, 9);
    expect((await spec(older)).mean).toEqual(first.mean);
    await replace(1, 250);
    expect((await spec(run)).mean).toEqual(first.mean);
    await expect(spec(older)).rejects.toThrow(/normalises pixels with the statistics of its training images/);
    await replace(1, 20);
  });
});

describe('a run on generated images', () => {
  it('keeps its identity', async () => {
    const { identity, former } = await prepareRun(smallConfig('engine.threads=1'));
    expect([identity.hash.slice(0, 16), former]).toEqual(['1400bbe14d136293', undefined]);
  });
});
