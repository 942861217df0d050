// One data set as one frozen encoder sees it: images under the protocol's transform, features from the store, labels.

import type { DigestOptions } from '../base/files/digests.js';
import { sha256 } from '../base/hash.js';
import { finiteFeatures } from '../encoder/finite.js';
import type { FrozenEncoder, FrozenFeatures } from '../encoder/frozen.js';
import { DataError, InterruptedError } from '../errors.js';
import type { MatrixFile } from '../features/chunks.js';
import {
  entryFolder,
  isStored,
  type PartFile,
  type PartRows,
  type StoreKey,
  type StorePart,
  storedParts,
} from '../features/store.js';
import { type EvaluationTransform, type ImageSource, readAll } from '../images/index.js';
import { patchPixels } from './patch_pixels.js';

/** How an image becomes the input of an encoder of any size; label maps go the same way with nearest neighbours. */
export type InputTransform =
  /** Aspect ratio not kept: the official segmentation protocol. */
  | { readonly kind: 'squash' }
  /** Shorter side to `shorter` times the input's (longer) side, then the centre: the official classification protocol. */
  | { readonly kind: 'resize-crop'; readonly shorter: number };

/** The same in pixels, for an input of `size`; the resized side is rounded to a whole pixel. */
export function transformFor(
  transform: InputTransform,
  { height, width }: { height: number; width: number },
): EvaluationTransform {
  if (transform.kind === 'squash') return { transform: 'squash', height, width };
  const resize = Math.round(transform.shorter * Math.max(height, width));
  return { transform: 'resize-crop', resize, height, width };
}

/** Chosen images of a source. */
export interface EvaluationData {
  readonly source: ImageSource;
  /** SHA-256 of what the source holds. */
  readonly identity: string;
  /** The same of its images alone. */
  readonly imagesIdentity: string;
  /** Images of the source, ascending. */
  readonly indices: Int32Array;
}

/**
 * All images of a source, or `limit` of them spread evenly over its order.
 * @throws DataError when it has none or a file cannot be read, InterruptedError when the signal stops the reading
 */
export async function chooseData(
  source: ImageSource,
  limit: number | null,
  reading: DigestOptions = {},
): Promise<EvaluationData> {
  const n = Math.min(limit ?? source.length, source.length);
  if (n === 0) throw new DataError(`${source.uri} holds no images`);
  const indices = Int32Array.from({ length: n }, (_, i) => Math.floor((i * source.length) / n));
  const identity = await source.identity(reading);
  return { source, identity, imagesIdentity: (await source.imagesIdentity?.()) ?? identity, indices };
}

/** What callers hear of and can stop. */
export interface Watch {
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
  /** Reading threads; the default is that of readAll. Changes no result. */
  readonly workers?: number;
  /** Hears what the store has to say. */
  readonly onMessage?: (line: string) => void;
  /** Take nothing from the store (see storedParts). */
  readonly renewed?: Set<string>;
}

/** Features of the chosen images, in the store. */
export interface SetFeatures {
  readonly images: number;
  /** [images * rows * columns, patchWidth] */
  readonly patches: MatrixFile;
  /** [images, globalWidth] */
  readonly global?: MatrixFile;
  /** [images * count, width] */
  readonly registers?: MatrixFile;
  /** Images that had to be computed now; the others were in the store. */
  readonly computed: number;
  /** Features of images first to first + count - 1. */
  read(first: number, count: number): Promise<FrozenFeatures>;
  close(): Promise<void>;
}

/** What decides the features of `data`, and the folder of the store that they lie in, or will. */
export function featuresKey(
  encoder: FrozenEncoder,
  data: EvaluationData,
  transform: InputTransform,
  store: string,
): { key: StoreKey; parts: Record<string, StorePart>; folder: string } {
  const { grid, patchWidth, globalWidth, registers, size } = encoder;
  const float = (perImage: number, width: number): StorePart => ({ dtype: 'float32', perImage, width });
  const parts: Record<string, StorePart> = {
    patches: float(grid.rows * grid.columns, patchWidth),
    ...(globalWidth === null ? {} : { global: float(1, globalWidth) }),
    ...(registers ? { registers: float(registers.count, registers.width) } : {}),
  };
  const key: StoreKey = {
    kind: 'features',
    title: `${encoder.name} on ${data.source.uri}`,
    made_by: encoder.weightsHash,
    data: data.imagesIdentity,
    // `finite`: entries of before may hold NaN, for nothing looked; they are not used any more.
    how: { ...transformFor(transform, size), parts, images: chosen(data), finite: true },
  };
  return { key, parts, folder: entryFolder(store, key) };
}

/** Which images of a source, as part of a key. */
function chosen({ indices }: EvaluationData): string {
  return `${indices.length} ${sha256(new Uint8Array(indices.buffer, indices.byteOffset, indices.byteLength))}`;
}

/**
 * Features of `data`, read from the store or computed now; an interrupted computation goes on where it was.
 * @throws DataError for an image that cannot be read or a damaged store, InterruptedError when the signal stops it
 */
export async function featuresOf(
  encoder: FrozenEncoder,
  data: EvaluationData,
  transform: InputTransform,
  store: string,
  watch: Watch = {},
): Promise<SetFeatures> {
  const { source, indices } = data;
  const { size, batch, threads } = encoder;
  const { key, parts } = featuresKey(encoder, data, transform, store);
  async function* compute(first: number): AsyncIterable<PartRows> {
    const input = new Uint8Array(batch * size.height * size.width * 3);
    const bytes = input.length / batch;
    const views = readAll(source, indices.subarray(first), transformFor(transform, size), {
      ...reading(watch, encoder),
      // An encoder on the processor takes turns with the readers: both have all the threads that were asked for, never at one time.
      // Beside another device the next batch is read while the encoder works on this one.
      ...(threads === undefined ? { ahead: 2 * batch } : { ahead: batch, together: batch }),
    });
    let done = first;
    let filled = 0;
    for await (const { pixels } of views) {
      input.set(pixels, filled++ * bytes);
      if (filled < batch && done + filled < indices.length) continue;
      stopIfAsked(watch, `interrupted after the features of ${done} of ${indices.length} images`);
      for (let i = filled; i < batch; i++) input.set(pixels, i * bytes); // nobody looks at these
      const at = done;
      const found = await finiteFeatures(encoder, input, filled, (i) => source.name(indices[at + i]!));
      const piece: PartRows = {};
      for (const [name, { perImage, width }] of Object.entries(parts)) {
        piece[name] = found[name as keyof FrozenFeatures]!.slice(0, filled * perImage * width);
      }
      done += filled;
      filled = 0;
      watch.onProgress?.(done, indices.length);
      yield piece;
    }
  }
  const { parts: files, computed } = await storedParts(store, key, parts, indices.length, compute, watch);
  const copy = async (name: string, first: number, count: number): Promise<Float32Array> => {
    const { perImage } = parts[name]!;
    return ((await files[name]!.read(first * perImage, count * perImage)) as Float32Array).slice();
  };
  return {
    images: indices.length,
    computed,
    patches: files.patches as MatrixFile,
    ...(files.global ? { global: files.global as MatrixFile } : {}),
    ...(files.registers ? { registers: files.registers as MatrixFile } : {}),
    async read(first, count) {
      return {
        patches: await copy('patches', first, count),
        ...(files.global ? { global: await copy('global', first, count) } : {}),
        ...(files.registers ? { registers: await copy('registers', first, count) } : {}),
      };
    },
    async close() {
      for (const file of Object.values(files)) await file.close();
    },
  };
}

const reading = ({ workers }: Watch, { threads }: Pick<FrozenEncoder, 'threads'>) => ({
  ...(workers === undefined ? {} : { workers }),
  ...(threads === undefined ? {} : { threads }),
});

function stopIfAsked({ signal }: Watch, what: string): void {
  if (signal?.aborted) throw new InterruptedError(`${what}; the same command goes on`);
}

/** By which classes label maps were checked as they were read: under others they are read again. */
const checked = ({ source: { settings } }: EvaluationData) => (settings ? { checked: settings } : {});

/** The maps that patches can have: the source's reader, the part of the store. */
const MAPS = {
  labels: { read: 'labelMap', dtype: 'uint8', called: 'label maps', need: 'segmentation' },
  depths: { read: 'depthMap', dtype: 'float32', called: 'depth maps', need: 'depth' },
} as const;
export type MapKind = keyof typeof MAPS;

/** What decides the maps of `data`, and their folder in the store. */
function mapsKey(
  kind: MapKind,
  { size, patch }: Pick<FrozenEncoder, 'size' | 'patch'>,
  data: EvaluationData,
  store: string,
): { key: StoreKey; folder: string } {
  const key: StoreKey = {
    kind,
    title: `${MAPS[kind].called} of ${data.source.uri}`,
    made_by: `patch ${patch}`,
    data: data.identity,
    how: {
      ...transformFor({ kind: 'squash' }, size),
      images: chosen(data),
      ...checked(data),
    },
  };
  return { key, folder: entryFolder(store, key) };
}

/** Whether the store has the features of `data`; and the bytes of its maps of a kind, all and those that the store lacks. */
export function inStore(
  encoder: FrozenEncoder,
  data: EvaluationData,
  transform: InputTransform,
  store: string,
  maps?: MapKind,
): { features: boolean; maps: { whole: number; lacking: number } } {
  const { parts, folder } = featuresKey(encoder, data, transform, store);
  const { height, width } = encoder.size;
  const each = maps ? height * width * (MAPS[maps].dtype === 'uint8' ? 1 : 4) : 0;
  const stored = maps && isStored(mapsKey(maps, encoder, data, store).folder, [maps]);
  const whole = each * data.indices.length;
  return {
    features: isStored(folder, Object.keys(parts)),
    maps: { whole, lacking: stored ? 0 : whole },
  };
}

/**
 * Maps of the chosen images at the encoder's size, one row [patch * patch] a patch in the patches' order, in the store: label ids, or metres (0 where
 * nothing was measured). @throws DataError when the source has no such maps, or for one that cannot be read or does not fit its image
 */
export async function patchMapsOf<M extends MapKind>(
  kind: M,
  encoder: Pick<FrozenEncoder, 'size' | 'patch' | 'grid' | 'threads'>,
  data: EvaluationData,
  store: string,
  watch: Watch = {},
): Promise<PartFile<(typeof MAPS)[M]['dtype']>> {
  const { source, indices } = data;
  const { size, patch, grid } = encoder;
  const { read, dtype, called, need } = MAPS[kind];
  if (!source[read]) throw new DataError(`${source.uri} has no ${called}: ${need} needs a source that has`);
  const squash = transformFor({ kind: 'squash' }, size);
  async function* compute(first: number): AsyncIterable<PartRows> {
    const options = { ...squash, [`${read}s`]: true };
    let done = first;
    for await (const view of readAll(source, indices.subarray(first), options, reading(watch, encoder))) {
      stopIfAsked(watch, `interrupted after ${done} of ${indices.length} ${called}`);
      watch.onProgress?.(++done, indices.length);
      yield { [kind]: patchPixels<Uint8Array | Float32Array>(view[read]!, { ...size, patch }) };
    }
  }
  const part = { dtype, perImage: grid.rows * grid.columns, width: patch * patch };
  const { key } = mapsKey(kind, encoder, data, store);
  const { parts } = await storedParts(store, key, { [kind]: part }, indices.length, compute, watch);
  return parts[kind] as PartFile<(typeof MAPS)[M]['dtype']>;
}

/** Features and maps of a set of images, patch by patch. */
export interface PatchSet<M extends MapKind> {
  readonly images: number;
  /** [images * patches, patchWidth] */
  readonly features: MatrixFile;
  /** See patchMapsOf. */
  readonly maps: PartFile<(typeof MAPS)[M]['dtype']>;
  close(): Promise<void>;
}

/** Patch features under the squashing transform, and the maps of the same images, both in the store. @throws what featuresOf and patchMapsOf throw */
export async function openPatches<M extends MapKind>(
  kind: M,
  {
    encoder,
    store,
    watch,
  }: {
    encoder: FrozenEncoder;
    store: string;
    watch?: Watch & { onStage?: (stage: string, done: number, total: number) => void };
  },
  data: EvaluationData,
  called: string,
): Promise<PatchSet<M>> {
  const stage = (what: string): Watch => ({
    ...watch,
    onProgress: (done, total) => watch?.onStage?.(`${what} of ${called}`, done, total),
  });
  const maps = await patchMapsOf(kind, encoder, data, store, stage(MAPS[kind].called));
  const features = await featuresOf(encoder, data, { kind: 'squash' }, store, stage('features')).catch(
    async (error) => {
      await maps.close();
      throw error;
    },
  );
  return {
    images: data.indices.length,
    features: features.patches,
    maps,
    async close() {
      await maps.close();
      await features.close();
    },
  };
}
