// How many images of a batch go through an encoder at once: a processor is faster on as many as its cache holds.
import type { Engine } from '../engine/program.js';
import type { ModelSizes } from '../model/sizes.js';

/** Bytes of the widest activation that one thread works on: about the second-level cache of one core. */
const THREAD_BYTES = 2 ** 20;

/** How the images of a batch go through an encoder: so many at once in each of so many streams. */
export interface Streams {
  images: number;
  streams: number;
}

/**
 * On a CPU the images of each stream are the largest divisor of `batch` whose hidden activations [T, F] fit the caches of its threads, at least one;
 * on other devices one stream takes the whole batch. A stream for each thread saves the waiting at the end of every op (some 5 % of the
 * time at the size of benchmarks/speed/step.yaml), where there is a part for each and Node's pool has a thread for each.
 * Changes results by rounding only.
 */
export function streamsOf(
  s: Pick<ModelSizes, 'registers' | 'patches' | 'hidden'>,
  batch: number,
  { name, device, threads = 1 }: Pick<Engine, 'name' | 'device' | 'threads'>,
): Streams {
  if (device !== 'cpu') return { images: batch, streams: 1 };
  const imagesOf = (threads: number): number => {
    const most = (THREAD_BYTES * threads) / ((s.registers + s.patches) * s.hidden * 4);
    for (let n = Math.min(batch, Math.max(1, Math.floor(most))); n > 1; n--) if (batch % n === 0) return n;
    return 1;
  };
  const pool = Number(process.env.UV_THREADPOOL_SIZE ?? 4);
  const apart = imagesOf(1);
  if (name === 'onnx' && threads <= pool && batch / apart >= threads)
    return { images: apart, streams: threads };
  return { images: imagesOf(threads), streams: 1 };
}

/**
 * The outputs of `run` on each part of `images`, `parts` of equal size, as many at once as there are streams.
 * @throws what a run throws, when no other goes on any more
 */
export async function inParts(
  images: Uint8Array,
  { parts, streams }: { parts: number; streams: number },
  run: (images: Uint8Array) => Promise<Record<string, Float32Array>>,
): Promise<Record<string, Float32Array>> {
  if (parts === 1) return run(images);
  const bytes = images.length / parts;
  const out: Record<string, Float32Array> = {};
  let next = 0;
  const stream = async (): Promise<void> => {
    while (next < parts) {
      const i = next++;
      for (const [name, values] of Object.entries(await run(images.subarray(i * bytes, (i + 1) * bytes)))) {
        out[name] ??= new Float32Array(parts * values.length);
        out[name].set(values, i * values.length);
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: streams }, stream));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  return out;
}

/** The threads of the processor that an encoder on this engine keeps busy, if any (see FrozenEncoder). */
export function busyThreads({ device, threads }: Pick<Engine, 'device' | 'threads'>): { threads?: number } {
  return device === 'cpu' && threads !== undefined ? { threads } : {};
}
