// Image sources: what one offers, and `openSource`, which makes one from a URI.

import type { DigestOptions } from '../base/files/digests.js';
import type { LabelMap, RawImage } from './decode/resample.js';
import type { LeftOut } from './sources/files/listing.js';
import { parseSourceUri, type Split } from './sources/uri.js';

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
  /** Predictions on these images go among `classes` alone, not among all that were learnt: an option, said on the card and in the table. */
  readonly amongOwn?: true;
  /** SHA-256 of what the source holds (the contents of its files, in their order, and labels), wherever it lies. */
  identity(options?: DigestOptions): Promise<string>;
  /** The same of its images alone, which features depend on; absent where that is the identity. */
  imagesIdentity?(options?: DigestOptions): Promise<string>;
  /** What older versions knew files by: names and sizes. Absent where nothing changed. */
  formerIdentity?(): Promise<string>;
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

/**
 * Opens the image source that `text` names (see SCHEMES). Options inside the URI win over `options`.
 * Throws UsageError for a URI that cannot be understood and DataError for data that is missing or unusable.
 */
export async function openSource(text: string, options: SourceOptions = {}): Promise<ImageSource> {
  const uri = parseSourceUri(text);
  switch (uri.scheme) {
    case 'synthetic':
      return (await import('./sources/synthetic.js')).openSynthetic(uri, options);
    case 'fashion-scenes':
      return (await import('./sources/fashion_scenes.js')).openFashionScenes(uri, options);
    case 'idx':
      return (await import('./sources/idx.js')).openIdx(uri, options);
    case 'folder':
      return (await import('./sources/folder.js')).openFolder(uri, options);
    case 'ade20k':
      return (await import('./sources/ade20k.js')).openAde20k(uri, options);
    case 'voc':
      return (await import('./sources/voc.js')).openVoc(uri, options);
    case 'pairs':
      return (await import('./sources/pairs.js')).openPairs(uri, options);
  }
}
