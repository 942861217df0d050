// The kinds of image sources, one row each, and `openSource`, which opens one by its URI.

import type { ImageSource, SourceKind, SourceOptions } from '../source.js';
import { ade20k } from './ade20k.js';
import { fashionScenes } from './fashion_scenes.js';
import { folder } from './folder.js';
import { idx } from './idx.js';
import { nyu } from './nyu.js';
import { pairs } from './pairs.js';
import { revisited } from './revisited.js';
import { synthetic } from './synthetic.js';
import { parseSourceUri } from './uri.js';
import { voc } from './voc.js';

/** Every kind of source by its scheme, in the order in which they are listed. */
export const SOURCES: Readonly<Record<string, SourceKind>> = {
  synthetic,
  'fashion-scenes': fashionScenes,
  idx,
  folder,
  ade20k,
  voc,
  pairs,
  nyu,
  revisited,
};

/** Opens in a thread what the main thread sees as `uri` with `length` images. Throws where a folder changed meanwhile, and as openSource does. */
export async function openSame(uri: string, length: number): Promise<ImageSource> {
  const source = await openSource(uri);
  if (source.length === length) return source;
  throw new Error(`${uri} changed while it was opened: ${length} images, now ${source.length}`);
}

/**
 * Opens the image source that `text` names (see SOURCES). Options inside the URI win over `options`.
 * Throws UsageError for a URI that cannot be understood and DataError for data that is missing or unusable.
 */
export async function openSource(text: string, options: SourceOptions = {}): Promise<ImageSource> {
  const uri = parseSourceUri(text, SOURCES);
  return SOURCES[uri.scheme]!.open(uri, options);
}
