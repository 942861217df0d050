// L-BFGS with a strong-Wolfe line search and an optional preconditioner, for smooth convex problems of a few thousand unknowns.

/** A function to minimise: returns its value at `x` and writes its gradient there into `gradient`. */
export type Objective = (x: Float64Array, gradient: Float64Array) => number | Promise<number>;

/** Replaces v by an estimated inverse Hessian times v, in place. */
export type Preconditioner = (v: Float64Array) => void | Promise<void>;

/** Settings of `minimise`. */
export interface MinimiseOptions {
  /** Pairs of steps and gradient changes that are kept. */
  readonly memory: number;
  readonly maxIterations: number;
  /** Stops when the expected further decrease is below this share of the value, twice in a row. */
  readonly tolerance: number;
  /** Absolute error of the values, below which no decrease can be seen; default 0. Objectives in float32 have one. */
  readonly noise?: number;
  /**
   * Makes a preconditioner for the neighbourhood of x: it replaces v by H₀ v, for a symmetric positive definite estimate H₀ of the inverse
   * Hessian up to scale. Identity by default.
   */
  readonly precondition?: (x: Float64Array) => Preconditioner | Promise<Preconditioner>;
  /** Iterations after which the preconditioner is made anew. */
  readonly refresh?: number;
}

/** Where `minimise` ended. */
export interface Minimum {
  readonly value: number;
  readonly iterations: number;
  readonly evaluations: number;
  /** False when the iterations ran out first. */
  readonly converged: boolean;
}

const DECREASE = 1e-4; // Wolfe constants of Nocedal and Wright, Numerical Optimization, chapter 3
const CURVATURE = 0.9;
const LINE_STEPS = 50;

/** Minimises `objective` from `x`, which ends at the minimum. Nocedal and Wright, algorithms 7.4, 7.5, 3.5 and 3.6. */
export async function minimise(
  objective: Objective,
  x: Float64Array,
  options: MinimiseOptions,
): Promise<Minimum> {
  const n = x.length;
  const history: { s: Float64Array; y: Float64Array; rho: number }[] = [];
  const gradient = new Float64Array(n);
  const line = { x: new Float64Array(n), gradient: new Float64Array(n) };
  let value = await objective(x, gradient);
  let evaluations = 1;
  const noise = options.noise ?? 0;
  let small = 0;
  let precondition: Preconditioner | undefined;
  for (let iteration = 0; iteration < options.maxIterations; iteration++) {
    if (iteration % (options.refresh ?? Number.POSITIVE_INFINITY) === 0)
      precondition = await options.precondition?.(x);
    const direction = await searchDirection(gradient, history, precondition);
    const slope = dot(gradient, direction);
    if (!(slope < 0)) return { value, iterations: iteration, evaluations, converged: true }; // rounding is all that is left
    small = -slope / 2 <= Math.max(noise, options.tolerance * Math.abs(value)) ? small + 1 : 0; // half the slope: the decrease of the quadratic model
    if (small === 2) return { value, iterations: iteration, evaluations, converged: true };
    const along = async (step: number) => {
      for (let i = 0; i < n; i++) line.x[i] = x[i]! + step * direction[i]!;
      evaluations++;
      const value = await objective(line.x, line.gradient);
      return { step, value, slope: dot(line.gradient, direction) };
    };
    const first = history.length > 0 || precondition ? 1 : 1 / (1 + Math.sqrt(-slope));
    const found = await lineSearch(along, { step: 0, value, slope }, first, noise);
    if (found === undefined) return { value, iterations: iteration, evaluations, converged: true };
    const s = new Float64Array(n);
    const y = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      s[i] = line.x[i]! - x[i]!;
      y[i] = line.gradient[i]! - gradient[i]!;
    }
    const curvature = dot(s, y);
    if (curvature > 0) {
      history.push({ s, y, rho: 1 / curvature });
      if (history.length > options.memory) history.shift();
    }
    x.set(line.x);
    gradient.set(line.gradient);
    value = found.value;
  }
  return { value, iterations: options.maxIterations, evaluations, converged: false };
}

/** The two-loop recursion: minus the estimated inverse Hessian times the gradient. */
async function searchDirection(
  gradient: Float64Array,
  history: readonly { s: Float64Array; y: Float64Array; rho: number }[],
  precondition: Preconditioner | undefined,
): Promise<Float64Array> {
  const q = Float64Array.from(gradient, (g) => -g);
  const alphas: number[] = [];
  for (let i = history.length - 1; i >= 0; i--) {
    const { s, y, rho } = history[i]!;
    alphas[i] = rho * dot(s, q);
    addScaled(q, y, -alphas[i]!);
  }
  await precondition?.(q);
  const last = history.at(-1);
  if (last) {
    const y = Float64Array.from(last.y);
    await precondition?.(y);
    const scale = 1 / (last.rho * dot(last.y, y));
    for (let i = 0; i < q.length; i++) q[i]! *= scale;
  }
  for (let i = 0; i < history.length; i++) {
    const { s, y, rho } = history[i]!;
    addScaled(q, s, alphas[i]! - rho * dot(y, q));
  }
  return q;
}

interface LinePoint {
  readonly step: number;
  readonly value: number;
  readonly slope: number;
}

/**
 * A step that meets the strong Wolfe conditions; the last call of `along` was at it. When rounding hides any further decrease, the best
 * point found, or undefined if none is better than the start.
 */
async function lineSearch(
  along: (step: number) => Promise<LinePoint>,
  start: LinePoint,
  first: number,
  noise: number,
): Promise<LinePoint | undefined> {
  const enough = (point: LinePoint) => point.value <= start.value + DECREASE * point.step * start.slope;
  const flat = (point: LinePoint) => Math.abs(point.slope) <= -CURVATURE * start.slope;
  let low = start;
  let high: LinePoint | undefined;
  let step = first;
  for (let i = 0; i < LINE_STEPS; i++) {
    const point = await along(step);
    if (!Number.isFinite(point.value) || !enough(point) || (low !== start && point.value >= low.value)) {
      high = point;
    } else {
      if (flat(point)) return point;
      if (high ? point.slope * (high.step - low.step) >= 0 : point.slope >= 0) high = low;
      low = point;
    }
    step = high ? interpolate(low, high) : 2 * step;
    if (high && Math.abs(high.step - low.step) <= 1e-12 * Math.max(low.step, high.step)) break;
    if (high && Math.abs(high.value - low.value) <= noise) break;
  }
  return low === start ? undefined : along(low.step);
}

/** The minimum of the cubic through both points, kept a tenth of the interval away from its ends. */
function interpolate(low: LinePoint, high: LinePoint): number {
  const width = high.step - low.step;
  let share = 0.5;
  if (Number.isFinite(high.value)) {
    const theta = (3 * (low.value - high.value)) / width + low.slope + high.slope;
    const root = Math.sqrt(theta * theta - low.slope * high.slope) * Math.sign(width);
    const cubic = 1 - (high.slope + root - theta) / (high.slope - low.slope + 2 * root);
    if (Number.isFinite(cubic)) share = Math.min(Math.max(cubic, 0.1), 0.9);
  }
  return low.step + share * width;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function addScaled(target: Float64Array, values: Float64Array, scale: number): void {
  for (let i = 0; i < target.length; i++) target[i]! += scale * values[i]!;
}
