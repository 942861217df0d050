// Pictures of a patch grid: enlarged by whole patches, and laid out in grids.
import { type RawImage, resizeNearest } from '../../images/index.js';
import type { Projection } from '../../solvers/pca.js';
import { divergingColours, prototypeColour, toByte } from './colours.js';

/** A patch grid shown at the size of the image. */
export interface Canvas {
  readonly rows: number;
  readonly columns: number;
  readonly height: number;
  readonly width: number;
}

/** Signs of the three components that make RGB, as they stand after orientation: all 8, the first changes nothing. */
export const SIGNS: readonly (readonly [number, number, number])[] = Array.from({ length: 8 }, (_, i) => [
  i & 4 ? -1 : 1,
  i & 2 ? -1 : 1,
  i & 1 ? -1 : 1,
]);

/** `+-+` of a sign variant as it stands in a file name: `pmp`. */
export const signName = (signs: readonly number[]): string => signs.map((s) => (s > 0 ? 'p' : 'm')).join('');

/** The first three components of the patches from row `first` on as red, green and blue. */
export function rgbTile(
  p: Projection,
  first: number,
  canvas: Canvas,
  signs: readonly number[] = SIGNS[0]!,
): RawImage {
  return tile(canvas, (patch, channel) => {
    const value = channel < p.count ? p.values[(first + patch) * p.count + channel]! : 0;
    return toByte(signs[channel]! * value);
  });
}

/** One component on the diverging scale. */
export function heatTile(p: Projection, first: number, component: number, canvas: Canvas): RawImage {
  return tile(
    canvas,
    (patch, channel) =>
      divergingColours[3 * toByte(p.values[(first + patch) * p.count + component]!) + channel]!,
  );
}

/** The prototype of each patch in its colour. */
export function prototypeTile(assigned: Int32Array, canvas: Canvas): RawImage {
  return tile(canvas, (patch, channel) => prototypeColour(assigned[patch]!)[channel]!);
}

/** A picture of one colour a patch, enlarged to the canvas by nearest neighbour. */
function tile(canvas: Canvas, colour: (patch: number, channel: number) => number): RawImage {
  const { rows, columns, height, width } = canvas;
  const data = new Uint8Array(height * width * 3);
  for (let channel = 0; channel < 3; channel++) {
    const plane = Uint8Array.from({ length: rows * columns }, (_, patch) => colour(patch, channel));
    const large = resizeNearest({ data: plane, height: rows, width: columns }, height, width).data;
    for (let i = 0; i < large.length; i++) data[3 * i + channel] = large[i]!;
  }
  return { data, height, width };
}

/** Gap between the tiles of a grid, and around them, in pixels. Source: protocol, PCA pictures. */
export const GAP = 10;

/** Tiles of one size in rows of `columns` (a nearly square grid by default) with gaps of 10 px, on white. */
export function tileGrid(tiles: readonly RawImage[], columns = Math.ceil(Math.sqrt(tiles.length))): RawImage {
  const { height, width } = tiles[0]!;
  const across = Math.min(columns, tiles.length);
  const down = Math.ceil(tiles.length / across);
  const sheet = blank(down * (height + GAP) + GAP, across * (width + GAP) + GAP);
  tiles.forEach((t, i) => {
    const top = GAP + Math.floor(i / across) * (height + GAP);
    paste(sheet, t, top, GAP + (i % across) * (width + GAP));
  });
  return sheet;
}

export function blank(height: number, width: number): RawImage {
  return { data: new Uint8Array(height * width * 3).fill(255), height, width };
}

/** Copies `image` into `sheet`, which holds it whole. */
export function paste(sheet: RawImage, image: RawImage, top: number, left: number): void {
  for (let y = 0; y < image.height; y++) {
    const row = image.data.subarray(y * image.width * 3, (y + 1) * image.width * 3);
    sheet.data.set(row, ((top + y) * sheet.width + left) * 3);
  }
}
