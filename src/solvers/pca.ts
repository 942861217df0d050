// Principal components of patch features, whitened and oriented, in float64: of one image at once, of many in a stream.
import { symmetricEigen } from './eigen.js';

/** Coordinates of patches: [rows, count] row-major, each column of mean 0 and standard deviation 1, or all 0 where it is flat. */
export interface Projection {
  readonly rows: number;
  readonly count: number;
  readonly values: Float64Array;
  /** Share of the total variance that each component explains. */
  readonly explained: number[];
}

/**
 * The whitened projection of features [rows, width] on their own first `count` principal components, oriented (see orient).
 * Components that the features do not have (constant images, fewer patches than components) are 0.
 * @throws RangeError when the features are no whole rows or not finite
 */
export function projectOnOwn(features: Float32Array, width: number, count: number): Projection {
  const rows = features.length / width;
  if (!(Number.isInteger(rows) && rows > 0)) {
    throw new RangeError(`${features.length} features are not whole rows of width ${width}`);
  }
  // Of the two products of the centred features with themselves the smaller has the same eigenvalues.
  if (rows > width) {
    const sums = new CovarianceSums(width);
    sums.add(features);
    const model = sums.components(count);
    return orient({ rows, count, values: project(model, features), explained: model.explained });
  }
  const { centred, largest } = centre(features, width);
  const gram = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++) {
    const a = centred.subarray(i * width, (i + 1) * width);
    for (let j = i; j < rows; j++) {
      const b = centred.subarray(j * width, (j + 1) * width);
      let sum = 0;
      for (let c = 0; c < width; c++) sum += a[c]! * b[c]!;
      gram[i * rows + j] = gram[j * rows + i] = sum / rows;
    }
  }
  let total = 0;
  for (let i = 0; i < rows; i++) total += gram[i * rows + i]!;
  const { values: variances, vectors } = symmetricEigen(gram, rows, Math.min(count, rows));
  const values = new Float64Array(rows * count);
  const floor = roundingFloor(largest, width, variances[0]!);
  for (let k = 0; k < variances.length; k++) {
    if (variances[k]! <= floor) continue;
    for (let i = 0; i < rows; i++) values[i * count + k] = vectors[k * rows + i]! * Math.sqrt(rows);
  }
  return orient({ rows, count, values, explained: shares(variances, count, total, floor) });
}

/** Centred copy of features, and their largest magnitude. */
function centre(features: Float32Array, width: number): { centred: Float64Array; largest: number } {
  const rows = features.length / width;
  const mean = new Float64Array(width);
  let largest = 0;
  for (let i = 0; i < features.length; i++) {
    mean[i % width]! += features[i]! / rows;
    largest = Math.max(largest, Math.abs(features[i]!));
  }
  const centred = Float64Array.from(features, (x, i) => x - mean[i % width]!);
  return { centred, largest };
}

/** The variance that rounding alone can leave in a direction: of the features to float32, or of the solver beside the first component. */
const roundingFloor = (largest: number, width: number, first: number): number =>
  Math.max(width * (largest * 2 ** -24) ** 2, width * Number.EPSILON * first);

const shares = (variances: Float64Array, count: number, total: number, floor: number): number[] =>
  Array.from({ length: count }, (_, k) => ((variances[k] ?? 0) > floor ? variances[k]! / total : 0));

/** Principal components: a row x has the coordinate axis . (x - mean) on each, of variance 1. */
export interface Components {
  readonly mean: Float64Array;
  /** [count, width]; each divided by the standard deviation along it, 0 for a component that is not there. */
  readonly axes: Float64Array;
  readonly explained: number[];
}

/** Mean and covariance of rows that come in pieces. */
export class CovarianceSums {
  rows = 0;
  private shift: Float64Array | undefined;
  private largest = 0;
  private readonly sums: Float64Array;
  /** Upper triangle of the sum of products of shifted rows. */
  private readonly products: Float64Array;

  constructor(readonly width: number) {
    this.sums = new Float64Array(width);
    this.products = new Float64Array(width * width);
  }

  /** Takes in features [rows, width]. */
  add(features: Float32Array): void {
    const { width, sums, products } = this;
    const count = features.length / width;
    // Products of rows that are nearly centred do not cancel later: the first mean serves as the shift.
    this.shift ??= meanOf(features, width);
    const shift = this.shift;
    const block = new Float64Array(4 * width);
    for (let first = 0; first < count; first += 4) {
      block.fill(0); // rows that are missing from the last four count nothing
      const taken = Math.min(4, count - first);
      for (let r = 0; r < taken; r++) {
        for (let c = 0; c < width; c++) {
          const x = features[(first + r) * width + c]!;
          if (x > this.largest || -x > this.largest) this.largest = Math.abs(x);
          const y = x - shift[c]!;
          block[r * width + c] = y;
          sums[c]! += y;
        }
      }
      addProducts(products, block, width);
    }
    this.rows += count;
  }

  /** The first `count` principal components of all rows so far. @throws RangeError for rows that are not finite */
  components(count: number): Components {
    const { rows, width, sums, products } = this;
    const offset = sums.map((s) => s / rows);
    const covariance = new Float64Array(width * width);
    let total = 0;
    for (let i = 0; i < width; i++) {
      for (let j = i; j < width; j++) {
        const value = products[i * width + j]! / rows - offset[i]! * offset[j]!;
        covariance[i * width + j] = covariance[j * width + i] = value;
      }
      total += covariance[i * width + i]!;
    }
    const { values, vectors } = symmetricEigen(covariance, width, Math.min(count, width));
    const floor = roundingFloor(this.largest, width, values[0] ?? 0);
    const axes = new Float64Array(count * width);
    for (let k = 0; k < values.length; k++) {
      const scale = values[k]! > floor ? 1 / Math.sqrt(values[k]!) : 0;
      for (let c = 0; c < width; c++) axes[k * width + c] = scale * vectors[k * width + c]!;
    }
    const shift = this.shift ?? new Float64Array(width);
    return {
      mean: offset.map((x, c) => x + shift[c]!),
      axes,
      explained: shares(values, count, total, floor),
    };
  }
}

function meanOf(features: Float32Array, width: number): Float64Array {
  const mean = new Float64Array(width);
  const rows = features.length / width;
  for (let i = 0; i < features.length; i++) mean[i % width]! += features[i]! / rows;
  return mean;
}

/** Adds the upper triangle of the products of four rows: four at a time reads and writes the sums four times less. */
function addProducts(products: Float64Array, block: Float64Array, width: number): void {
  const [b, c, d] = [width, 2 * width, 3 * width];
  for (let i = 0; i < width; i++) {
    const [x0, x1, x2, x3] = [block[i]!, block[b + i]!, block[c + i]!, block[d + i]!];
    for (let j = i, at = i * width + i; j < width; j++, at++) {
      products[at]! += x0 * block[j]! + x1 * block[b + j]! + x2 * block[c + j]! + x3 * block[d + j]!;
    }
  }
}

/** Coordinates [rows, count] of features [rows, width] on components, not oriented yet. */
export function project(model: Components, features: Float32Array): Float64Array {
  const width = model.mean.length;
  const count = model.axes.length / width;
  const rows = features.length / width;
  const out = new Float64Array(rows * count);
  const row = new Float64Array(width);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < width; c++) row[c] = features[r * width + c]! - model.mean[c]!;
    for (let k = 0; k < count; k++) {
      let sum = 0;
      for (let c = 0, at = k * width; c < width; c++, at++) sum += model.axes[at]! * row[c]!;
      out[r * count + k] = sum;
    }
  }
  return out;
}

/**
 * Flips every component whose skewness (third moment over second^1.5) is negative, in place, so that pictures do not depend
 * on the sign that the solver happens to give. The protocol then divides by the standard deviation of component 1: that is 1
 * here, since whitening divides by the deviation over the same rows.
 */
export function orient(p: Projection): Projection {
  for (let k = 0; k < p.count; k++) {
    let third = 0; // the second moment is positive: the sign of the skewness is that of the third
    for (let i = k; i < p.values.length; i += p.count) third += p.values[i]! ** 3;
    if (third < 0) for (let i = k; i < p.values.length; i += p.count) p.values[i] = -p.values[i]!;
  }
  return p;
}
