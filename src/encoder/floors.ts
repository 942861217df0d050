// Encoders that learned nothing: the pixels of each patch, and the position of each patch.

import { hashOf } from '../base/hash.js';
import { UsageError } from '../errors.js';
import { IMAGENET } from '../images/index.js';
import type { FrozenEncoder, FrozenFeatures } from './frozen.js';
import { type EncoderSpec, gridOf, type Size, sizeOption, sizeText, specText, wholeOption } from './spec.js';

/** Frequencies a side that position features have at most; see positionFeatures. */
const MOST_FREQUENCIES = 16;

/** The `pixels:` or `position:` encoder of a spec. Throws UsageError when patch or size is missing or they do not fit. */
export function openFloor(
  spec: EncoderSpec,
  options: { batch: number; size?: Size | undefined },
): FrozenEncoder {
  const kind = spec.scheme as 'pixels' | 'position';
  if (spec.place !== '' && spec.options.has('patch')) {
    throw new UsageError(`encoder '${spec.text}' names its patch twice`);
  }
  const written =
    spec.place === '' ? spec : { ...spec, options: new Map([...spec.options, ['patch', spec.place]]) };
  const patch = wholeOption(written, 'patch', 1);
  const size = sizeOption(spec, options.size);
  if (patch === undefined || size === undefined) {
    const lacks = patch === undefined ? 'patch' : 'size';
    throw new UsageError(`encoder '${spec.text}' does not say its ${lacks}; for example ${kind}:8?size=64`);
  }
  const grid = gridOf(spec.text, size, patch);
  const shared = {
    name: specText({ scheme: kind, place: `${patch}` }, { size: sizeText(size) }),
    kind,
    size,
    patch,
    grid,
    mean: [...IMAGENET.mean],
    std: [...IMAGENET.std],
    globalWidth: null,
    registers: null,
    batch: options.batch,
    close: async () => {},
  };
  const pixels = options.batch * size.height * size.width * 3;
  const run = (features: (images: Uint8Array) => Float32Array) => async (images: Uint8Array) => {
    checkBytes(shared.name, images, pixels);
    return { patches: features(images) } satisfies FrozenFeatures;
  };
  if (kind === 'pixels') {
    return {
      ...shared,
      weightsHash: hashOf({ kind, patch, ...IMAGENET }),
      patchWidth: 3 * patch * patch,
      run: run((images) => pixelPatches(images, options.batch, size, patch, IMAGENET)),
    };
  }
  const one = positionFeatures(grid.rows, grid.columns);
  const patches = new Float32Array(options.batch * one.length);
  for (let b = 0; b < options.batch; b++) patches.set(one, b * one.length);
  return {
    ...shared,
    weightsHash: hashOf({ kind, frequencies: MOST_FREQUENCIES }),
    patchWidth: one.length / (grid.rows * grid.columns),
    run: run(() => patches.slice()),
  };
}

/** Throws when a caller hands over another number of bytes than a batch holds. */
export function checkBytes(name: string, images: Uint8Array, expected: number): void {
  if (images.length === expected) return;
  throw new Error(`encoder ${name}: images hold ${images.length} bytes, a batch has ${expected}`);
}

/** (x / 255 - mean) / std of each byte value and channel, [3, 256]. */
export function normalisedBytes(mean: readonly number[], std: readonly number[]): Float32Array {
  const table = new Float32Array(3 * 256);
  for (let c = 0; c < 3; c++) {
    for (let v = 0; v < 256; v++) table[c * 256 + v] = (v / 255 - mean[c]!) / std[c]!;
  }
  return table;
}

/** RGB bytes [batch, H, W, 3] to normalised patches [batch, N, 3 p p], each flattened (channel, row, column). */
function pixelPatches(
  images: Uint8Array,
  batch: number,
  { height, width }: Size,
  patch: number,
  { mean, std }: { mean: readonly number[]; std: readonly number[] },
): Float32Array {
  const table = normalisedBytes(mean, std);
  const out = new Float32Array(images.length);
  const [columns, area] = [width / patch, patch * patch];
  let from = 0;
  for (let b = 0; b < batch; b++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const cell = (b * (height / patch) + Math.floor(y / patch)) * columns + Math.floor(x / patch);
        const to = cell * 3 * area + (y % patch) * patch + (x % patch);
        for (let c = 0; c < 3; c++) out[to + c * area] = table[c * 256 + images[from++]!]!;
      }
    }
  }
  return out;
}

/**
 * Features of the position alone, [rows * columns, W]: the products cos(pi u (r + 1/2) / rows) cos(pi v (c + 1/2) / columns) of
 * the lowest 16 frequencies u, v of each axis, each scaled to a mean square of 1, the constant left out (on a grid of one patch it
 * is the only feature). On grids of up to 16 x 16 this is an orthogonal change of basis of one-hot positions without their mean,
 * so a linear probe can give every position a score of its own; on finer grids neighbours share.
 */
export function positionFeatures(rows: number, columns: number): Float32Array {
  const [us, vs] = [Math.min(rows, MOST_FREQUENCIES), Math.min(columns, MOST_FREQUENCIES)];
  const width = Math.max(1, us * vs - 1);
  const wave = (u: number, at: number, n: number): number =>
    u === 0 ? 1 : Math.SQRT2 * Math.cos((Math.PI * u * (at + 0.5)) / n);
  const out = new Float32Array(rows * columns * width);
  for (let r = 0, o = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      for (let k = us * vs === 1 ? 0 : 1; k < us * vs; k++) {
        out[o++] = wave(Math.floor(k / vs), r, rows) * wave(k % vs, c, columns);
      }
    }
  }
  return out;
}
