// The source of images and depth maps in files.

import { decodeDepthMap } from '../../decode/pixels.js';
import type { ImageSource } from '../../source.js';
import { type MapSource, mapSource, readMap } from './map_files.js';

/** The source of matched files, `scale` metres a unit of the depth maps. Depth maps throw DataError where they are not as large as their image or measure nothing. */
export function depthMapSource(made: MapSource, scale: number): ImageSource {
  return {
    ...mapSource(made, { depth: scale }),
    depthMap: (i) => readMap(made, i, 'depth map', (file) => decodeDepthMap(file, scale)),
  };
}
