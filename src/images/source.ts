// Image sources: what one offers, and `openSource`, which makes one from a URI.

import type { LabelMap, RawImage } from './resample.js';
import { parseSourceUri, type Split } from './uri.js';

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
  /** Size of every image, where all have the same. */
  readonly nativeSize?: { height: number; width: number };
  /** What to call image `i` in a log: its path or number. */
  name(i: number): string;
  /** Label of image `i`, an index of `classes`. */
  label?(i: number): number | undefined;
  /** Image `i` as RGB bytes [height, width, 3]. Throws DataError naming the file when it cannot be read. */
  read(i: number): Promise<RawImage>;
  /** Label map of image `i`, as large as the image. */
  labelMap?(i: number): Promise<LabelMap>;
  /** SHA-256 of what the source holds, wherever it lies. */
  identity(): Promise<string>;
}

/** What the caller wants where the URI does not say. */
export interface SourceOptions {
  split?: 'train' | 'test';
  /** Side of generated pictures, in pixels. */
  size?: number;
  /** Seed of generated pictures. */
  seed?: number;
}

/**
 * Opens the image source that `text` names (see SCHEMES). Options inside the URI win over `options`.
 * Throws UsageError for a URI that cannot be understood and DataError for data that is missing or unusable.
 */
export async function openSource(text: string, options: SourceOptions = {}): Promise<ImageSource> {
  const uri = parseSourceUri(text);
  switch (uri.scheme) {
    case 'synthetic':
      return (await import('./synthetic.js')).openSynthetic(uri, options);
    case 'fashion-scenes':
      return (await import('./fashion-scenes.js')).openFashionScenes(uri, options);
    case 'idx':
      return (await import('./idx.js')).openIdx(uri, options);
    case 'folder':
      return (await import('./folder.js')).openFolder(uri, options);
  }
}
