// A look at a source: a sample of its images with what is wrong with any, channel statistics, and a contact sheet.

import { DataError } from '../errors.js';
import { type LabelMap, type RawImage, resizeBicubic, resizeNearest } from './decode/resample.js';
import { type ImageSource, labelsOf } from './source.js';
import { phrase } from './sources/files/listing.js';

/** A sampled image: `image` is absent where it could not be read, and `problem` says why. */
export interface Sample {
  index: number;
  image?: RawImage;
  labelMap?: LabelMap;
  problem?: string;
}

/** Indices of `count` images (all, if there are fewer), evenly spread over the source. */
export function spread(length: number, count: number): number[] {
  const n = Math.min(length, count);
  return Array.from({ length: n }, (_, i) => Math.floor((i * length) / n));
}

/** Reads `count` images spread over the source, with their label maps. Unreadable ones are part of the answer, not an error. */
export async function sampleSource(source: ImageSource, count: number): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (const index of spread(source.length, count)) {
    try {
      const image = await source.read(index);
      samples.push({ index, image, labelMap: await source.labelMap?.(index) });
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      samples.push({ index, problem: error.message });
    }
  }
  return samples;
}

/** What a source's folders hold and nobody reads (`URI: left out 3 hidden files (a, b, c), …`), and its remarks: a line each. */
export function sourceNotes({ uri, leftOut = [], remarks = [] }: ImageSource): string[] {
  const left = leftOut.map(phrase).join(', ');
  return [...(left === '' ? [] : [`${uri}: left out ${left}`]), ...remarks];
}

/** Number of images of each class (an image with several labels counts for each), or undefined where the source has no labels. */
export function labelCounts(source: ImageSource): number[] | undefined {
  if (!source.classes || !source.label) return undefined;
  const counts = new Array<number>(source.classes.length).fill(0);
  for (let i = 0; i < source.length; i++) {
    for (const label of labelsOf(source, i)) counts[label]!++;
  }
  return counts;
}

/**
 * Mean and standard deviation of each channel over all pixels of `count` images spread over the source, in units of full scale
 * (0..1), as normalisation wants them. Unreadable images are left out. Throws DataError when none can be read.
 */
export async function channelStats(
  source: ImageSource,
  count: number,
): Promise<{ mean: [number, number, number]; std: [number, number, number]; images: number }> {
  const sum = [0, 0, 0];
  const squares = [0, 0, 0];
  let pixels = 0;
  let images = 0;
  let problem = '';
  for (const index of spread(source.length, count)) {
    try {
      const { data } = await source.read(index);
      for (let p = 0; p < data.length; p += 3) {
        for (let c = 0; c < 3; c++) {
          const value = data[p + c]!;
          sum[c]! += value;
          squares[c]! += value * value; // whole numbers: exact up to 2^53
        }
      }
      pixels += data.length / 3;
      images++;
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      problem ||= error.message;
    }
  }
  if (images === 0) throw new DataError(`No image of ${source.uri} can be read: ${problem}`);
  const mean = sum.map((s) => s / pixels / 255) as [number, number, number];
  const std = squares.map((s, c) => Math.sqrt(Math.max(0, s / pixels / 255 ** 2 - mean[c]! ** 2)));
  return { mean, std: std as [number, number, number], images };
}

const GAP = 4;
const PAPER = 255;
const BLANK = 214;

/**
 * Lays samples out in rows, each image in a tile of `tile` pixels (small ones enlarged by a whole factor, large ones shrunk, their
 * aspect kept) with its label map, if any, at its right. Background (label 0) is black, ignored labels white, a blank grey tile is an image that could not be read.
 */
export function contactSheet(samples: Sample[], ignoreLabels: number[] = [], tile = 128): RawImage {
  const mapped = samples.some(({ labelMap }) => labelMap);
  const cell = mapped ? 2 * tile : tile;
  const columns = Math.max(
    1,
    Math.min(samples.length, Math.round(Math.sqrt(samples.length * (mapped ? 1 : 1.6)))),
  );
  const rows = Math.max(1, Math.ceil(samples.length / columns));
  const sheet: RawImage = {
    width: columns * (cell + GAP) + GAP,
    height: rows * (tile + GAP) + GAP,
    data: new Uint8Array(0),
  };
  sheet.data = new Uint8Array(sheet.width * sheet.height * 3).fill(PAPER);
  samples.forEach(({ image, labelMap }, i) => {
    const left = GAP + (i % columns) * (cell + GAP);
    const top = GAP + Math.floor(i / columns) * (tile + GAP);
    if (!image) {
      const blank = { data: new Uint8Array(tile * tile * 3).fill(BLANK), height: tile, width: tile };
      paste(sheet, blank, top, left, tile);
      return;
    }
    const { height, width } = sizeInTile(image, tile);
    const enlarge = height > image.height;
    paste(
      sheet,
      enlarge ? enlargeImage(image, height, width) : resizeBicubic(image, height, width),
      top,
      left,
      tile,
    );
    if (labelMap) {
      paste(sheet, paintLabels(resizeNearest(labelMap, height, width), ignoreLabels), top, left + tile, tile);
    }
  });
  return sheet;
}

/** The size of an image inside of a tile. */
function sizeInTile(image: RawImage, tile: number): { height: number; width: number } {
  const longest = Math.max(image.height, image.width);
  const factor = longest <= tile ? Math.floor(tile / longest) : tile / longest;
  return {
    height: Math.max(1, Math.round(image.height * factor)),
    width: Math.max(1, Math.round(image.width * factor)),
  };
}

/** Every pixel a block, so that one sees the pixels. */
function enlargeImage(image: RawImage, height: number, width: number): RawImage {
  const data = new Uint8Array(height * width * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from =
        (Math.floor((y * image.height) / height) * image.width + Math.floor((x * image.width) / width)) * 3;
      data.set(image.data.subarray(from, from + 3), (y * width + x) * 3);
    }
  }
  return { data, height, width };
}

function paste(sheet: RawImage, image: RawImage, top: number, left: number, tile: number): void {
  const y0 = top + Math.floor((tile - image.height) / 2);
  const x0 = left + Math.floor((tile - image.width) / 2);
  for (let y = 0; y < image.height; y++) {
    const row = image.data.subarray(y * image.width * 3, (y + 1) * image.width * 3);
    sheet.data.set(row, ((y0 + y) * sheet.width + x0) * 3);
  }
}

/** A label map as colours that keep apart: black for 0, then hues by the golden angle in three lightnesses. */
export function paintLabels(map: LabelMap, ignoreLabels: number[] = []): RawImage {
  const data = new Uint8Array(map.data.length * 3);
  const colours = Array.from({ length: 256 }, (_, label) =>
    ignoreLabels.includes(label) ? [255, 255, 255] : label === 0 ? [0, 0, 0] : labelColour(label),
  );
  map.data.forEach((label, i) => {
    data.set(colours[label]!, i * 3);
  });
  return { data, height: map.height, width: map.width };
}

function labelColour(label: number): [number, number, number] {
  const hue = ((label - 1) * 137.508) % 360;
  const lightness = [0.55, 0.7, 0.4][Math.floor((label - 1) / 8) % 3]!;
  const chroma = 0.85 * Math.min(lightness, 1 - lightness);
  const channel = (n: number): number => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - chroma * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}
