// The features of one set of images by feature source, held in memory where they fit and read from the store where they do not.
import type { FrozenEncoder, FrozenFeatures } from '../encoder/frozen.js';
import type { VectorSource } from '../solvers/neighbours.js';
import { type FeatureSource, type SourceFeatures, sourceFeatures } from './sources.js';

/** Images that are turned into source features at a time. */
const BLOCK = 256;

type Shape = Pick<FrozenEncoder, 'globalWidth' | 'patchWidth' | 'grid' | 'registers'>;

/** Where an encoder's features lie: images first to first + count - 1 of them. */
export interface StoredFeatures {
  readonly images: number;
  read(first: number, count: number): Promise<FrozenFeatures>;
}

/** Features by source of one set of images. */
export interface Samples {
  readonly count: number;
  /** Those of the images `chosen`, in that order; of one source only, if it is named. `into` is written over: fresh memory for every batch keeps the garbage collector busy. */
  gather(chosen: ArrayLike<number>, only?: string, into?: SourceFeatures): Promise<SourceFeatures>;
  /** Those of images first to first + count - 1. */
  range(first: number, count: number): Promise<SourceFeatures>;
}

/** Bytes of the sources' features of so many images. */
export const samplesBytes = (sources: readonly FeatureSource[], images: number): number =>
  4 * images * sources.reduce((sum, { width, tokens }) => sum + width * (tokens ?? 1), 0);

/** The source features of stored ones: all in memory when they take at most `memory` bytes, else computed at every call. */
export async function openSamples(
  encoder: Shape,
  stored: StoredFeatures,
  sources: readonly FeatureSource[],
  memory: number,
): Promise<Samples> {
  const { images } = stored;
  const sizes = sources.map(({ name, width, tokens }) => ({ name, size: width * (tokens ?? 1) }));
  const wanted = (only: string | undefined) =>
    sizes.filter(({ name }) => only === undefined || name === only);
  const empty = (count: number, only?: string): SourceFeatures =>
    Object.fromEntries(wanted(only).map(({ name, size }) => [name, new Float32Array(count * size)]));
  const range = async (first: number, count: number, only?: string): Promise<SourceFeatures> => {
    const made = sources.filter(({ name }) => only === undefined || name === only);
    return sourceFeatures(encoder, await stored.read(first, count), made, count);
  };

  if (samplesBytes(sources, images) > memory) {
    return {
      count: images,
      range,
      async gather(chosen, only, out = empty(chosen.length, only)) {
        for (let i = 0; i < chosen.length; i++) {
          const one = await range(chosen[i]!, 1, only);
          for (const { name, size } of wanted(only)) out[name]!.set(one[name]!, i * size);
        }
        return out;
      },
    };
  }
  const all = empty(images);
  for (let first = 0; first < images; first += BLOCK) {
    const block = await range(first, Math.min(BLOCK, images - first));
    for (const { name, size } of sizes) all[name]!.set(block[name]!, first * size);
  }
  return {
    count: images,
    range: async (first, count) =>
      Object.fromEntries(
        sizes.map(({ name, size }) => [name, all[name]!.subarray(first * size, (first + count) * size)]),
      ),
    async gather(chosen, only, out = empty(chosen.length, only)) {
      for (const { name, size } of wanted(only)) {
        for (let i = 0; i < chosen.length; i++) {
          out[name]!.set(all[name]!.subarray(chosen[i]! * size, (chosen[i]! + 1) * size), i * size);
        }
      }
      return out;
    },
  };
}

/** One source's vectors of the images `chosen`, as neighbour searches read them. */
export function sampleVectors(samples: Samples, source: string, chosen: Int32Array): VectorSource {
  return {
    count: chosen.length,
    read: async (first, count) =>
      (await samples.gather(chosen.subarray(first, first + count), source))[source]!,
  };
}
