// Cholesky factors of small symmetric positive definite matrices, kept row by row.

/**
 * The lower triangle L [n, n] with L Lᵀ = `matrix` [n, n], of which only the lower triangle is read.
 * A pivot at or below the rounding error of its diagonal entry, as collinear columns give, is raised to it, so that a factor always exists.
 */
export function cholesky(matrix: Float64Array, n: number): Float64Array {
  const lower = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= lower[i * n + k]! * lower[j * n + k]!;
      if (i === j) {
        const least = Math.max(n * 2 ** -50 * Math.abs(matrix[i * n + i]!), Number.MIN_VALUE * 2 ** 60);
        lower[i * n + i] = Math.sqrt(Math.max(sum, least));
      } else {
        lower[i * n + j] = sum / lower[j * n + j]!;
      }
    }
  }
  return lower;
}

/** Solves L Lᵀ x = b in place for the `n` values of `x` that start at `offset`. */
export function choleskySolve(lower: Float64Array, n: number, x: Float64Array, offset = 0): void {
  for (let i = 0; i < n; i++) {
    let sum = x[offset + i]!;
    for (let k = 0; k < i; k++) sum -= lower[i * n + k]! * x[offset + k]!;
    x[offset + i] = sum / lower[i * n + i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    let sum = x[offset + i]!;
    for (let k = i + 1; k < n; k++) sum -= lower[k * n + i]! * x[offset + k]!;
    x[offset + i] = sum / lower[i * n + i]!;
  }
}

/** The inverse [n, n] of a lower triangle, lower itself. */
export function invertLower(lower: Float64Array, n: number): Float64Array {
  const inverse = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const row = i * n;
    // Row i of the inverse is (e_i - sum over k < i of lower[i, k] times row k of it) / lower[i, i].
    for (let k = 0; k < i; k++) {
      const factor = lower[row + k]!;
      if (factor === 0) continue;
      for (let j = 0; j <= k; j++) inverse[row + j]! -= factor * inverse[k * n + j]!;
    }
    inverse[row + i] = 1;
    for (let j = 0; j <= i; j++) inverse[row + j]! /= lower[row + i]!;
  }
  return inverse;
}
