// Our contender of `capi bench decode`: JPEG files to training batches and evaluation views, in reading threads.

import { writeSafetensors } from '../../base/safetensors.js';
import { decodeImage } from '../../images/decode/pixels.js';
import { type Box, resizeAndCenterCrop, resizeBicubic } from '../../images/decode/resample.js';
import { openBatches } from '../../images/draw/batches.js';
import { IMAGENET } from '../../images/normalise.js';
import { readAll } from '../../images/read/readers.js';
import { openSource } from '../../images/sources/index.js';
import type { DecodeSetup, DecodeTask } from '../decode.js';
import { type Prepare, timed } from './handlers.js';

/** The normalised value of each byte of each channel. */
const LEVELS = IMAGENET.mean.map((mean, c) =>
  Float32Array.from({ length: 256 }, (_, v) => (v / 255 - mean) / IMAGENET.std[c]!),
);

/** Bytes [height, width, 3] to normalised floats `out` [3, height, width]: in a run the engine does this, in the graph of the step. */
function normalisedPlanes(bytes: Uint8Array, out: Float32Array): void {
  const area = out.length / 3;
  const [red, green, blue] = LEVELS as [Float32Array, Float32Array, Float32Array];
  for (let i = 0, at = 0; i < area; i++, at += 3) {
    out[i] = red[bytes[at]!]!;
    out[area + i] = green[bytes[at + 1]!]!;
    out[2 * area + i] = blue[bytes[at + 2]!]!;
  }
}

export const prepare: Prepare = async (setup: DecodeSetup & { threads: number }) => {
  const { side, resize, batch, cropScale, cropRatio, flip, threads } = setup;
  const area = side * side;
  const source = await openSource(`folder:${setup.images}`);
  const size = { height: side, width: side };
  const planes = new Float32Array(batch * 3 * area); // of one batch after another
  const place = (i: number): Float32Array => planes.subarray(i * 3 * area, (i + 1) * 3 * area);
  const batches = await openBatches(source, {
    ...{ ...size, batch, seed: 0, cropScale, cropRatio, flip, maxBadShare: 0, workers: threads },
  });
  let step = 0;
  /** Batches drawn before the clock starts are as many as are drawn ahead when it stops. */
  const train = async (count: number, floats: boolean) => {
    for (let i = 0; i < Math.max(4, threads); i++) await batches.next(step++);
    return timed(async () => {
      for (let done = 0; done < count; done += batch) {
        const { pixels } = await batches.next(step++);
        for (let i = 0; floats && i < batch; i++) {
          normalisedPlanes(pixels.subarray(i * 3 * area, (i + 1) * 3 * area), place(i));
        }
      }
    });
  };
  const evaluate = async (count: number, floats: boolean) => {
    const ahead = 8 * threads;
    const order = Array.from({ length: count + 2 * ahead }, (_, i) => i % source.length);
    const transform = { transform: 'resize-crop', resize, ...size } as const;
    const views = readAll(source, order, transform, { workers: threads, ahead });
    for (let i = 0; i < ahead; i++) await views.next();
    const time = await timed(async () => {
      for (let i = 0; i < count; i++) {
        const { value } = await views.next();
        if (floats) normalisedPlanes(value!.pixels, place(i % batch));
      }
    });
    await views.return(undefined);
    return time;
  };
  return {
    facts: { threads, versions: { sharp: setup.sharp } },
    handlers: {
      run: async ({ task, floats, count }: { task: DecodeTask; floats: boolean; count: number }) => {
        const time = await (task === 'train' ? train : evaluate)(count, floats);
        return {
          ...time,
          ms: time.ms.map((t) => t / count),
          median_ms: time.median_ms / count,
          cpu_ms: time.cpu_ms! / count,
        };
      },
      /** What comes out for the first images, to be compared. */
      pixels: async ({ files, boxes, file }: { files: string[]; boxes: Box[]; file: string }) => {
        const data = new Uint8Array(2 * files.length * 3 * area);
        for (const [i, path] of files.entries()) {
          const image = await decodeImage(path);
          data.set(resizeBicubic(image, side, side, boxes[i]!).data, i * 3 * area);
          const view = resizeAndCenterCrop(image, resize, side, side);
          data.set(view.data, (files.length + i) * 3 * area);
        }
        await writeSafetensors(file, new Map([['pixels', { dtype: 'U8', shape: [data.length], data }]]));
        return {};
      },
    },
  };
};
