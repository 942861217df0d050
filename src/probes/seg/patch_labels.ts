// The one label that stands for each patch of a label map.

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
