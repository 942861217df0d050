// Student's t distribution: what intervals and p values over a few seeds are read from.

/** Coefficients of Lanczos' approximation of the gamma function, g = 7, n = 9: about 15 digits. */
const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

/** log Γ(x) for x > 0. */
function logGamma(x: number): number {
  let sum = LANCZOS[0]!;
  for (let i = 1; i < LANCZOS.length; i++) sum += LANCZOS[i]! / (x - 1 + i);
  const t = x + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}

/** Steps of the continued fraction: it needs about the square root of the larger parameter. */
const MOST_STEPS = 10_000;

/** The regularised incomplete beta function I_x(a, b) for 0 <= x <= 1. Continued fraction of DLMF 8.17.22, evaluated by Lentz' method. */
export function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  // The fraction converges quickly below the mean.
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(
    logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x) - Math.log(a),
  );
  const away = (v: number): number => (Math.abs(v) < 1e-300 ? 1e-300 : v);
  let c = 1;
  let d = 1 / away(1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m < MOST_STEPS; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / away(1 + even * d);
    c = away(1 + even / c);
    fraction *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / away(1 + odd * d);
    c = away(1 + odd / c);
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 1e-15) break;
  }
  return front * fraction;
}

/** Two-sided p value of t with `df` degrees of freedom (any positive number): the probability of |T| >= |t|. */
export function twoSidedP(t: number, df: number): number {
  if (!(df > 0)) throw new RangeError(`degrees of freedom must be above 0, not ${df}`);
  if (Number.isNaN(t)) return Number.NaN;
  const square = t * t;
  // From whichever share of the sum is small, so that no digits are lost.
  if (square < df) return 1 - incompleteBeta(square / (df + square), 0.5, df / 2);
  return incompleteBeta(df / (df + square), df / 2, 0.5);
}

/** The t that |T| stays below with probability `level`: half the width of an interval, in standard errors. */
export function tQuantile(level: number, df: number): number {
  if (!(level > 0 && level < 1)) throw new RangeError(`a level lies between 0 and 1, not at ${level}`);
  const tail = 1 - level;
  let high = 1;
  while (twoSidedP(high, df) > tail) high *= 2;
  let low = high === 1 ? 0 : high / 2;
  // Bisection to the last bit: p falls in t.
  for (;;) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) return middle;
    if (twoSidedP(middle, df) > tail) low = middle;
    else high = middle;
  }
}
