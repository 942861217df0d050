// L-BFGS against closed forms and the classic hard function; the Cholesky factor against its definition.
import { describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import { cholesky, choleskySolve } from '../../src/solvers/cholesky.js';
import { minimise } from '../../src/solvers/lbfgs.js';

/** A random symmetric positive definite matrix [n, n] with eigenvalues spread over `decades`. */
function randomMatrix(n: number, decades: number): Float64Array {
  const random = stream(7, 'matrix', n);
  const root = Float64Array.from({ length: n * n }, (_, i) =>
    i % n <= i / n ? random.normal() * 10 ** ((-decades * (i % n)) / n / 2) : 0,
  );
  const matrix = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      for (let k = 0; k < n; k++) matrix[i * n + j]! += root[i * n + k]! * root[j * n + k]!;
    }
    matrix[i * n + i]! += 10 ** -decades;
  }
  return matrix;
}

function multiply(matrix: Float64Array, x: Float64Array): Float64Array {
  const n = x.length;
  return x.map((_, i) => x.reduce((sum, value, j) => sum + matrix[i * n + j]! * value, 0));
}

describe('cholesky', () => {
  it('solves', () => {
    const n = 12;
    const matrix = randomMatrix(n, 3);
    const x = Float64Array.from({ length: n }, (_, i) => Math.sin(i + 1));
    const solved = new Float64Array(n + 2);
    solved.set(multiply(matrix, x), 2);
    choleskySolve(cholesky(matrix, n), n, solved, 2);
    // Condition number about 1e5: five of sixteen digits may go.
    for (let i = 0; i < n; i++) expect(solved[i + 2]).toBeCloseTo(x[i]!, 9);
    expect([...solved.subarray(0, 2)]).toEqual([0, 0]);
  });

  it('finds a factor of a singular matrix too', () => {
    const factor = cholesky(Float64Array.of(1, 1, 1, 1), 2);
    expect(factor.every(Number.isFinite)).toBe(true);
    expect(factor[3]).toBeGreaterThan(0);
    expect(cholesky(new Float64Array(4), 2).every(Number.isFinite)).toBe(true);
  });
});

describe('minimise', () => {
  const n = 30;
  const matrix = randomMatrix(n, 2);
  const target = Float64Array.from({ length: n }, (_, i) => Math.cos(3 * i));
  const quadratic = (x: Float64Array, gradient: Float64Array) => {
    const offset = x.map((value, i) => value - target[i]!);
    gradient.set(multiply(matrix, offset));
    return 1 + offset.reduce((sum, value, i) => sum + value * gradient[i]!, 0) / 2;
  };

  it('finds the minimum of a badly scaled quadratic form (condition number about 1e4)', async () => {
    const x = new Float64Array(n);
    const found = await minimise(quadratic, x, { memory: 10, maxIterations: 2000, tolerance: 1e-12 });
    expect(found.converged).toBe(true);
    expect(found.value - 1).toBeLessThan(1e-10);
    // SciPy's L-BFGS-B with as much memory needs 300 to 350 for such a spectrum; steepest descent tens of thousands.
    expect(found.iterations).toBeLessThan(400);
  });

  it('takes one step, and one more to know it, with the exact inverse Hessian', async () => {
    const factor = cholesky(matrix, n);
    const x = new Float64Array(n);
    const found = await minimise(quadratic, x, {
      memory: 10,
      maxIterations: 50,
      tolerance: 1e-12,
      precondition: () => (v) => choleskySolve(factor, n, v),
    });
    expect(found.iterations).toBeLessThanOrEqual(3);
    for (let i = 0; i < n; i++) expect(x[i]).toBeCloseTo(target[i]!, 7);
  });

  it("goes through Rosenbrock's valley", async () => {
    const x = Float64Array.of(-1.2, 1);
    const found = await minimise(
      (p, gradient) => {
        const [a, b] = [p[0]!, p[1]!];
        gradient[0] = -400 * a * (b - a * a) - 2 * (1 - a);
        gradient[1] = 200 * (b - a * a);
        return 100 * (b - a * a) ** 2 + (1 - a) ** 2;
      },
      x,
      { memory: 10, maxIterations: 200, tolerance: 1e-10 },
    );
    expect(found.converged).toBe(true);
    expect(found.evaluations).toBeLessThan(80); // published runs of L-BFGS take 40 to 60
    expect(x[0]).toBeCloseTo(1, 6);
    expect(x[1]).toBeCloseTo(1, 6);
  });

  it('says when the iterations ran out, and stops at a minimum', async () => {
    const short = await minimise(quadratic, new Float64Array(n), {
      memory: 5,
      maxIterations: 3,
      tolerance: 1e-12,
    });
    expect(short).toMatchObject({ converged: false, iterations: 3 });
    const there = await minimise(quadratic, Float64Array.from(target), {
      memory: 5,
      maxIterations: 3,
      tolerance: 1e-12,
    });
    expect(there).toMatchObject({ converged: true, iterations: 0, value: 1 });
  });
});
