// The training transform: a random resized crop, sampled as torchvision does it, and a flip.

import type { Random } from '../../base/random.js';
import { type Box, type RawImage, resizeBicubic, roundHalfEven } from '../decode/resample.js';

/** What the training transform may do. */
export interface TransformOptions {
  /** Size of the result, in pixels. */
  height: number;
  width: number;
  /** Least and greatest share of the image's area that a crop takes. */
  cropScale: [number, number];
  /** Least and greatest width / height of a crop. */
  cropRatio: [number, number];
  /** Probability of mirroring left to right. */
  flip: number;
}

/**
 * Draws the box of a random resized crop (torchvision's RandomResizedCrop): ten tries of an area, uniform in `scale`, and a ratio,
 * log-uniform in `ratio`; when none fits, the largest centred box whose ratio is allowed. Reads 2 to 22 numbers of `random`.
 */
export function sampleCrop(
  random: Random,
  height: number,
  width: number,
  scale: [number, number],
  ratio: [number, number],
): Box {
  const area = height * width;
  const logRatio = [Math.log(ratio[0]), Math.log(ratio[1])] as const;
  for (let tries = 0; tries < 10; tries++) {
    const target = area * random.uniform(scale[0], scale[1]);
    const aspect = Math.exp(random.uniform(logRatio[0], logRatio[1]));
    const w = roundHalfEven(Math.sqrt(target * aspect));
    const h = roundHalfEven(Math.sqrt(target / aspect));
    if (w > 0 && w <= width && h > 0 && h <= height) {
      const top = random.int(height - h + 1);
      return { top, left: random.int(width - w + 1), height: h, width: w };
    }
  }
  const inRatio = width / height;
  let w = width;
  let h = height;
  if (inRatio < ratio[0]) h = roundHalfEven(width / ratio[0]);
  else if (inRatio > ratio[1]) w = roundHalfEven(height * ratio[1]);
  return { top: Math.floor((height - h) / 2), left: Math.floor((width - w) / 2), height: h, width: w };
}

/** Crops, resizes (Pillow's bicubic) and perhaps mirrors `image`. The same stream gives the same result. */
export function randomResizedCrop(image: RawImage, options: TransformOptions, random: Random): RawImage {
  const mirror = random.next() < options.flip; // drawn first, so that the crop's tries do not shift it
  const box = sampleCrop(random, image.height, image.width, options.cropScale, options.cropRatio);
  return resizeBicubic(image, options.height, options.width, box, mirror);
}
