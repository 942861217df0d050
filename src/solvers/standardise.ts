// Standardisation of features: every channel to mean 0 and standard deviation 1 over the training samples.
import type { RowSource } from '../features/rows.js';

/** Mean and scale of each channel; applying it gives (x - mean) / scale. */
export interface Standardiser {
  readonly mean: Float64Array;
  readonly scale: Float64Array;
}

/** Rows of one block of a streamed fit. */
const BLOCK_ROWS = 4096;

/**
 * Fits on rows that are read once, block by block, with the standard deviation of the population (divided by rows); means and squared
 * deviations of blocks are joined as in Chan, Golub and LeVeque (1983), in float64. A channel that is constant, up to rounding, keeps its
 * scale. `watch` is called with the share that is done. Throws RangeError when there are no rows.
 */
export async function fitStandardiser(
  source: RowSource,
  watch?: (share: number) => void,
): Promise<Standardiser> {
  const { count: rows, width } = source;
  if (rows === 0) throw new RangeError('standardisation needs at least one row');
  const mean = new Float64Array(width);
  const squares = new Float64Array(width);
  const own = new Float64Array(width);
  const shift = new Float64Array(width);
  for (let first = 0; first < rows; first += BLOCK_ROWS) {
    const count = Math.min(BLOCK_ROWS, rows - first);
    const block = await source.read(first, count);
    own.fill(0);
    for (let i = 0, row = 0; row < count; row++) for (let j = 0; j < width; j++, i++) own[j]! += block[i]!;
    for (let j = 0; j < width; j++) {
      own[j]! /= count;
      shift[j] = own[j]! - mean[j]!;
      squares[j]! += (shift[j]! ** 2 * first * count) / (first + count);
      mean[j]! += (shift[j]! * count) / (first + count);
    }
    for (let i = 0, row = 0; row < count; row++) {
      for (let j = 0; j < width; j++, i++) squares[j]! += (block[i]! - own[j]!) ** 2;
    }
    watch?.((first + count) / rows);
  }
  return { mean, scale: scaleOf(mean, squares, rows) };
}

/** Standard deviations from summed squared deviations; 1 for channels that are constant, up to what the error of the mean alone can cause. */
function scaleOf(mean: Float64Array, squares: Float64Array, rows: number): Float64Array {
  return squares.map((sum, j) => {
    const rounding = (rows * Number.EPSILON * mean[j]!) ** 2;
    return sum / rows <= rounding ? 1 : Math.sqrt(sum / rows);
  });
}

/** The standardised rows of a source, made as they are read. */
export function standardisedRows(source: RowSource, { mean, scale }: Standardiser): RowSource {
  const { count, width } = source;
  let buffer = new Float32Array(0);
  return {
    count,
    width,
    async read(first, rows) {
      const values = await source.read(first, rows);
      if (buffer.length < values.length) buffer = new Float32Array(values.length);
      for (let i = 0; i < values.length; ) {
        for (let j = 0; j < width; j++, i++) buffer[i] = (values[i]! - mean[j]!) / scale[j]!;
      }
      return buffer.subarray(0, values.length);
    },
  };
}
