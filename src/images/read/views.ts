// What an evaluation sees of an image: squashed to the encoder's size, or its centre at a fixed scale, with the label map beside it.

import { DataError, UsageError } from '../../errors.js';
import {
  type Box,
  centerBox,
  type DepthMap,
  type LabelMap,
  type RawImage,
  resizeBicubic,
  resizeNearest,
  shorterSideSize,
} from '../decode/resample.js';
import type { ImageSource } from '../source.js';

/**
 * How an image is brought to the size of the encoder's input, in pixels. `squash`: to height x width, its aspect not kept (the official
 * segmentation protocol). `resize-crop`: its shorter side to `resize`, then the height x width centre (the official classification protocol).
 */
export type EvaluationTransform =
  | { transform: 'squash'; height: number; width: number }
  | { transform: 'resize-crop'; resize: number; height: number; width: number };

/** What to read of each image. */
export type EvaluationOptions = EvaluationTransform & {
  /** Whether to read the label map too. */
  labelMaps?: boolean;
  /** Whether to read the depth map too. */
  depthMaps?: boolean;
};

/** One image as an evaluation sees it. */
export interface EvaluationView {
  /** Index of the image in its source. */
  index: number;
  /** RGB bytes [height, width, 3]. */
  pixels: Uint8Array<ArrayBuffer>;
  /** Labels [height, width], where they were asked for. */
  labelMap?: Uint8Array<ArrayBuffer>;
  /** Metres [height, width], 0 where nothing was measured, where depth was asked for. */
  depthMap?: Float32Array<ArrayBuffer>;
  /** Colours of the whole label map (see LabelMap), where the file has a palette. */
  colours?: Uint8Array<ArrayBuffer>;
}

/**
 * Reads image `i` at evaluation size: the image by Pillow's bicubic, its label or depth map by Pillow's nearest, both through the same geometry.
 * Throws DataError for what cannot be read, for a map of another size than its image, and for a source without maps where they are asked for; UsageError for a centre larger than the resized image.
 */
export async function readForEvaluation(
  source: ImageSource,
  i: number,
  options: EvaluationOptions,
): Promise<EvaluationView> {
  checkTransform(options);
  const wanted = [options.labelMaps ? 'labelMap' : [], options.depthMaps ? 'depthMap' : []].flat() as (
    | 'labelMap'
    | 'depthMap'
  )[];
  for (const kind of wanted) {
    if (!source[kind]) throw new DataError(`${source.uri} has no ${NAMES[kind]}s`, { source: source.uri });
  }
  const [image, ...maps] = await Promise.all([source.read(i), ...wanted.map((kind) => source[kind]!(i))]);
  const view: EvaluationView = {
    index: i,
    pixels: transformImage(image, options).data as Uint8Array<ArrayBuffer>,
  };
  for (const [at, map] of maps.entries()) {
    if (map.height !== image.height || map.width !== image.width) {
      throw new DataError(
        `The ${NAMES[wanted[at]!]} of ${source.name(i)} is ${map.width} x ${map.height} pixels but the image is ${image.width} x ${image.height}`,
        { source: source.uri, index: i },
      );
    }
    if ('colours' in map && map.colours) view.colours = map.colours;
    Object.assign(view, { [wanted[at]!]: transformMap(map, options).data });
  }
  return view;
}

const NAMES = { labelMap: 'label map', depthMap: 'depth map' };

/** Throws UsageError for a centre that is larger than the resized image. */
export function checkTransform(options: EvaluationTransform): void {
  const { height, width } = options;
  if (options.transform === 'resize-crop' && options.resize < Math.max(height, width)) {
    throw new UsageError(
      `A centre of ${height} x ${width} does not fit an image whose shorter side is ${options.resize}: resize to ${Math.max(height, width)} or more`,
    );
  }
}

function transformImage(image: RawImage, options: EvaluationTransform): RawImage {
  const { resized, box } = geometry(image, options);
  return resizeBicubic(image, resized.height, resized.width, undefined, false, box);
}

function transformMap(map: LabelMap | DepthMap, options: EvaluationTransform): LabelMap | DepthMap {
  const { resized, box } = geometry(map, options);
  const whole = resizeNearest(map, resized.height, resized.width);
  return box ? resizeNearest(whole, box.height, box.width, box) : whole; // of equal size: a crop
}

/** The size that everything is resized to, and the box that is then cut out. */
function geometry(
  { height, width }: { height: number; width: number },
  options: EvaluationTransform,
): { resized: { height: number; width: number }; box?: Box } {
  if (options.transform === 'squash') return { resized: { height: options.height, width: options.width } };
  const resized = shorterSideSize(height, width, options.resize);
  return { resized, box: centerBox(resized.height, resized.width, options.height, options.width) };
}
