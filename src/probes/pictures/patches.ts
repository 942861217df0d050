// The contact sheet of prototypes: a row each, its colour and then its nearest patches with what surrounds them.
import { type Box, type RawImage, resizeBicubic } from '../../images/index.js';
import { prototypeColour } from './colours.js';
import { blank, type Canvas, paste } from './tiles.js';

/** Side of one patch picture, in pixels, and how many patches of the grid it shows across. */
const SIDE = 96;
const ACROSS = 3;
const GAP = 4;
const SWATCH = 16;

/** Box of the patch in the grid, and of what is shown with it: three patches across, moved inside the image. */
function boxes(patch: number, canvas: Canvas): { shown: Box; own: Box } {
  const [height, width] = [canvas.height / canvas.rows, canvas.width / canvas.columns];
  const own = {
    top: Math.floor(patch / canvas.columns) * height,
    left: (patch % canvas.columns) * width,
    height,
    width,
  };
  const side = (size: number, all: number): number => Math.min(ACROSS * size, all);
  const inside = (start: number, size: number, shown: number, all: number): number =>
    Math.max(0, Math.min(start - (shown - size) / 2, all - shown));
  const shown = { height: side(height, canvas.height), width: side(width, canvas.width), top: 0, left: 0 };
  shown.top = Math.floor(inside(own.top, height, shown.height, canvas.height));
  shown.left = Math.floor(inside(own.left, width, shown.width, canvas.width));
  return { shown, own };
}

/** A patch of `image` (at the size of the canvas) with its surroundings, the patch itself framed. */
export function patchPicture(image: RawImage, patch: number, canvas: Canvas): RawImage {
  const { shown, own } = boxes(patch, canvas);
  const out = resizeBicubic(image, SIDE, SIDE, shown);
  const scale = [SIDE / shown.height, SIDE / shown.width] as const;
  const top = Math.round((own.top - shown.top) * scale[0]);
  const left = Math.round((own.left - shown.left) * scale[1]);
  const bottom = Math.min(SIDE, top + Math.round(own.height * scale[0])) - 1;
  const right = Math.min(SIDE, left + Math.round(own.width * scale[1])) - 1;
  // White inside of black stays visible on any picture.
  frame(out, top, left, bottom, right, 0);
  frame(out, top + 1, left + 1, bottom - 1, right - 1, 255);
  return out;
}

function frame(
  image: RawImage,
  top: number,
  left: number,
  bottom: number,
  right: number,
  level: number,
): void {
  const dot = (y: number, x: number): void =>
    void image.data.fill(level, 3 * (y * SIDE + x), 3 * (y * SIDE + x) + 3);
  for (let x = left; x <= right; x++) {
    dot(top, x);
    dot(bottom, x);
  }
  for (let y = top; y <= bottom; y++) {
    dot(y, left);
    dot(y, right);
  }
}

/** One row of the sheet: the prototype's colour, then patch pictures, room for `places` of them. */
export function prototypeRow(index: number, pictures: readonly RawImage[], places: number): RawImage {
  const row = blank(SIDE, SWATCH + places * (SIDE + GAP));
  const swatch = blank(SIDE, SWATCH);
  const colour = prototypeColour(index);
  for (let i = 0; i < swatch.data.length; i++) swatch.data[i] = colour[i % 3]!;
  paste(row, swatch, 0, 0);
  pictures.forEach((picture, i) => {
    paste(row, picture, 0, SWATCH + GAP + i * (SIDE + GAP));
  });
  return row;
}
