// The feature pictures of a cell: a few test images above their patch features, the first joint principal components as RGB, in one PNG file.
import { join } from 'node:path';
import { makeFolder, writeWhole } from '../base/files/write.js';
import { openFrozen } from '../encoder/open_frozen.js';
import type { Engine } from '../engine/program.js';
import { drawnSize, encodePng, openSource, type RawImage } from '../images/index.js';
import { drawEncoder, everyNth } from '../probes/pictures/draw.js';
import { tileGrid } from '../probes/pictures/tiles.js';

/** Images of a strip: so many of up to this side, half as many of larger ones. */
const IMAGES = 8;
const SMALL = 96;

export interface PictureRequest {
  readonly engine: Engine;
  readonly encoder: string;
  readonly weights: 'ema' | 'student';
  readonly test: string;
  /** Folder of the cell, and one for what is in between. */
  readonly folder: string;
  readonly scratch: string;
}

/** Draws the strip and returns its file name. */
export async function drawStrip(o: PictureRequest): Promise<string> {
  const encoder = await openFrozen(o.encoder, { engine: o.engine, batch: IMAGES, weights: o.weights });
  try {
    const { height } = encoder.size;
    const source = await openSource(o.test, {
      split: 'test',
      whole: true,
      size: drawnSize(height),
    });
    const most = height <= SMALL ? IMAGES : IMAGES / 2;
    const indices = everyNth(source.length, most).slice(0, most);
    const pictures = new Map<string, RawImage>();
    await makeFolder(o.scratch);
    const { images } = await drawEncoder({
      engine: o.engine,
      encoder,
      source,
      indices,
      heatmaps: false,
      signs: false,
      prefix: 'strip',
      scratch: o.scratch,
      write: async (file, picture) => void pictures.set(file, picture),
    });
    const shown = [...images.map(({ image }) => image), ...images.map(({ joint }) => joint.rgb)];
    const strip = tileGrid(
      shown.map((file) => pictures.get(file)!),
      images.length,
    );
    const file = join(o.folder, STRIP);
    await writeWhole(file, await encodePng(strip));
    return STRIP;
  } finally {
    await encoder.close();
  }
}

const STRIP = 'features.png';
