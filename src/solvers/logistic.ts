// Multinomial logistic regression with an L2 penalty, scikit-learn's meaning of C, fitted by preconditioned L-BFGS on plain arrays.
import { cholesky, choleskySolve } from './cholesky.js';
import { minimise, type Preconditioner } from './lbfgs.js';
import { type LabelledFeatures, SoftmaxLoss } from './softmax_loss.js';

/** Samples from which the curvature is estimated, and iterations after which it is estimated again: a few evaluations' worth of work. */
const CURVATURE_SAMPLES = 16_384;
const REFRESH = 40;
/** Share of the objective that rounding may blur. */
const ACCURACY = 1e-7;

/** What a fit asks of its samples, wherever they lie. Parameters are [classes, width + 1], the intercept last. */
export interface SoftmaxObjective {
  /** Label ids in the order of the parameters. */
  readonly classes: Int32Array;
  readonly width: number;
  /** Sum of the sample weights. */
  readonly totalWeight: number;
  /** Absolute error of the mean loss, where it is not that of float64. */
  readonly noise?: number;
  /** The mean negative log likelihood at `theta`; writes its gradient. */
  evaluate(theta: Float64Array, gradient: Float64Array): number | Promise<number>;
  /** The same in float64, slower: ends a fit whose objective `noise` would blur. Absent where it would take too long. */
  precise?(theta: Float64Array, gradient: Float64Array): number | Promise<number>;
  /** An estimate of the inverse Hessian near `theta` of the mean loss plus penalty / 2 times the squared coefficients. */
  preconditioner(theta: Float64Array, penalty: number): Preconditioner | Promise<Preconditioner>;
}

/** A fitted model over the labels that the training samples show. */
export interface LogisticModel {
  /** [classes] label ids, ascending. */
  readonly classes: Int32Array;
  readonly width: number;
  /** [classes, width + 1]: coefficients, then the intercept. */
  readonly parameters: Float64Array;
  /** C times the summed (weighted) negative log likelihood plus half the squared norm of the coefficients. */
  readonly objective: number;
  readonly iterations: number;
  readonly evaluations: number;
  readonly converged: boolean;
  /** Error of the objective by rounding, as a share of it, where it may be above 1e-6; 0 otherwise. */
  readonly blur: number;
}

/** Settings of the fit; the defaults bring the objective within 1e-6 of its minimum, relatively. */
export interface LogisticOptions {
  /** A model of the same width to start from, such as the one for the next smaller C. */
  readonly start?: LogisticModel | undefined;
  /** Share of the objective that may remain to be gained (estimated). Default 1e-8. */
  readonly tolerance?: number;
  /** Default 1000, as the official evaluation has it. */
  readonly maxIterations?: number;
  /** Pairs that L-BFGS keeps. Default 10. */
  readonly memory?: number;
}

/**
 * Fits the model that minimises C Σᵢ wᵢ (-log p(labelᵢ | xᵢ)) + ½ ‖coefficients‖²; intercepts are not penalised. With two classes both
 * have coefficients, as in scikit-learn's multinomial form. `samples` are arrays, which are worked on in
 * float64, or an objective such as StreamedSoftmax. Throws RangeError when there are no samples or sizes do not fit.
 */
export async function fitLogistic(
  samples: LabelledFeatures | SoftmaxObjective,
  C: number,
  options: LogisticOptions = {},
): Promise<LogisticModel> {
  if (!(C > 0)) throw new RangeError(`C must be above 0, not ${C}`);
  const loss = 'evaluate' in samples ? samples : softmaxInMemory(samples);
  const { classes, width } = loss;
  const columns = width + 1;
  const penalty = 1 / (C * loss.totalWeight); // the objective is divided by C and the total weight: a mean loss
  const parameters = startFrom(options.start, classes, width);
  const objective =
    (evaluate: SoftmaxObjective['evaluate']) => async (theta: Float64Array, gradient: Float64Array) => {
      let squares = 0;
      const value = await evaluate(theta, gradient);
      for (let i = 0; i < theta.length; i++) {
        if (i % columns === width) continue;
        squares += theta[i]! ** 2;
        gradient[i]! += penalty * theta[i]!;
      }
      return value + (penalty * squares) / 2;
    };
  const maxIterations = options.maxIterations ?? 1000;
  const settings = {
    memory: options.memory ?? 10,
    tolerance: options.tolerance ?? 1e-8,
    precondition: (theta: Float64Array) => loss.preconditioner(theta, penalty),
    refresh: REFRESH,
  };
  const noise = loss.noise ?? 0;
  const evaluate = objective((theta, gradient) => loss.evaluate(theta, gradient));
  let found = await minimise(evaluate, parameters, { ...settings, maxIterations, noise });
  let blur = noise / Math.abs(found.value);
  if (blur > ACCURACY && loss.precise) {
    const { iterations: before, evaluations } = found;
    const precise = objective((theta, gradient) => loss.precise!(theta, gradient));
    const rest = await minimise(precise, parameters, { ...settings, maxIterations: maxIterations - before });
    found = {
      ...rest,
      iterations: before + rest.iterations,
      evaluations: evaluations + rest.evaluations,
    };
    blur = 0;
  }
  const { iterations, evaluations, converged } = found;
  const scaled = found.value * C * loss.totalWeight;
  blur = blur > 1e-6 ? blur : 0;
  return { classes, width, parameters, objective: scaled, iterations, evaluations, converged, blur };
}

/** The samples as an objective in plain arrays of float64. */
export function softmaxInMemory(data: LabelledFeatures): SoftmaxObjective {
  const classes = Int32Array.from(new Set(Array.from(data.labels))).sort();
  const loss = new SoftmaxLoss(data, classes);
  return {
    classes,
    width: data.width,
    totalWeight: loss.totalWeight,
    evaluate: (theta, gradient) => loss.evaluate(theta, gradient),
    preconditioner: (theta, penalty) => preconditioner(loss, theta, penalty),
  };
}

/**
 * Estimate of the inverse Hessian near `theta`, the same for every class. It knows how features vary together, which saves most iterations
 * where they are correlated, as encoders give them.
 */
function preconditioner(loss: SoftmaxLoss, theta: Float64Array, penalty: number) {
  const { columns } = loss;
  const block = loss.curvature(theta, CURVATURE_SAMPLES);
  for (let j = 0; j < columns - 1; j++) block[j * columns + j]! += penalty;
  const factor = cholesky(block, columns);
  return (v: Float64Array) => {
    for (let at = 0; at < v.length; at += columns) choleskySolve(factor, columns, v, at);
  };
}

function startFrom(start: LogisticModel | undefined, classes: Int32Array, width: number): Float64Array {
  const columns = width + 1;
  const parameters = new Float64Array(classes.length * columns);
  if (!start) return parameters;
  if (start.width !== width)
    throw new RangeError(`the start has width ${start.width}, the features ${width}`);
  classes.forEach((label, k) => {
    const from = start.classes.indexOf(label);
    if (from < 0) return;
    parameters.set(start.parameters.subarray(from * columns, (from + 1) * columns), k * columns);
  });
  return parameters;
}
