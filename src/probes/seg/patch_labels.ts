// Label maps cut into patches: the pixels of every patch, and the one label that stands for each.

/** Sizes of label maps, in pixels. */
export interface MapSize {
  readonly height: number;
  readonly width: number;
  /** Side of a patch; divides both. */
  readonly patch: number;
}

/**
 * Reorders label maps [images, height, width] into [images, patches, patch * patch], patches and pixels row by row.
 * Throws RangeError when the patch does not divide the map or the maps are not whole.
 */
export function patchPixels(labelMaps: Uint8Array, size: MapSize): Uint8Array {
  const { height, width, patch } = size;
  if (height % patch !== 0 || width % patch !== 0 || labelMaps.length % (height * width) !== 0) {
    throw new RangeError(
      `${labelMaps.length} pixels do not fit maps of ${height} x ${width} and patches of ${patch}`,
    );
  }
  const out = new Uint8Array(labelMaps.length);
  let at = 0;
  for (let bandStart = 0; bandStart < labelMaps.length; bandStart += patch * width) {
    for (let left = 0; left < width; left += patch) {
      for (let row = 0; row < patch; row++) {
        const from = bandStart + row * width + left;
        out.set(labelMaps.subarray(from, from + patch), at);
        at += patch;
      }
    }
  }
  return out;
}

/** The most frequent label of every patch of `pixels` [patches, perPatch]; of equally frequent ones the smallest. */
export function modalLabels(pixels: Uint8Array, perPatch: number): Uint8Array {
  const labels = new Uint8Array(pixels.length / perPatch);
  const counts = new Uint32Array(256);
  for (let i = 0; i < labels.length; i++) {
    const patch = pixels.subarray(i * perPatch, (i + 1) * perPatch);
    let best = patch[0]!;
    for (const label of patch) {
      const count = ++counts[label]!;
      if (count > counts[best]! || (count === counts[best]! && label < best)) best = label;
    }
    labels[i] = best;
    for (const label of patch) counts[label] = 0;
  }
  return labels;
}
