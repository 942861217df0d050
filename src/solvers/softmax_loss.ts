// The mean cross-entropy of a linear softmax classifier over many samples, its gradient and its curvature, in blocked loops.

/** Samples to fit: features [rows, width] row by row, one label each, and optionally a weight for each. */
export interface LabelledFeatures {
  readonly features: Float32Array;
  readonly width: number;
  /** [rows] label ids, any whole numbers. */
  readonly labels: ArrayLike<number>;
  /** [rows] sample weights, 1 by default. */
  readonly weights?: ArrayLike<number>;
}

/** Numbers in a block of samples, which should stay in the first-level cache beside the parameters. */
const BLOCK_NUMBERS = 2048;

/**
 * Mean (weighted) negative log likelihood of samples under softmax(W x + b), with all sums in float64. Parameters are [classes, columns],
 * each row the coefficients and then the intercept. Blocks of samples have a multiple of 4 rows, and classes are padded to an even number,
 * with zeros, so that the inner loops have no tails.
 */
export class SoftmaxLoss {
  /** Width of the features plus one for the intercept. */
  readonly columns: number;
  /** Sum of the sample weights. */
  readonly totalWeight: number;
  private readonly rows: number;
  private readonly targets: Int32Array;
  private readonly stride: number; // classes, rounded up to even
  private readonly blockRows: number;
  private readonly x: Float64Array; // [blockRows, columns]
  private readonly z: Float64Array; // [blockRows, stride]
  private readonly theta: Float64Array; // [stride, columns]
  private readonly sums: Float64Array; // [stride, columns]

  /** `classes` lists the label ids in the order of the parameters. Throws RangeError when there are no samples or sizes do not fit. */
  constructor(
    private readonly data: LabelledFeatures,
    private readonly classes: Int32Array,
  ) {
    const { features, width, labels, weights } = data;
    this.rows = labels.length;
    if (this.rows === 0) throw new RangeError('logistic regression needs at least one sample');
    if (features.length !== this.rows * width || (weights && weights.length !== this.rows)) {
      const also = weights ? ` and ${weights.length} weights` : '';
      throw new RangeError(
        `${this.rows} labels do not fit ${features.length} features of width ${width}${also}`,
      );
    }
    const position = new Map(Array.from(classes, (label, k) => [label, k]));
    this.targets = Int32Array.from(labels, (label) => position.get(label)!);
    this.totalWeight = 0;
    for (let row = 0; row < this.rows; row++) this.totalWeight += weights?.[row] ?? 1;
    this.columns = width + 1;
    this.stride = 2 * Math.ceil(classes.length / 2);
    this.blockRows = 4 * Math.max(1, Math.floor(BLOCK_NUMBERS / this.columns / 4));
    this.x = new Float64Array(this.blockRows * this.columns);
    this.z = new Float64Array(this.blockRows * this.stride);
    this.theta = new Float64Array(this.stride * this.columns);
    this.sums = new Float64Array(this.stride * this.columns);
  }

  /** The loss at `theta`; writes its gradient. */
  evaluate(theta: Float64Array, gradient: Float64Array): number {
    const { rows, blockRows, stride, z, sums } = this;
    const classes = this.classes.length;
    const weights = this.data.weights;
    this.theta.set(theta);
    sums.fill(0);
    let loss = 0;
    for (let from = 0; from < rows; from += blockRows) {
      const count = Math.min(blockRows, rows - from);
      this.load(from, 1, count);
      this.logits();
      z.fill(0, count * stride);
      for (let i = 0; i < count; i++) {
        const at = i * stride;
        const target = at + this.targets[from + i]!;
        const weight = weights ? weights[from + i]! : 1;
        const logit = z[target]!;
        const logSum = softmax(z, at, classes);
        loss += weight * (logSum - logit);
        z[target]! -= 1;
        if (weight !== 1) for (let k = at; k < at + classes; k++) z[k]! *= weight;
      }
      this.accumulate();
    }
    for (let i = 0; i < gradient.length; i++) gradient[i] = sums[i]! / this.totalWeight;
    return loss / this.totalWeight;
  }

  /**
   * The mean over classes of the Hessian's diagonal blocks at `theta`: [columns, columns] with the lower triangle filled, estimated from at
   * most `limit` samples spread evenly over all.
   */
  curvature(theta: Float64Array, limit: number): Float64Array {
    const { rows, blockRows, stride, columns, x, z } = this;
    const classes = this.classes.length;
    const step = Math.ceil(rows / limit);
    const block = new Float64Array(columns * columns);
    this.theta.set(theta);
    let total = 0;
    for (let from = 0; from < rows; from += blockRows * step) {
      const count = Math.min(blockRows, Math.ceil((rows - from) / step));
      this.load(from, step, count);
      this.logits();
      for (let i = 0; i < count; i++) {
        const weight = this.data.weights?.[from + i * step] ?? 1;
        total += weight;
        softmax(z, i * stride, classes);
        let spread = 0;
        for (let k = i * stride; k < i * stride + classes; k++) spread += z[k]! * (1 - z[k]!);
        addOuterProduct(block, x, i * columns, columns, (weight * spread) / classes);
      }
    }
    for (let i = 0; i < block.length; i++) block[i]! /= total;
    return block;
  }

  /** Fills the block with `count` samples, every `step`-th from `from` on, and zeros. */
  private load(from: number, step: number, count: number): void {
    const { x, columns } = this;
    const { features, width } = this.data;
    for (let i = 0; i < count; i++) {
      const source = (from + i * step) * width;
      const at = i * columns;
      for (let j = 0; j < width; j++) x[at + j] = features[source + j]!;
      x[at + width] = 1;
    }
    x.fill(0, count * columns);
  }

  /** z = x thetaᵀ, 4 rows by 2 classes at a time. */
  private logits(): void {
    const { x, z, theta, columns, stride, blockRows } = this;
    for (let i = 0; i < blockRows; i += 4) {
      const x0 = i * columns;
      const x1 = x0 + columns;
      const x2 = x1 + columns;
      const x3 = x2 + columns;
      for (let k = 0; k < stride; k += 2) {
        const a = k * columns;
        const b = a + columns;
        let a0 = 0;
        let a1 = 0;
        let a2 = 0;
        let a3 = 0;
        let b0 = 0;
        let b1 = 0;
        let b2 = 0;
        let b3 = 0;
        for (let j = 0; j < columns; j++) {
          const ta = theta[a + j]!;
          const tb = theta[b + j]!;
          const v0 = x[x0 + j]!;
          const v1 = x[x1 + j]!;
          const v2 = x[x2 + j]!;
          const v3 = x[x3 + j]!;
          a0 += ta * v0;
          a1 += ta * v1;
          a2 += ta * v2;
          a3 += ta * v3;
          b0 += tb * v0;
          b1 += tb * v1;
          b2 += tb * v2;
          b3 += tb * v3;
        }
        const at = i * stride + k;
        z[at] = a0;
        z[at + 1] = b0;
        z[at + stride] = a1;
        z[at + stride + 1] = b1;
        z[at + 2 * stride] = a2;
        z[at + 2 * stride + 1] = b2;
        z[at + 3 * stride] = a3;
        z[at + 3 * stride + 1] = b3;
      }
    }
  }

  /** sums += zᵀ x, 4 rows by 2 classes at a time. */
  private accumulate(): void {
    const { x, z, sums, columns, stride, blockRows } = this;
    for (let i = 0; i < blockRows; i += 4) {
      const x0 = i * columns;
      const x1 = x0 + columns;
      const x2 = x1 + columns;
      const x3 = x2 + columns;
      for (let k = 0; k < stride; k += 2) {
        const at = i * stride + k;
        const a0 = z[at]!;
        const b0 = z[at + 1]!;
        const a1 = z[at + stride]!;
        const b1 = z[at + stride + 1]!;
        const a2 = z[at + 2 * stride]!;
        const b2 = z[at + 2 * stride + 1]!;
        const a3 = z[at + 3 * stride]!;
        const b3 = z[at + 3 * stride + 1]!;
        const a = k * columns;
        const b = a + columns;
        for (let j = 0; j < columns; j++) {
          const v0 = x[x0 + j]!;
          const v1 = x[x1 + j]!;
          const v2 = x[x2 + j]!;
          const v3 = x[x3 + j]!;
          sums[a + j]! += a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3;
          sums[b + j]! += b0 * v0 + b1 * v1 + b2 * v2 + b3 * v3;
        }
      }
    }
  }
}

/** Turns `count` logits at `offset` into probabilities; returns the logarithm of the sum of their exponentials. */
function softmax(z: Float64Array, offset: number, count: number): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let k = offset; k < offset + count; k++) if (z[k]! > largest) largest = z[k]!;
  let sum = 0;
  for (let k = offset; k < offset + count; k++) {
    const e = Math.exp(z[k]! - largest);
    z[k] = e;
    sum += e;
  }
  for (let k = offset; k < offset + count; k++) z[k]! /= sum;
  return largest + Math.log(sum);
}

/** matrix += scale v vᵀ for the lower triangle, v being `n` numbers of `x` from `offset` on. */
function addOuterProduct(
  matrix: Float64Array,
  x: Float64Array,
  offset: number,
  n: number,
  scale: number,
): void {
  for (let i = 0; i < n; i++) {
    const value = scale * x[offset + i]!;
    const row = i * n;
    for (let j = 0; j <= i; j++) matrix[row + j]! += value * x[offset + j]!;
  }
}
