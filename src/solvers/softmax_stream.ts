// The mean cross-entropy of a linear softmax classifier over samples that are read block by block, its products done by an engine.
import type { Engine, Executable, Program } from '../engine/program.js';
import type { RowSource } from '../features/rows.js';
import { product, weightGradient } from '../tensor/ops/index.js';
import { type NamedTensorMap, type Tensor, tf } from '../tensor/tf.js';
import { cholesky, invertLower } from './cholesky.js';
import type { Preconditioner } from './lbfgs.js';
import type { LogisticModel, SoftmaxObjective } from './logistic.js';
import { SoftmaxLoss } from './softmax_loss.js';
import { type Standardiser, standardisedRows } from './standardise.js';

/** Multiplications of a pass up to which float64 loops are offered: some seconds. */
const PRECISE_WORK = 2 ** 32;
/** Samples of a block, and blocks from which the curvature is estimated. */
const BLOCK_ROWS = 2048;
const CURVATURE_BLOCKS = 8;
/** A block for the curvature is put together from so many places, because neighbouring samples are of the same image. */
const PLACES = 8;

export interface StreamedSamples {
  /** [samples, width]; read once for every evaluation. */
  readonly features: RowSource;
  /** [samples] label ids. */
  readonly labels: ArrayLike<number>;
  /** Applied to the features on the engine. */
  readonly standardiser?: Standardiser | undefined;
}

/**
 * SoftmaxObjective in float32 products and float64 sums over blocks. Memory: one block of features, three of logits, and a few copies of the
 * parameters, however many samples there are.
 */
export class StreamedSoftmax implements SoftmaxObjective {
  readonly totalWeight: number;
  readonly width: number;
  /** Of float32 logits and their softmax. */
  readonly noise = 2e-7;
  readonly precise?: SoftmaxObjective['evaluate'];
  private readonly targets: Int32Array;
  private readonly moments: { mean: Float32Array; rate: Float32Array } | undefined;
  private readonly loaded = new Map<string, Executable>();

  private constructor(
    private readonly engine: Engine,
    private readonly samples: StreamedSamples,
    readonly classes: Int32Array,
  ) {
    const { features, labels, standardiser } = samples;
    this.width = features.width;
    this.totalWeight = labels.length;
    const position = new Map(Array.from(classes, (label, k) => [label, k]));
    this.targets = Int32Array.from(labels, (label) => position.get(label)!);
    this.moments = momentsOf(standardiser);
    if (labels.length * this.width * classes.length <= PRECISE_WORK) {
      this.precise = (theta, gradient) => this.evaluatePrecisely(theta, gradient);
    }
  }

  /** Throws RangeError when there are no samples or sizes do not fit. `dispose` frees what the engine holds. */
  static open(engine: Engine, samples: StreamedSamples): StreamedSoftmax {
    const { features, labels } = samples;
    if (labels.length === 0) throw new RangeError('logistic regression needs at least one sample');
    if (labels.length !== features.count) {
      throw new RangeError(`${labels.length} labels do not fit ${features.count} rows of features`);
    }
    const seen = new Set<number>();
    for (let i = 0; i < labels.length; i++) seen.add(labels[i]!);
    return new StreamedSoftmax(engine, samples, Int32Array.from(seen).sort());
  }

  async evaluate(theta: Float64Array, gradient: Float64Array): Promise<number> {
    const { features } = this.samples;
    const { width } = this;
    const parameters = parametersOf(theta, this.width);
    let loss = 0;
    gradient.fill(0);
    for (let first = 0; first < features.count; first += BLOCK_ROWS) {
      const count = Math.min(BLOCK_ROWS, features.count - first);
      const executable = await this.executable('loss', count);
      const out = await executable.run({
        ...parameters,
        ...this.moments,
        x: await features.read(first, count),
        targets: this.targets.subarray(first, first + count),
      });
      const { losses, weight, bias } = out as Record<string, Float32Array>;
      for (let i = 0; i < count; i++) loss += losses![i]!;
      for (let k = 0, from = 0, to = 0; k < this.classes.length; k++, to++) {
        for (let j = 0; j < width; j++) gradient[to++]! += weight![from++]!;
        gradient[to]! += bias![k]!;
      }
    }
    for (let i = 0; i < gradient.length; i++) gradient[i]! /= this.totalWeight;
    return loss / this.totalWeight;
  }

  /** `evaluate` in float64 loops. */
  private async evaluatePrecisely(theta: Float64Array, gradient: Float64Array): Promise<number> {
    const { features, labels, standardiser } = this.samples;
    const rows = standardiser ? standardisedRows(features, standardiser) : features;
    const part = new Float64Array(gradient.length);
    let loss = 0;
    gradient.fill(0);
    for (let first = 0; first < rows.count; first += BLOCK_ROWS) {
      const count = Math.min(BLOCK_ROWS, rows.count - first);
      const block = {
        features: await rows.read(first, count),
        width: this.width,
        labels: Array.from({ length: count }, (_, i) => labels[first + i]!),
      };
      const share = count / this.totalWeight;
      loss += share * new SoftmaxLoss(block, this.classes).evaluate(theta, part);
      for (let i = 0; i < gradient.length; i++) gradient[i]! += share * part[i]!;
    }
    return loss;
  }

  async preconditioner(theta: Float64Array, penalty: number): Promise<Preconditioner> {
    const { features } = this.samples;
    const { width } = this;
    const columns = width + 1;
    const blockRows = Math.min(features.count, BLOCK_ROWS);
    const executable = await this.executable('curvature', blockRows);
    const blocks = Math.min(CURVATURE_BLOCKS, Math.floor(features.count / blockRows));
    const matrix = new Float64Array(columns * columns);
    for (let block = 0; block < blocks; block++) {
      const x = await this.spread(block, blocks, blockRows);
      const out = await executable.run({ ...parametersOf(theta, this.width), ...this.moments, x });
      const { square, cross, corner } = out as Record<string, Float32Array>;
      for (let i = 0; i < width; i++) {
        for (let j = 0; j <= i; j++) matrix[i * columns + j]! += square![i * width + j]!;
        matrix[width * columns + i]! += cross![i]!;
      }
      matrix[width * columns + width]! += corner![0]!;
    }
    for (let i = 0; i < matrix.length; i++) matrix[i]! /= blocks * blockRows;
    for (let j = 0; j < width; j++) matrix[j * columns + j]! += penalty;
    const inverse = Float32Array.from(invertLower(cholesky(matrix, columns), columns));
    const solve = await this.executable('solve', this.classes.length);
    solve.setState({ inverse });
    return async (v) => {
      const { out } = await solve.run({ v: Float32Array.from(v) });
      v.set(out!);
    };
  }

  /** Rows for the curvature: block `block` of `blocks`, from PLACES places that lie evenly over all samples. */
  private async spread(block: number, blocks: number, rows: number): Promise<Float32Array> {
    const { features } = this.samples;
    const out = new Float32Array(rows * this.width);
    const places = Math.min(PLACES, rows);
    for (let place = 0; place < places; place++) {
      const from = Math.floor((rows * place) / places);
      const count = Math.floor((rows * (place + 1)) / places) - from;
      const share = (place * blocks + block) / (places * blocks);
      const first = Math.min(Math.floor(share * features.count), features.count - count);
      out.set(await features.read(first, count), from * this.width);
    }
    return out;
  }

  private async executable(kind: 'loss' | 'curvature' | 'solve', rows: number): Promise<Executable> {
    const key = `${kind} ${rows}`;
    let found = this.loaded.get(key);
    if (!found) {
      const sizes = { rows, width: this.width, classes: this.classes.length, standardise: !!this.moments };
      const make = { loss: lossProgram, curvature: curvatureProgram, solve: solveProgram }[kind];
      found = await this.engine.load(make(sizes));
      this.loaded.set(key, found);
    }
    return found;
  }

  async dispose(): Promise<void> {
    for (const executable of this.loaded.values()) await executable.dispose();
    this.loaded.clear();
  }
}

/**
 * The most likely label of each row of `features`, products done by the engine in float32; ties go to the smallest label. `watch` is called
 * with the share that is done.
 */
export async function predictStreamed(
  engine: Engine,
  model: Pick<LogisticModel, 'classes' | 'width' | 'parameters'>,
  { features, standardiser }: Omit<StreamedSamples, 'labels'>,
  watch?: (share: number) => void,
): Promise<Int32Array> {
  const { classes, width } = model;
  const labels = new Int32Array(features.count);
  if (labels.length === 0) return labels;
  const rows = Math.min(BLOCK_ROWS, features.count);
  const sizes = { rows, width, classes: classes.length, standardise: standardiser !== undefined };
  const executable = await engine.load(labelProgram(sizes));
  const given = { ...parametersOf(model.parameters, width), ...momentsOf(standardiser) };
  try {
    for (let first = 0; first < features.count; first += rows) {
      const count = Math.min(rows, features.count - first);
      let x = await features.read(first, count);
      if (count < rows) {
        const whole = new Float32Array(rows * width);
        whole.set(x);
        x = whole;
      }
      const { places } = await executable.run({ ...given, x });
      for (let i = 0; i < count; i++) labels[first + i] = classes[places![i]!]!;
      watch?.((first + count) / features.count);
    }
  } finally {
    await executable.dispose();
  }
  return labels;
}

/** [classes, width + 1] as the weight [classes, width] and bias [classes] of the programs. */
function parametersOf(theta: Float64Array, width: number): { theta: Float32Array; biases: Float32Array } {
  const biases = new Float32Array(theta.length / (width + 1));
  const out = new Float32Array(biases.length * width);
  for (let k = 0, from = 0, to = 0; k < biases.length; k++) {
    for (let j = 0; j < width; j++) out[to++] = theta[from++]!;
    biases[k] = theta[from++]!;
  }
  return { theta: out, biases };
}

function momentsOf(standardiser: Standardiser | undefined) {
  if (!standardiser) return undefined;
  return {
    mean: Float32Array.from(standardiser.mean),
    rate: Float32Array.from(standardiser.scale, (s) => 1 / s),
  };
}

interface Sizes {
  rows: number;
  width: number;
  classes: number;
  standardise: boolean;
}

function featureInputs({ rows, width, classes, standardise }: Sizes): Program['inputs'] {
  return {
    x: { shape: [rows, width], dtype: 'float32' },
    theta: { shape: [classes, width], dtype: 'float32' },
    biases: { shape: [classes], dtype: 'float32' },
    ...(standardise
      ? { mean: { shape: [width], dtype: 'float32' }, rate: { shape: [width], dtype: 'float32' } }
      : {}),
  };
}

/** Standardised features [rows, width] and logits [rows, classes]. */
function logitsOf(i: NamedTensorMap): { x: Tensor; z: Tensor } {
  const x = i.mean ? tf.mul(tf.sub(i.x!, i.mean), i.rate!) : i.x!;
  return { x, z: tf.add(product(x, i.theta!, { transB: true }), i.biases!) };
}

/** -> losses [rows], and the sums over rows of the gradients: weight [classes, width], bias [classes]. */
function lossProgram(sizes: Sizes): Program {
  const { rows, width, classes } = sizes;
  const classIds = Int32Array.from({ length: classes }, (_, k) => k);
  return {
    name: `softmax_loss_${rows}x${width}x${classes}`,
    inputs: { ...featureInputs(sizes), targets: { shape: [rows], dtype: 'int32' } },
    state: [],
    run: (i) => {
      const { x, z } = logitsOf(i);
      const p = tf.softmax(z as never) as Tensor;
      const isTarget = tf.cast(
        tf.equal(tf.reshape(i.targets!, [rows, 1]), tf.tensor1d(classIds, 'int32')),
        'float32',
      );
      // log sum exp z = max z - log max p, exact where p itself would underflow
      const logSum = tf.sub(tf.max(z, -1), tf.log(tf.max(p, -1)));
      const residual = tf.sub(p, isTarget);
      return {
        losses: tf.sub(logSum, tf.sum(tf.mul(z, isTarget), -1)),
        weight: weightGradient(x, residual),
        bias: tf.sum(residual, 0),
      };
    },
  };
}

/** -> sum over rows of s x xᵀ, s x and s, where s is the mean over classes of p (1 - p). */
function curvatureProgram(sizes: Sizes): Program {
  const { rows, width, classes } = sizes;
  return {
    name: `softmax_curvature_${rows}x${width}x${classes}`,
    inputs: featureInputs(sizes),
    state: [],
    run: (i) => {
      const { x, z } = logitsOf(i);
      const p = tf.softmax(z as never) as Tensor;
      const s = tf.mul(tf.sum(tf.sub(p, tf.square(p)), -1, true), 1 / classes); // [rows, 1]
      const scaled = tf.mul(x, s);
      return {
        square: weightGradient(x, scaled),
        cross: tf.sum(scaled, 0),
        corner: tf.reshape(tf.sum(s), [1]),
      };
    },
  };
}

/** -> places [rows]: the class with the largest logit, of equal ones the first. */
function labelProgram(sizes: Sizes): Program {
  return {
    name: `softmax_labels_${sizes.rows}x${sizes.width}x${sizes.classes}`,
    inputs: featureInputs(sizes),
    state: [],
    run: (i) => ({ places: tf.reshape(tf.topk(logitsOf(i).z, 1).indices, [sizes.rows]) }),
  };
}

/** v (M⁻¹)ᵀ M⁻¹ for the rows of v [classes, width + 1], M being the Cholesky factor: positive definite whatever the rounding. */
function solveProgram({ rows, width }: Sizes): Program {
  const columns = width + 1;
  return {
    name: `softmax_solve_${rows}x${columns}`,
    inputs: {
      v: { shape: [rows, columns], dtype: 'float32' },
      inverse: { shape: [columns, columns], dtype: 'float32' },
    },
    state: ['inverse'],
    run: (i) => ({ out: product(product(i.v!, i.inverse!, { transB: true }), i.inverse!) }),
  };
}
