// Maps of pixels cut into patches.

/** Sizes of maps, in pixels. */
export interface MapSize {
  readonly height: number;
  readonly width: number;
  /** Side of a patch; divides both. */
  readonly patch: number;
}

/**
 * Reorders maps [images, height, width] into [images, patches, patch * patch], patches and pixels row by row.
 * Throws RangeError when the patch does not divide the map or the maps are not whole.
 */
export function patchPixels<M extends Uint8Array | Float32Array>(maps: M, size: MapSize): M {
  const { height, width, patch } = size;
  if (height % patch !== 0 || width % patch !== 0 || maps.length % (height * width) !== 0) {
    throw new RangeError(
      `${maps.length} pixels do not fit maps of ${height} x ${width} and patches of ${patch}`,
    );
  }
  const out = new (maps.constructor as new (length: number) => M)(maps.length);
  let at = 0;
  for (let bandStart = 0; bandStart < maps.length; bandStart += patch * width) {
    for (let left = 0; left < width; left += patch) {
      for (let row = 0; row < patch; row++) {
        const from = bandStart + row * width + left;
        out.set(maps.subarray(from, from + patch), at);
        at += patch;
      }
    }
  }
  return out;
}
