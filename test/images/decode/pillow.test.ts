// Pixels and label maps against the bytes that Pillow gives for the reference pictures.

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readSafetensors } from '../../../src/base/safetensors.js';
import { decodeImage, decodeLabelMap } from '../../../src/images/decode/pixels.js';
import { resizeAndCenterCrop, resizeBicubic, resizeNearest } from '../../../src/images/decode/resample.js';
import { referenceImages } from '../support.js';

const folder = referenceImages();
const { tensors: expected } = await readSafetensors(join(folder, 'pillow.safetensors'));

/** Mean absolute difference and share of values that differ by at most 4. */
function difference(a: Uint8Array, b: Uint8Array): { mean: number; within4: number } {
  expect(a.length).toBe(b.length);
  let sum = 0;
  let close = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i]! - b[i]!);
    sum += d;
    if (d <= 4) close++;
  }
  return { mean: sum / a.length, within4: close / a.length };
}

describe('pixels agree with Pillow', () => {
  for (const [name, tensor] of expected) {
    if (name.endsWith('.box')) continue;
    it(name, async () => {
      const [height, width] = tensor.shape as [number, number];
      if (name.includes('.labels_nearest')) {
        const map = await decodeLabelMap(join(folder, `${name.split('.')[0]}_labels.png`));
        expect(Buffer.compare(resizeNearest(map, height, width).data, tensor.data as Uint8Array)).toBe(0);
        return;
      }
      const dot = name.lastIndexOf('.');
      const file = name.slice(0, dot);
      const what = name.slice(dot + 1);
      const image = await decodeImage(join(folder, file));
      const [top, left, boxHeight, boxWidth] = expected.get(`${file}.box`)!.data as unknown as number[];
      const box = { top: top!, left: left!, height: boxHeight!, width: boxWidth! };
      const resize = Number(/^resize(\d+)_/.exec(what)?.[1]);
      const ours = what.startsWith('squash')
        ? resizeBicubic(image, height, width)
        : what.startsWith('boxcrop')
          ? resizeBicubic(image, height, width, box, what.endsWith('hflip'))
          : resizeAndCenterCrop(image, resize, height, width);
      const { mean, within4 } = difference(ours.data, tensor.data as Uint8Array);
      // PNG pixels reach the resampler unchanged. Ours is equal to Pillow 13; versions before it may order the two passes
      // differently, which costs a rounding (0.2). JPEG decoders differ by their inverse transform.
      expect(mean).toBeLessThan(file.endsWith('.png') ? 0.6 : 1.5);
      if (file.endsWith('.png')) expect(within4).toBeGreaterThan(0.99);
      if (folder.includes('test/golden')) expect(mean).toBe(0);
    });
  }
});
