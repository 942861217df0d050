// Eigenvalues and eigenvectors of a symmetric matrix in float64: Householder reduction to a tridiagonal one, then implicit QL.

/** The largest eigenvalues, falling, and their eigenvectors as unit rows [count, n]; the sign of a vector is arbitrary. */
export interface Eigen {
  values: Float64Array;
  vectors: Float64Array;
}

const SWEEPS = 60; // QL needs two or three an eigenvalue

/**
 * The `count` largest eigenpairs of the symmetric matrix [n, n], which is overwritten. About 8 n^3 operations.
 * Source: Golub and Van Loan, Matrix Computations, Sec. 8.3 (the two steps are EISPACK's tred2 and tql2 in outline).
 * @throws RangeError for a size that does not fit or a value that is not finite
 */
export function symmetricEigen(matrix: Float64Array, n: number, count = n): Eigen {
  if (matrix.length !== n * n || count > n) {
    throw new RangeError(`${count} eigenvectors of a matrix of ${matrix.length} values, ${n} x ${n}`);
  }
  if (!matrix.every(Number.isFinite)) throw new RangeError('the matrix has a value that is not finite');
  // Squares of its values neither vanish nor overflow once the largest is 1, whatever the unit of the features was.
  const unit = matrix.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  for (let i = 0; i < matrix.length; i++) matrix[i]! /= unit;
  const { diagonal, beside, scales } = tridiagonalise(matrix, n);
  const rows = diagonalise(diagonal, beside, n);
  const order = Array.from({ length: n }, (_, i) => i).sort((a, b) => diagonal[b]! - diagonal[a]!);
  const vectors = new Float64Array(count * n);
  for (let i = 0; i < count; i++) {
    const vector = vectors.subarray(i * n, (i + 1) * n);
    vector.set(rows.subarray(order[i]! * n, (order[i]! + 1) * n));
    for (let k = n - 3; k >= 0; k--) reflect(vector, matrix, scales[k]!, k, n);
  }
  return { values: Float64Array.from(order.slice(0, count), (i) => unit * diagonal[i]!), vectors };
}

/** Reflector k is I - scale v v', v standing in row k of the matrix from column k + 1 on. */
function reflect(vector: Float64Array, matrix: Float64Array, scale: number, k: number, n: number): void {
  if (scale === 0) return;
  let dot = 0;
  for (let j = k + 1; j < n; j++) dot += matrix[k * n + j]! * vector[j]!;
  for (let j = k + 1; j < n; j++) vector[j]! -= scale * dot * matrix[k * n + j]!;
}

/** A becomes tridiagonal under n - 2 reflectors, which stay in its rows; `beside[k]` couples k and k + 1. */
function tridiagonalise(a: Float64Array, n: number) {
  const diagonal = new Float64Array(n);
  const beside = new Float64Array(n);
  const scales = new Float64Array(n);
  const p = new Float64Array(n);
  for (let k = 0; k < n - 2; k++) {
    const v = a.subarray(k * n, (k + 1) * n);
    diagonal[k] = v[k]!;
    let below = 0;
    for (let j = k + 2; j < n; j++) below += v[j]! * v[j]!;
    beside[k] = v[k + 1]!;
    if (below === 0) continue;
    const norm = Math.sqrt(v[k + 1]! ** 2 + below);
    beside[k] = v[k + 1]! > 0 ? -norm : norm;
    v[k + 1]! -= beside[k]!;
    const scale = 2 / (v[k + 1]! ** 2 + below);
    scales[k] = scale;
    let dot = 0;
    for (let i = k + 1; i < n; i++) {
      let sum = 0;
      for (let j = k + 1, at = i * n + k + 1; j < n; j++, at++) sum += a[at]! * v[j]!;
      p[i] = scale * sum;
      dot += p[i]! * v[i]!;
    }
    for (let i = k + 1; i < n; i++) p[i]! -= 0.5 * scale * dot * v[i]!;
    for (let i = k + 1; i < n; i++) {
      const [vi, pi] = [v[i]!, p[i]!];
      for (let j = k + 1, at = i * n + k + 1; j < n; j++, at++) a[at]! -= vi * p[j]! + pi * v[j]!;
    }
  }
  for (let k = Math.max(0, n - 2); k < n; k++) diagonal[k] = a[k * n + k]!;
  if (n > 1) beside[n - 2] = a[(n - 2) * n + n - 1]!;
  return { diagonal, beside, scales };
}

/** Turns `diagonal` into the eigenvalues and returns the eigenvectors of the tridiagonal matrix as rows. */
function diagonalise(diagonal: Float64Array, beside: Float64Array, n: number): Float64Array {
  const rows = new Float64Array(n * n);
  for (let i = 0; i < n; i++) rows[i * n + i] = 1;
  // Beside the whole matrix, as in tql2: of a matrix of low rank neighbours that are zero but for rounding never become small beside each other.
  const norm = diagonal.reduce((most, d, i) => Math.max(most, Math.abs(d) + Math.abs(beside[i]!)), 0);
  for (let low = 0; low < n; low++) {
    for (let sweep = 0; ; sweep++) {
      let high = low;
      while (high < n - 1 && Math.abs(beside[high]!) > Number.EPSILON * norm) high++;
      if (high === low) break;
      if (sweep === SWEEPS) throw new RangeError('the eigenvalues do not converge');
      // Wilkinson's shift, from the 2 x 2 block at the lower end.
      const half = (diagonal[low + 1]! - diagonal[low]!) / (2 * beside[low]!);
      const root = Math.hypot(half, 1);
      let g = diagonal[high]! - diagonal[low]! + beside[low]! / (half + (half >= 0 ? root : -root));
      let [sine, cosine, shifted] = [1, 1, 0];
      let i = high - 1;
      for (; i >= low; i--) {
        const f = sine * beside[i]!;
        const b = cosine * beside[i]!;
        const length = Math.hypot(f, g);
        beside[i + 1] = length;
        if (length === 0) {
          diagonal[i + 1]! -= shifted;
          beside[high] = 0;
          break;
        }
        sine = f / length;
        cosine = g / length;
        g = diagonal[i + 1]! - shifted;
        const turn = (diagonal[i]! - g) * sine + 2 * cosine * b;
        shifted = sine * turn;
        diagonal[i + 1] = g + shifted;
        g = cosine * turn - b;
        rotate(rows, i * n, (i + 1) * n, n, cosine, sine);
      }
      if (i >= low) continue;
      diagonal[low]! -= shifted;
      beside[low] = g;
      beside[high] = 0;
    }
  }
  return rows;
}

function rotate(rows: Float64Array, a: number, b: number, n: number, cosine: number, sine: number): void {
  for (let j = 0; j < n; j++) {
    const [x, y] = [rows[a + j]!, rows[b + j]!];
    rows[b + j] = sine * x + cosine * y;
    rows[a + j] = cosine * x - sine * y;
  }
}
