// Which patches the student sees and which it predicts: random, block and inverse-block masks with exact counts, with or without a roll.

import { type Random, stream } from './base/random.js';
import { UsageError } from './errors.js';

/** How an image is masked; the keys of the config section `masking`. Paper: Table 1b (strategies), 1e (ratio), Table 6. */
export interface Masking {
  /** `random`: any cells; `block`: one rectangle is hidden; `inverse`: one rectangle stays visible. */
  readonly type: 'random' | 'block' | 'inverse';
  /** Share of the patches that is hidden. */
  readonly ratio: number;
  /** Shift the mask by a random amount in both directions, wrapping around; random masks are the same either way. */
  readonly roll: boolean;
  /** Smallest and largest height / width of the rectangle, drawn log-uniformly. */
  readonly aspect: readonly [number, number];
  /** Share of the hidden patches that is predicted. */
  readonly predict: number;
}

/** Patches an image: all, hidden, visible and predicted. The same for every image of a batch. */
export interface MaskCounts {
  readonly tokens: number;
  readonly masked: number;
  readonly visible: number;
  readonly predict: number;
}

/** A rectangle of grid cells. */
export interface Rectangle {
  readonly top: number;
  readonly left: number;
  readonly height: number;
  readonly width: number;
}

/**
 * Counts for a grid; hidden and predicted are both rounded down, as the official code does.
 * Throws UsageError when nothing would be hidden, seen or predicted.
 */
export function maskCounts(masking: Masking, gridHeight: number, gridWidth: number): MaskCounts {
  const tokens = gridHeight * gridWidth;
  const masked = Math.floor(masking.ratio * tokens);
  const predict = Math.floor(masking.predict * masked);
  const grid = `a grid of ${gridHeight} x ${gridWidth} patches`;
  if (!(masked >= 1 && masked < tokens)) {
    throw new UsageError(
      `masking.ratio ${masking.ratio} hides ${masked} of ${tokens} patches (${grid}); at least one must be hidden and one seen`,
    );
  }
  if (!(predict >= 1 && predict <= masked)) {
    throw new UsageError(
      `masking.predict ${masking.predict} predicts ${predict} of ${masked} hidden patches (${grid}); use ${1 / masked} to 1`,
    );
  }
  return { tokens, masked, visible: tokens - masked, predict };
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

/**
 * Sets `count` cells of `mask` [gridHeight * gridWidth], all zero before: the first `count` cells, row by row, of a random rectangle,
 * shifted around the grid when `masking.roll` is set.
 */
function drawBlock(
  mask: Uint8Array,
  masking: Masking,
  count: number,
  gridHeight: number,
  gridWidth: number,
  random: Random,
): void {
  const { top, left, width } = drawRectangle(random, count, gridHeight, gridWidth, masking.aspect);
  const down = masking.roll ? random.int(gridHeight) : 0;
  const right = masking.roll ? random.int(gridWidth) : 0;
  for (let cell = 0; cell < count; cell++) {
    const row = (top + Math.floor(cell / width) + down) % gridHeight;
    const column = (left + (cell % width) + right) % gridWidth;
    mask[row * gridWidth + column] = 1;
  }
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

/** The mask of one image: [gridHeight * gridWidth], row by row, 1 where a patch is hidden. Throws UsageError as maskCounts does. */
export function drawMask(
  masking: Masking,
  gridHeight: number,
  gridWidth: number,
  random: Random,
): Uint8Array {
  const { tokens, masked, visible } = maskCounts(masking, gridHeight, gridWidth);
  const mask = new Uint8Array(tokens);
  if (masking.type === 'random') {
    const cells = new Int32Array(tokens).map((_, i) => i);
    chooseFirst(cells, masked, random);
    for (let i = 0; i < masked; i++) mask[cells[i]!] = 1;
  } else if (masking.type === 'block') {
    drawBlock(mask, masking, masked, gridHeight, gridWidth, random);
  } else {
    drawBlock(mask, masking, visible, gridHeight, gridWidth, random);
    for (let i = 0; i < tokens; i++) mask[i]! ^= 1;
  }
  return mask;
}

/** Masks of a batch, as indices into its flattened [batch * tokens] axis, ascending. */
export interface BatchMasks {
  /** [batch * counts.visible]: the patches that the student sees. */
  readonly visible: Int32Array;
  /** [batch * counts.predict]: a uniform choice of each image's hidden patches, which the student predicts. */
  readonly predict: Int32Array;
}

/**
 * Draws the masks of a batch. Image b uses the stream (seed, 'masks', step, first + b), so a batch that is split among processes or
 * micro-batches gets the masks that it would get whole. Throws UsageError as maskCounts does.
 */
export function drawMasks(
  masking: Masking,
  size: { readonly batch: number; readonly gridHeight: number; readonly gridWidth: number },
  at: { readonly seed: number; readonly step: number; readonly first?: number },
): BatchMasks {
  const { batch, gridHeight, gridWidth } = size;
  const counts = maskCounts(masking, gridHeight, gridWidth);
  const visible = new Int32Array(batch * counts.visible);
  const predict = new Int32Array(batch * counts.predict);
  const hidden = new Int32Array(counts.masked);
  for (let image = 0; image < batch; image++) {
    const random = stream(at.seed, 'masks', at.step, (at.first ?? 0) + image);
    const mask = drawMask(masking, gridHeight, gridWidth, random);
    const offset = image * counts.tokens;
    let seen = image * counts.visible;
    let count = 0;
    for (let i = 0; i < counts.tokens; i++) {
      if (mask[i] === 0) visible[seen++] = offset + i;
      else hidden[count++] = offset + i;
    }
    chooseFirst(hidden, counts.predict, random);
    predict.set(hidden.subarray(0, counts.predict).sort(), image * counts.predict);
  }
  return { visible, predict };
}
