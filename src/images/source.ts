// Image sources: what one offers, and what a kind of source says of itself.

import type { DigestOptions } from '../base/files/digests.js';
import type { DepthMap, LabelMap, RawImage } from './decode/resample.js';

/** Which part of a data set: `all` where it is not divided. */
export type Split = 'train' | 'test' | 'all';

/** What was passed over in a folder of data, in words that follow a count, with all or the first names. */
export interface LeftOut {
  what: string;
  count: number;
  examples: string[];
}

/** A finite, ordered set of images that can be read by index in any order, with the labels it knows. */
export interface ImageSource {
  /** The canonical URI: `openSource(uri)` gives this very source again. */
  readonly uri: string;
  readonly split: Split;
  /** Number of images. */
  readonly length: number;
  /** Names of the image labels; `label(i)` indexes them. */
  readonly classes?: string[];
  /** Names of the label map's values. */
  readonly labelMapClasses?: string[];
  /** Label map values that no score counts. */
  readonly ignoreLabels?: number[];
  /** What lies in the source's folders and was passed over, counted and named. */
  readonly leftOut?: readonly LeftOut[];
  /** What else is said of the source wherever its numbers stand: a sentence each. */
  readonly remarks?: readonly string[];
  /** Options that decide which images there are and what their labels mean, apart from what the files hold: part of a record's id. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Why there are no class labels, where there is something to say. */
  readonly unlabelled?: string;
  /** Size of every image, where all have the same. */
  readonly nativeSize?: { height: number; width: number };
  /** What to call image `i` in a log: its path or number. */
  name(i: number): string;
  /** Label of image `i`, an index of `classes`: the first where it has several. */
  label?(i: number): number | undefined;
  /** All labels of image `i`, where images may have several (any of them counts as right) or none (the image is left out). */
  labels?(i: number): readonly number[];
  /** Image `i` as RGB bytes [height, width, 3]. Throws DataError naming the file when it cannot be read. */
  read(i: number): Promise<RawImage>;
  /** Image `i` turned upright by its EXIF tag, where `read` does not turn it (beside label maps, which lie on the stored pixels). */
  readUpright?(i: number): Promise<RawImage>;
  /** Label map of image `i`, as large as the image. */
  labelMap?(i: number): Promise<LabelMap>;
  /** Depth map of image `i` in metres, as large as the image; 0 where nothing was measured, never all of it. */
  depthMap?(i: number): Promise<DepthMap>;
  /** What is looked for among these images, where the data has such queries. */
  readonly queries?: Queries;
  /** Predictions on these images go among `classes` alone, not among all that were learnt: an option, said on the card and in the table. */
  readonly amongOwn?: true;
  /** SHA-256 of what the source holds (the contents of its files, in their order, and labels), wherever it lies. */
  identity(options?: DigestOptions): Promise<string>;
  /** The same of its images alone, which features depend on; absent where that is the identity. */
  imagesIdentity?(options?: DigestOptions): Promise<string>;
  /** What older versions knew files by: names and sizes. Absent where nothing changed. */
  formerIdentity?(): Promise<string>;
}

/** Queries of a database of images (Radenović et al., CVPR 2018). */
export interface Queries {
  /** The source of the query images, cut to their boxes: query `q` is its image `q`. */
  readonly uri: string;
  /** Images of the database for each query: those that are easy and hard to find, and those that count for nothing. The rest are wrong. */
  readonly truth: readonly { easy: readonly number[]; hard: readonly number[]; junk: readonly number[] }[];
}

/** The labels of image `i`, an empty list where it has none or the source knows none. */
export function labelsOf(source: ImageSource, i: number): readonly number[] {
  if (source.labels) return source.labels(i);
  const label = source.label?.(i);
  return label === undefined ? [] : [label];
}

/** What the caller wants where the URI does not say. */
export interface SourceOptions {
  split?: 'train' | 'test';
  /** Files that are not divided into parts may stand for the split that is wanted, whole; without this, wanting their test part is an error. */
  whole?: boolean;
  /** Side of generated pictures, in pixels. */
  size?: number;
  /** Seed of generated pictures. */
  seed?: number;
}

/** The side at which generated pictures are drawn for an encoder that sees `height` pixels: that size, as far as they come in it. */
export const drawnSize = (height: number): number => Math.min(512, Math.max(32, height));

/** A source URI taken apart; `place` is what follows the scheme, `query` the options, both with %XX replaced by what it stands for. */
export interface SourceUri {
  scheme: string;
  place: string;
  /** The place at its commas: more than one where the scheme has several. */
  places: string[];
  query: Map<string, string>;
  text: string;
}

/** A kind of source: a row of SOURCES (sources/index.ts), from which the opener, `capi data list`, errors and the docs take it. */
export interface SourceKind {
  /** What it reads, in a line. */
  reads: string;
  /** What stands behind the scheme. */
  place: string;
  example: string;
  /** What may stand behind the question mark, each with what it accepts. */
  options: Readonly<Record<string, string>>;
  /** Opens the source; the options of `uri` are known ones and win over `options`. Throws UsageError and DataError. */
  open(uri: SourceUri, options: SourceOptions): Promise<ImageSource>;
}
