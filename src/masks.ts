// Which patches the student sees and which it predicts: random, block and inverse-block masks with exact counts, with or without a roll.

import { type Random, stream } from './base/random.js';
import { type Config, maskCounts } from './config/index.js';

/** How an image is masked. Paper: Table 1b (types), 1e (ratio), Table 6. */
export type Masking = Config['masking'];

/** A rectangle of grid cells. */
export interface Rectangle {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

/**
 * A random rectangle inside the grid with at least `cells` cells and hardly more: height / width is log-uniform in `aspect`, as far as
 * the grid has room for it, and both sides are rounded up. `cells` is at most the size of the grid.
 */
export function drawRectangle(
  random: Random,
  cells: number,
  gridHeight: number,
  gridWidth: number,
  aspect: readonly [number, number],
): Rectangle {
  const lowest = Math.log(cells / gridWidth ** 2);
  const highest = Math.log(gridHeight ** 2 / cells);
  const logInRoom = (value: number) => Math.min(Math.max(Math.log(value), lowest), highest);
  const ratio = Math.exp(random.uniform(logInRoom(aspect[0]), logInRoom(aspect[1])));
  const height = Math.min(gridHeight, Math.ceil(Math.sqrt(cells * ratio)));
  const width = Math.min(gridWidth, Math.ceil(Math.sqrt(cells / ratio)));
  const top = random.int(gridHeight - height + 1);
  const left = random.int(gridWidth - width + 1);
  return { top, left, height, width };
}

/** What a mask is drawn on. */
interface Grid {
  masking: Masking;
  gridHeight: number;
  gridWidth: number;
  random: Random;
}

/** The first `count` cells, row by row, of a random rectangle, shifted around the grid when `masking.roll` is set. */
function drawBlock(count: number, { masking, gridHeight, gridWidth, random }: Grid): Int32Array {
  const { top, left, width } = drawRectangle(random, count, gridHeight, gridWidth, masking.aspect);
  const down = masking.roll ? random.int(gridHeight) : 0;
  const right = masking.roll ? random.int(gridWidth) : 0;
  return new Int32Array(count).map((_, cell) => {
    const row = (top + Math.floor(cell / width) + down) % gridHeight;
    const column = (left + (cell % width) + right) % gridWidth;
    return row * gridWidth + column;
  });
}

/** Moves a random choice of `count` items to the front of `pool`. */
function chooseFirst(pool: Int32Array, count: number, random: Random): void {
  for (let i = 0; i < count; i++) {
    const j = i + random.int(pool.length - i);
    const held = pool[i]!;
    pool[i] = pool[j]!;
    pool[j] = held;
  }
}

/** How each type of masking draws: `count` cells, as many as are hidden, or, where `draws` says so, as many as stay visible. */
const TYPES: Record<
  Masking['type'],
  { draws: 'masked' | 'visible'; cells(count: number, grid: Grid): Int32Array }
> = {
  /** Any cells. */
  random: {
    draws: 'masked',
    cells(count, { gridHeight, gridWidth, random }) {
      const cells = new Int32Array(gridHeight * gridWidth).map((_, i) => i);
      chooseFirst(cells, count, random);
      return cells.subarray(0, count);
    },
  },
  /** One rectangle is hidden. */
  block: { draws: 'masked', cells: drawBlock },
  /** One rectangle stays visible. */
  inverse: { draws: 'visible', cells: drawBlock },
};

/** The mask of one image: [gridHeight * gridWidth], row by row, 1 where a patch is hidden. */
export function drawMask(
  masking: Masking,
  gridHeight: number,
  gridWidth: number,
  random: Random,
): Uint8Array {
  const counts = maskCounts(masking, gridHeight, gridWidth);
  const { draws, cells } = TYPES[masking.type];
  const drawn = draws === 'masked' ? 1 : 0;
  const mask = new Uint8Array(counts.patches).fill(1 - drawn);
  for (const cell of cells(counts[draws], { masking, gridHeight, gridWidth, random })) mask[cell] = drawn;
  return mask;
}

/** Masks of a batch, as indices into its flattened [batch * tokens] axis, ascending. */
export interface BatchMasks {
  /** [batch * counts.visible]: the patches that the student sees. */
  readonly visible: Int32Array;
  /** [batch * counts.predicted]: a uniform choice of each image's hidden patches, which the student predicts. */
  readonly predict: Int32Array;
}

/**
 * Draws the masks of a batch. Image b uses the stream (seed, 'masks', step, first + b), so a batch that is split among processes or
 * micro-batches gets the masks that it would get whole.
 */
export function drawMasks(
  masking: Masking,
  size: { readonly batch: number; readonly gridHeight: number; readonly gridWidth: number },
  at: { readonly seed: number; readonly step: number; readonly first?: number },
): BatchMasks {
  const { batch, gridHeight, gridWidth } = size;
  const counts = maskCounts(masking, gridHeight, gridWidth);
  const visible = new Int32Array(batch * counts.visible);
  const predict = new Int32Array(batch * counts.predicted);
  const hidden = new Int32Array(counts.masked);
  for (let image = 0; image < batch; image++) {
    const random = stream(at.seed, 'masks', at.step, (at.first ?? 0) + image);
    const mask = drawMask(masking, gridHeight, gridWidth, random);
    const offset = image * counts.patches;
    let seen = image * counts.visible;
    let count = 0;
    for (let i = 0; i < counts.patches; i++) {
      if (mask[i] === 0) visible[seen++] = offset + i;
      else hidden[count++] = offset + i;
    }
    chooseFirst(hidden, counts.predicted, random);
    predict.set(hidden.subarray(0, counts.predicted).sort(), image * counts.predicted);
  }
  return { visible, predict };
}
