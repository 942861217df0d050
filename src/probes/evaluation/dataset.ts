// One data set as one frozen encoder sees it: images under the protocol's transform, features from the store, labels.
import type { FrozenEncoder, FrozenFeatures } from '../../encoder/frozen.js';
import { DataError, InterruptedError } from '../../errors.js';
import type { MatrixFile } from '../../features/chunks.js';
import { type PartRows, type StorePart, storedParts } from '../../features/store.js';
import {
  type ImageSource,
  type RawImage,
  resizeAndCenterCrop,
  resizeBicubic,
  resizeNearest,
} from '../../images/index.js';

/** How an image becomes the encoder's input; label maps go the same way with nearest neighbours. */
export type EvaluationTransform =
  /** Aspect ratio not kept: the official segmentation protocol. */
  | { readonly kind: 'squash' }
  /** Shorter side to `shorter` times the input's side, then the centre: the official classification protocol. */
  | { readonly kind: 'resize-crop'; readonly shorter: number };

/** Chosen images of a source. */
export interface EvaluationData {
  readonly source: ImageSource;
  /** SHA-256 of what the source holds. */
  readonly identity: string;
  /** Images of the source, ascending. */
  readonly indices: Int32Array;
}

/** All images of a source, or `limit` of them spread evenly over its order. @throws DataError when it has none */
export async function chooseData(source: ImageSource, limit: number | null): Promise<EvaluationData> {
  const n = Math.min(limit ?? source.length, source.length);
  if (n === 0) throw new DataError(`${source.uri} holds no images`);
  const indices = Int32Array.from({ length: n }, (_, i) => Math.floor((i * source.length) / n));
  return { source, identity: await source.identity(), indices };
}

/** What callers hear of and can stop. */
export interface Watch {
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
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

/** Image `i` as the encoder takes it: bytes [height, width, 3]. */
export async function inputImage(
  source: ImageSource,
  i: number,
  size: { height: number; width: number },
  transform: EvaluationTransform,
): Promise<RawImage> {
  const image = await source.read(i);
  if (transform.kind === 'squash') {
    return image.height === size.height && image.width === size.width
      ? image
      : resizeBicubic(image, size.height, size.width);
  }
  return resizeAndCenterCrop(
    image,
    Math.round(transform.shorter * Math.min(size.height, size.width)),
    size.height,
    size.width,
  );
}

/** Features of `data`, read from the store or computed now; an interrupted computation goes on where it was. */
export async function featuresOf(
  encoder: FrozenEncoder,
  data: EvaluationData,
  transform: EvaluationTransform,
  store: string,
  watch: Watch = {},
): Promise<SetFeatures> {
  const { source, indices } = data;
  const { grid, patchWidth, globalWidth, registers, size, batch } = encoder;
  const float = (perImage: number, width: number): StorePart => ({ dtype: 'float32', perImage, width });
  const parts: Record<string, StorePart> = {
    patches: float(grid.rows * grid.columns, patchWidth),
    ...(globalWidth === null ? {} : { global: float(1, globalWidth) }),
    ...(registers ? { registers: float(registers.count, registers.width) } : {}),
  };
  async function* compute(first: number): AsyncIterable<PartRows> {
    const input = new Uint8Array(batch * size.height * size.width * 3);
    const bytes = input.length / batch;
    for (let at = first; at < indices.length; at += batch) {
      if (watch.signal?.aborted)
        throw new InterruptedError(
          `interrupted after the features of ${at} of ${indices.length} images; the same command goes on`,
        );
      const n = Math.min(batch, indices.length - at);
      const images = await Promise.all(
        Array.from({ length: n }, (_, i) => inputImage(source, indices[at + i]!, size, transform)),
      );
      for (let i = 0; i < batch; i++) input.set(images[Math.min(i, n - 1)]!.data, i * bytes);
      const found = await encoder.run(input);
      const piece: PartRows = {};
      for (const [name, { perImage, width }] of Object.entries(parts)) {
        piece[name] = found[name as keyof FrozenFeatures]!.slice(0, n * perImage * width);
      }
      watch.onProgress?.(at + n, indices.length);
      yield piece;
    }
  }
  const key = {
    kind: 'features' as const,
    title: `${encoder.name} on ${source.uri}`,
    made_by: encoder.weightsHash,
    data: data.identity,
    how: {
      transform: { ...transform },
      size: [size.height, size.width],
      images: indices.length,
      of: source.length,
    },
  };
  const { parts: files, computed } = await storedParts(store, key, parts, indices.length, compute);
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

/**
 * Label maps of the chosen images at the encoder's size, one row [patch * patch] a patch in the patches' order, in the store.
 * @throws DataError when the source has no label maps
 */
export async function patchLabelsOf(
  encoder: Pick<FrozenEncoder, 'size' | 'patch' | 'grid'>,
  data: EvaluationData,
  store: string,
  watch: Watch = {},
): Promise<MatrixFile<Uint8Array>> {
  const { source, indices } = data;
  const { size, patch, grid } = encoder;
  if (!source.labelMap)
    throw new DataError(`${source.uri} has no label maps: segmentation needs a source that has`);
  const rows = grid.rows * grid.columns;
  const area = patch * patch;
  async function* compute(first: number): AsyncIterable<PartRows> {
    for (let at = first; at < indices.length; at++) {
      if (watch.signal?.aborted)
        throw new InterruptedError('interrupted while reading label maps; the same command goes on');
      const map = await source.labelMap!(indices[at]!);
      const fitted = resizeNearest(map, size.height, size.width);
      const out = new Uint8Array(rows * area);
      for (let y = 0; y < grid.rows * patch; y++) {
        for (let x = 0; x < grid.columns * patch; x++) {
          const cell = Math.floor(y / patch) * grid.columns + Math.floor(x / patch);
          out[cell * area + (y % patch) * patch + (x % patch)] = fitted.data[y * size.width + x]!;
        }
      }
      watch.onProgress?.(at + 1, indices.length);
      yield { labels: out };
    }
  }
  const key = {
    kind: 'labels' as const,
    title: `label maps of ${source.uri}`,
    made_by: `patch ${patch}`,
    data: data.identity,
    how: { transform: 'squash', size: [size.height, size.width], images: indices.length, of: source.length },
  };
  const part = { dtype: 'uint8', perImage: rows, width: area } as const;
  return (await storedParts(store, key, { labels: part }, indices.length, compute)).parts.labels;
}
