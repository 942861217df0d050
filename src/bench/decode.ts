// What `capi bench decode` does: JPEG files to what a step or an encoder takes, beside Pillow with torchvision's arithmetic.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stream } from '../base/random.js';
import { readSafetensors } from '../base/safetensors.js';
import { usableCores } from '../cores.js';
import { encodeJpeg } from '../images/decode/pixels.js';
import { type Box, crop, type RawImage } from '../images/decode/resample.js';
import { sampleCrop } from '../images/draw/transform.js';
import { openSource } from '../images/sources/index.js';
import { checkAgreement, compare, type Entrant } from './compare.js';
import {
  type Contender,
  isPinned,
  ourCommand,
  PYTHON_FIX,
  packageRoot,
  pythonCommand,
  type Timed,
} from './contender.js';
import type { Agreement, Comparison } from './record.js';
import { type Bench, type BenchOptions, type BenchResult, runBench } from './run.js';

export type DecodeTask = 'train' | 'evaluate';

/** What both sides are told. */
export interface DecodeSetup {
  /** Folder of JPEG files. */
  images: string;
  /** Output height and width, and what the shorter side is resized to before the centre is cut out. */
  side: number;
  resize: number;
  batch: number;
  cropScale: [number, number];
  cropRatio: [number, number];
  flip: number;
  /** Version of sharp. */
  sharp: string;
}

export interface DecodeOptions extends BenchOptions {
  /** Images of one round. */
  images?: number | undefined;
}

const [WIDTH, HEIGHT, QUALITY] = [500, 375, 95];
/** Standard deviation in levels of 255. */
const NOISE = 8;
const NORMALISED =
  'in a run of capi the engine normalises, in the graph of the step; here it is a loop in JavaScript';
const WORK: Record<DecodeTask, string> = {
  train: 'JPEG to a random resized crop, mirrored half of the time',
  evaluate: 'JPEG to its centre, shorter side resized first',
};
/**
 * Mean difference of a byte. Both resample alike to the bit; the JPEG decoders of sharp and of Pillow may upsample chroma and round
 * the inverse transform in their own ways.
 */
const SAME_PIXELS = 1;

export function benchDecode(options: DecodeOptions): Promise<BenchResult> {
  return runBench('decode', options, async (bench) => {
    const threads = options.threads ?? usableCores();
    const count = options.images ?? (bench.quick ? 16 : 512);
    const images = join(bench.folder, 'images');
    const { files, bytes } = await writeJpegs(images, bench.quick ? 8 : 64);
    const { dependencies } = (await import(join(packageRoot, 'package.json'), { with: { type: 'json' } }))
      .default;
    const setup: DecodeSetup = {
      ...{ images, side: 224, resize: 256, batch: bench.quick ? 4 : 32, flip: 0.5 },
      ...{ cropScale: [0.6, 1], cropRatio: [3 / 4, 4 / 3], sharp: dependencies.sharp },
    };
    const start = (name: string, command: string[], more: object = {}) =>
      bench.start({ name, command, setup: { ...setup, ...more }, threads, pinned: true, fix: PYTHON_FIX });
    const own = await start('capi', ourCommand('decode'));
    const rivals: Contender[] = [];
    if (bench.python) {
      const command = pythonCommand(bench.python, 'decode.py');
      for (const way of ['threads', 'processes'])
        rivals.push(await start(`Pillow, ${threads} ${way}`, command, { way }));
    }
    const agreement: Agreement[] = [];
    for (const rival of rivals.slice(0, 1)) agreement.push(await samePixels(own, rival, files, setup, bench));
    const tables: Comparison[] = [];
    for (const task of ['train', 'evaluate'] as const) {
      for (const floats of [false, true]) {
        const run = (contender: Contender, n = count) =>
          contender.ask<Timed>('run', { task, floats, count: n });
        for (const c of [own, ...rivals]) await run(c, setup.batch);
        tables.push(
          await compare({
            work: `${WORK[task]}; ${floats ? 'normalised floats' : 'bytes'} out`,
            sizes: {
              'JPEG width': WIDTH,
              height: HEIGHT,
              KB: Math.round(bytes / 1000),
              side: setup.side,
              threads,
            },
            rounds: bench.rounds,
            entrants: [own, ...rivals].map(
              (contender): Entrant => ({
                name: contender === own ? `capi, ${threads} threads` : contender.name,
                contender,
                run: () => run(contender),
              }),
            ),
            items: 1,
            agreement,
            notes: [
              ...(isPinned(threads) ? [`every contender is kept on ${threads} of the cores`] : []),
              ...(floats ? [NORMALISED] : []),
            ],
            log: bench.log,
          }),
        );
      }
    }
    return tables;
  });
}

/** Generated scenes as JPEG files of the size of ImageNet's; `bytes` is their mean size. */
async function writeJpegs(folder: string, count: number): Promise<{ files: string[]; bytes: number }> {
  await mkdir(folder);
  const source = await openSource(`synthetic:scenes?size=${WIDTH}`);
  const files: string[] = [];
  let bytes = 0;
  for (let i = 0; i < count; i++) {
    const whole: RawImage = await source.read(i);
    const image = withNoise(crop(whole, { top: 60, left: 0, height: HEIGHT, width: WIDTH }), i);
    const jpeg = await encodeJpeg(image, QUALITY);
    const file = join(folder, `${String(i).padStart(4, '0')}.jpg`);
    await writeFile(file, jpeg);
    files.push(file);
    bytes += jpeg.length / count;
  }
  return { files, bytes };
}

/** Noise as a camera's, without which generated scenes make files of a third of the usual size. */
function withNoise(image: RawImage, key: number): RawImage {
  const random = stream(0, 'bench noise', key);
  const data = Uint8ClampedArray.from(image.data, (level) => level + NOISE * random.normal());
  return { ...image, data: new Uint8Array(data.buffer) };
}

async function samePixels(
  own: Contender,
  rival: Contender,
  all: string[],
  { cropScale, cropRatio }: DecodeSetup,
  bench: Bench,
): Promise<Agreement> {
  const files = all.slice(0, 8);
  const boxes = files.map(
    (_, i): Box => sampleCrop(stream(0, 'bench crop', i), HEIGHT, WIDTH, cropScale, cropRatio),
  );
  const out = [own, rival].map((_, i) => join(bench.folder, `pixels-${i}.safetensors`));
  for (const [i, c] of [own, rival].entries()) await c.ask('pixels', { files, boxes, file: out[i] });
  const read = async (file: string) =>
    (await readSafetensors(file)).tensors.get('pixels')!.data as Uint8Array;
  const [ours, theirs] = [await read(out[0]!), await read(out[1]!)];
  let sum = 0;
  for (let i = 0; i < ours.length; i++) sum += Math.abs(ours[i]! - theirs[i]!);
  return checkAgreement({
    with: rival.name,
    what: 'a byte of 255 differs on average by',
    value: ours.length === theirs.length ? sum / ours.length : Number.POSITIVE_INFINITY,
    tolerance: SAME_PIXELS,
  });
}
