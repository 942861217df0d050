// Resampling of byte images exactly as Pillow does it: bicubic with antialiasing (images) and nearest (label maps).
import { type Pass, runPasses, type Weights } from './passes.js';

/** An image of RGB bytes, laid out [height, width, 3]. */
export interface RawImage {
  data: Uint8Array;
  height: number;
  width: number;
}

/** One label a pixel, laid out [height, width]. */
export interface LabelMap {
  data: Uint8Array;
  height: number;
  width: number;
  /** The colour of each label [256, 4]: red, green, blue, and 1 where the label occurs and the file's palette has it. */
  colours?: Uint8Array<ArrayBuffer>;
}

/** Metres from the camera, laid out [height, width]; 0 where nothing was measured. */
export interface DepthMap {
  data: Float32Array;
  height: number;
  width: number;
}

/** A box of whole pixels inside an image. */
export interface Box {
  top: number;
  left: number;
  height: number;
  width: number;
}

const PRECISION_BITS = 22; // fixed point as in Pillow: 32 bits less 8 of the pixel less 2 of head room
const BICUBIC_SUPPORT = 2;
const TAPS_OF_ROWS = 4; // those that the pass along rows takes in one turn

/** Cubic convolution with a = -0.5 (Keys 1981; Catmull-Rom). */
function bicubicFilter(distance: number): number {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
  return 0;
}

/** Pixels `start` to `start + count - 1` of a line. */
interface Part {
  start: number;
  count: number;
}

/**
 * Pillow's weights for a line of `inSize` pixels made `outSize` long, of which `part` is wanted. Every row is padded with zero weights to
 * the same number of taps, a multiple of `unit`, and moved to end inside the line where the line is long enough.
 */
function bicubicWeights(inSize: number, outSize: number, part: Part, unit: number): Weights {
  const scale = inSize / outSize;
  const filterScale = Math.max(scale, 1); // shrinking widens the filter: antialiasing
  const support = BICUBIC_SUPPORT * filterScale;
  const taps = Math.ceil(Math.min(Math.floor(2 * support) + 1, inSize) / unit) * unit;
  const first = new Int32Array(part.count);
  const values = new Int32Array(part.count * taps);
  const row = new Float64Array(taps);
  for (let o = 0; o < part.count; o++) {
    const center = (part.start + o + 0.5) * scale;
    const low = Math.max(0, Math.trunc(center - support + 0.5));
    const high = Math.min(inSize, Math.trunc(center + support + 0.5));
    let total = 0;
    for (let t = 0; t < high - low; t++) {
      row[t] = bicubicFilter((t + low - center + 0.5) / filterScale);
      total += row[t]!;
    }
    const start = Math.max(0, Math.min(low, inSize - taps));
    const at = o * taps + low - start;
    for (let t = 0; t < high - low; t++) {
      const fixed = (row[t]! / total) * (1 << PRECISION_BITS);
      values[at + t] = Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    first[o] = start;
  }
  return { taps, first, values };
}

/**
 * Resizes `box` of an RGB image (the whole image without one) to [outHeight, outWidth, 3], optionally mirrored left to right.
 * The same bytes as Pillow 13's `im.crop(box).resize(size, BICUBIC)`: two passes, each rounding to bytes, the horizontal one first
 * unless the height loses more than twice as many pixels as the width (earlier versions of Pillow never swap them, and differ by
 * a rounding). Pixels outside of the box have no influence. Of the result only `window` is computed and returned, where one is given
 * (before mirroring). Throws RangeError for an empty or outlying box or window.
 */
export function resizeBicubic(
  image: RawImage,
  outHeight: number,
  outWidth: number,
  box: Box = { top: 0, left: 0, height: image.height, width: image.width },
  mirror = false,
  window: Box = { top: 0, left: 0, height: outHeight, width: outWidth },
): RawImage {
  checkBox(image, box);
  checkBox({ height: outHeight, width: outWidth }, window);
  const rowsLost = box.height - outHeight;
  const verticalFirst = rowsLost > 0 && rowsLost > 2 * (box.width - outWidth);
  const columns = bicubicWeights(
    box.width,
    outWidth,
    { start: window.left, count: window.width },
    TAPS_OF_ROWS,
  );
  const rows = bicubicWeights(box.height, outHeight, { start: window.top, count: window.height }, 1);
  const wide = mirror || box.width !== outWidth || box.width !== window.width;
  const high = box.height !== outHeight || box.height !== window.height;
  if (!wide && !high) return crop(image, box);
  const part = { ...box }; // what the passes read of it
  if (wide) [part.left, part.width] = claim(columns, part.left, part.width);
  if (high) [part.top, part.height] = claim(rows, part.top, part.height);
  const stride = image.width * 3;
  const start = part.top * stride + part.left * 3;
  const data = image.data.subarray(start, start + (part.height - 1) * stride + part.width * 3);
  const passes: Pass[] = [
    ...(wide ? [{ along: 'row' as const, weights: columns, mirror }] : []),
    ...(high ? [{ along: 'column' as const, weights: rows }] : []),
  ];
  if (verticalFirst) passes.reverse();
  const { height, width } = part;
  return {
    data: runPasses({ data, stride, height, width }, passes),
    height: window.height,
    width: window.width,
  };
}

/** First pixel of a line at `start` that any of the weights reads, and how many from there on; `first` then counts from it. */
function claim({ first, taps }: Weights, start: number, length: number): [start: number, length: number] {
  const low = first[0]!;
  const high = Math.min(length, first[first.length - 1]! + taps);
  for (let o = 0; o < first.length; o++) first[o]! -= low;
  return [start + low, high - low];
}

/**
 * Resizes a label or depth map (or a box of it) to [outHeight, outWidth], keeping labels and depths whole.
 * The same values as Pillow's `im.crop(box).resize(size, NEAREST)`, whose positions are running sums, not products.
 */
export function resizeNearest<M extends LabelMap | DepthMap>(
  map: M,
  outHeight: number,
  outWidth: number,
  box: Box = { top: 0, left: 0, height: map.height, width: map.width },
  mirror = false,
): M {
  checkBox(map, box);
  const rows = nearestPositions(box.height, outHeight);
  const columns = nearestPositions(box.width, outWidth);
  if (mirror) columns.reverse();
  const data = new (map.data.constructor as new (length: number) => M['data'])(outHeight * outWidth);
  for (let y = 0; y < outHeight; y++) {
    const from = (box.top + rows[y]!) * map.width + box.left;
    for (let x = 0; x < outWidth; x++) data[y * outWidth + x] = map.data[from + columns[x]!]!;
  }
  return { data, height: outHeight, width: outWidth } as M;
}

function nearestPositions(inSize: number, outSize: number): Int32Array {
  const positions = new Int32Array(outSize);
  const scale = inSize / outSize;
  let position = scale * 0.5;
  for (let o = 0; o < outSize; o++) {
    positions[o] = Math.min(Math.floor(position), inSize - 1);
    position += scale;
  }
  return positions;
}

/** The size whose shorter side is `shorter`, the longer one in proportion and rounded down (torchvision's Resize). */
export function shorterSideSize(
  height: number,
  width: number,
  shorter: number,
): { height: number; width: number } {
  return height <= width
    ? { height: shorter, width: Math.trunc((shorter * width) / height) }
    : { height: Math.trunc((shorter * height) / width), width: shorter };
}

/** The box of `size` (height, width) in the middle of an image, offsets rounded half to even (torchvision's CenterCrop). */
export function centerBox(height: number, width: number, boxHeight: number, boxWidth: number): Box {
  return {
    top: roundHalfEven((height - boxHeight) / 2),
    left: roundHalfEven((width - boxWidth) / 2),
    height: boxHeight,
    width: boxWidth,
  };
}

/** Rounds as Python does: halves to the even neighbour. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** The pixels of `box`, copied. */
export function crop(image: RawImage, box: Box): RawImage {
  checkBox(image, box);
  const data = new Uint8Array(box.height * box.width * 3);
  for (let y = 0; y < box.height; y++) {
    const from = ((box.top + y) * image.width + box.left) * 3;
    data.set(image.data.subarray(from, from + box.width * 3), y * box.width * 3);
  }
  return { data, height: box.height, width: box.width };
}

/** Evaluation view of classification: shorter side to `resize`, then the `height` x `width` centre (Pillow's bicubic). */
export function resizeAndCenterCrop(
  image: RawImage,
  resize: number,
  height: number,
  width: number,
): RawImage {
  const size = shorterSideSize(image.height, image.width, resize);
  const centre = centerBox(size.height, size.width, height, width);
  return resizeBicubic(image, size.height, size.width, undefined, false, centre);
}

function checkBox(image: { height: number; width: number }, box: Box): void {
  const inside =
    box.height > 0 &&
    box.width > 0 &&
    box.top >= 0 &&
    box.left >= 0 &&
    box.top + box.height <= image.height &&
    box.left + box.width <= image.width;
  if (!inside) {
    throw new RangeError(
      `Box top ${box.top}, left ${box.left}, ${box.height} x ${box.width} is not inside an image of ${image.height} x ${image.width}`,
    );
  }
}
