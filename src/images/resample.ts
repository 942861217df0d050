// Resampling of byte images exactly as Pillow does it: bicubic with antialiasing (images) and nearest (label maps).

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

/** Cubic convolution with a = -0.5 (Keys 1981; Catmull-Rom). */
function bicubicFilter(distance: number): number {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
  return 0;
}

/** For each output pixel: the first input pixel, and the fixed-point weights of it and the following ones (rows of `taps`). */
interface Weights {
  taps: number;
  first: Int32Array;
  values: Int32Array;
}

/**
 * Pillow's weights for a line of `inSize` pixels made `outSize` long. Every row is padded with zero weights to the same number of
 * taps, a multiple of `unroll`, and moved to end inside the line where the line is long enough.
 */
function bicubicWeights(inSize: number, outSize: number, unroll: number): Weights {
  const scale = inSize / outSize;
  const filterScale = Math.max(scale, 1); // shrinking widens the filter: antialiasing
  const support = BICUBIC_SUPPORT * filterScale;
  const taps = Math.ceil(Math.min(Math.floor(2 * support) + 1, inSize) / unroll) * unroll;
  const first = new Int32Array(outSize);
  const values = new Int32Array(outSize * taps);
  const row = new Float64Array(taps);
  for (let o = 0; o < outSize; o++) {
    const center = (o + 0.5) * scale;
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
 * a rounding). Pixels outside of the box have no influence. Throws RangeError for an empty or outlying box.
 */
export function resizeBicubic(
  image: RawImage,
  outHeight: number,
  outWidth: number,
  box: Box = { top: 0, left: 0, height: image.height, width: image.width },
  mirror = false,
): RawImage {
  checkBox(image, box);
  const rowsLost = box.height - outHeight;
  const verticalFirst = rowsLost > 0 && rowsLost > 2 * (box.width - outWidth);
  const input: Rows = {
    data: image.data,
    start: (box.top * image.width + box.left) * 3,
    stride: image.width * 3,
    height: box.height,
    width: box.width,
  };
  const result = verticalFirst
    ? horizontalPass(verticalPass(input, outHeight), outWidth, mirror)
    : verticalPass(horizontalPass(input, outWidth, mirror), outHeight);
  if (result === input) return crop(image, box);
  return { data: result.data, height: outHeight, width: outWidth };
}

/** A box inside a buffer: row y begins at start + y * stride and holds width * 3 bytes. */
interface Rows {
  data: Uint8Array;
  start: number;
  stride: number;
  height: number;
  width: number;
}

function horizontalPass(rows: Rows, outWidth: number, mirror: boolean): Rows {
  if (outWidth === rows.width && !mirror) return rows;
  const source = rows.data;
  const { taps, first, values } = bicubicWeights(rows.width, outWidth, 2);
  const out = new Uint8ClampedArray(rows.height * outWidth * 3);
  const half = 1 << (PRECISION_BITS - 1);
  for (let y = 0; y < rows.height; y++) {
    const rowStart = rows.start + y * rows.stride;
    for (let x = 0; x < outWidth; x++) {
      let red = half;
      let green = half;
      let blue = half;
      let p = rowStart + first[x]! * 3;
      const end = (x + 1) * taps;
      for (let w = x * taps; w < end; w += 2) {
        const a = values[w]!;
        const b = values[w + 1]!;
        red = (red + Math.imul(source[p]!, a) + Math.imul(source[p + 3]!, b)) | 0;
        green = (green + Math.imul(source[p + 1]!, a) + Math.imul(source[p + 4]!, b)) | 0;
        blue = (blue + Math.imul(source[p + 2]!, a) + Math.imul(source[p + 5]!, b)) | 0;
        p += 6;
      }
      const at = (y * outWidth + (mirror ? outWidth - 1 - x : x)) * 3;
      out[at] = red >> PRECISION_BITS;
      out[at + 1] = green >> PRECISION_BITS;
      out[at + 2] = blue >> PRECISION_BITS;
    }
  }
  return {
    data: new Uint8Array(out.buffer),
    start: 0,
    stride: outWidth * 3,
    height: rows.height,
    width: outWidth,
  };
}

function verticalPass(rows: Rows, outHeight: number): Rows {
  if (outHeight === rows.height) return rows;
  const source = rows.data;
  const stride = rows.stride;
  const { taps, first, values } = bicubicWeights(rows.height, outHeight, 4);
  const bytes = rows.width * 3;
  const out = new Uint8ClampedArray(outHeight * bytes);
  const sums = new Int32Array(bytes); // a whole row at a time: memory is read in order
  const half = 1 << (PRECISION_BITS - 1);
  for (let y = 0; y < outHeight; y++) {
    sums.fill(half);
    for (let t = 0; t < taps; t += 4) {
      const a = values[y * taps + t]!;
      const b = values[y * taps + t + 1]!;
      const c = values[y * taps + t + 2]!;
      const d = values[y * taps + t + 3]!;
      const from = rows.start + (first[y]! + t) * stride;
      for (let i = 0; i < bytes; i++) {
        const p = from + i;
        const upper = Math.imul(source[p]!, a) + Math.imul(source[p + stride]!, b);
        const lower = Math.imul(source[p + 2 * stride]!, c) + Math.imul(source[p + 3 * stride]!, d);
        sums[i] = (sums[i]! + upper + lower) | 0;
      }
    }
    const to = y * bytes;
    for (let i = 0; i < bytes; i++) out[to + i] = sums[i]! >> PRECISION_BITS;
  }
  return { data: new Uint8Array(out.buffer), start: 0, stride: bytes, height: outHeight, width: rows.width };
}

/**
 * Resizes a label map (or a box of it) to [outHeight, outWidth], keeping labels whole.
 * The same labels as Pillow's `im.crop(box).resize(size, NEAREST)`, whose positions are running sums, not products.
 */
export function resizeNearest(
  map: LabelMap,
  outHeight: number,
  outWidth: number,
  box: Box = { top: 0, left: 0, height: map.height, width: map.width },
  mirror = false,
): LabelMap {
  checkBox(map, box);
  const rows = nearestPositions(box.height, outHeight);
  const columns = nearestPositions(box.width, outWidth);
  if (mirror) columns.reverse();
  const data = new Uint8Array(outHeight * outWidth);
  for (let y = 0; y < outHeight; y++) {
    const from = (box.top + rows[y]!) * map.width + box.left;
    for (let x = 0; x < outWidth; x++) data[y * outWidth + x] = map.data[from + columns[x]!]!;
  }
  return { data, height: outHeight, width: outWidth };
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
  const resized = resizeBicubic(image, size.height, size.width);
  return crop(resized, centerBox(size.height, size.width, height, width));
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
