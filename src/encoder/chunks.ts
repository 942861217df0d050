// How many images of a batch go through an encoder at once: a processor is faster on as many as its cache holds.
import type { Engine } from '../engine/program.js';
import type { ModelSizes } from '../model/sizes.js';

/** Bytes of the widest activation that one thread works on: about the second-level cache of one core. */
const THREAD_BYTES = 2 ** 20;

/**
 * Images that the program of an encoder takes at once: the largest divisor of `batch` whose hidden activations [T, F] fit the caches of
 * the engine's threads, at least one; on other devices than a CPU the whole batch. Changes results by rounding only.
 */
export function imagesAtOnce(
  s: Pick<ModelSizes, 'registers' | 'patches' | 'hidden'>,
  batch: number,
  { device, threads = 1 }: Pick<Engine, 'device' | 'threads'>,
): number {
  if (device !== 'cpu') return batch;
  const most = (THREAD_BYTES * threads) / ((s.registers + s.patches) * s.hidden * 4);
  for (let n = Math.min(batch, Math.max(1, Math.floor(most))); n > 1; n--) if (batch % n === 0) return n;
  return 1;
}

/** The outputs of `run` on each part of `images`, `parts` of equal size, one after another. */
export async function inParts(
  images: Uint8Array,
  parts: number,
  run: (images: Uint8Array) => Promise<Record<string, Float32Array>>,
): Promise<Record<string, Float32Array>> {
  if (parts === 1) return run(images);
  const bytes = images.length / parts;
  const out: Record<string, Float32Array> = {};
  for (let i = 0; i < parts; i++) {
    for (const [name, values] of Object.entries(await run(images.subarray(i * bytes, (i + 1) * bytes)))) {
      out[name] ??= new Float32Array(parts * values.length);
      out[name].set(values, i * values.length);
    }
  }
  return out;
}

/** The threads of the processor that an encoder on this engine keeps busy, if any (see FrozenEncoder). */
export function busyThreads({ device, threads }: Pick<Engine, 'device' | 'threads'>): { threads?: number } {
  return device === 'cpu' && threads !== undefined ? { threads } : {};
}
