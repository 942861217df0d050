// Standardisation of features: every channel to mean 0 and standard deviation 1 over the training samples.

/** Mean and scale of each channel; applying it gives (x - mean) / scale. */
export interface Standardiser {
  readonly mean: Float64Array;
  readonly scale: Float64Array;
}

/**
 * Fits on `features` [rows, width], with the standard deviation of the population (divided by rows). A channel that is constant, up to rounding,
 * keeps its scale. Throws RangeError when there are no rows.
 */
export function fitStandardiser(features: Float32Array, width: number): Standardiser {
  const rows = features.length / width;
  if (!(rows >= 1 && Number.isInteger(rows))) {
    throw new RangeError(`${features.length} features are not whole rows of width ${width}`);
  }
  const mean = new Float64Array(width);
  for (let i = 0, row = 0; row < rows; row++) for (let j = 0; j < width; j++, i++) mean[j]! += features[i]!;
  for (let j = 0; j < width; j++) mean[j]! /= rows;
  const variance = new Float64Array(width);
  for (let i = 0, row = 0; row < rows; row++) {
    for (let j = 0; j < width; j++, i++) variance[j]! += (features[i]! - mean[j]!) ** 2 / rows;
  }
  const scale = variance.map((value, j) => {
    const rounding = (rows * Number.EPSILON * mean[j]!) ** 2; // what the error of the mean alone can cause
    return value <= rounding ? 1 : Math.sqrt(value);
  });
  return { mean, scale };
}

/** The standardised copy of `features` [rows, width]. */
export function standardise({ mean, scale }: Standardiser, features: Float32Array): Float32Array {
  const width = mean.length;
  const out = new Float32Array(features.length);
  for (let i = 0; i < features.length; ) {
    for (let j = 0; j < width; j++, i++) out[i] = (features[i]! - mean[j]!) / scale[j]!;
  }
  return out;
}
