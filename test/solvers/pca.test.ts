// Eigenvectors by their definition, the official PCA picture value by value, streamed sums against all rows at once, flat and degenerate features.
import { describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import { toByte } from '../../src/probes/pictures/colours.js';
import { symmetricEigen } from '../../src/solvers/eigen.js';
import { CovarianceSums, orient, project, projectOnOwn } from '../../src/solvers/pca.js';
import { segmentationTensors } from '../support/segmentation.js';

const column = (values: Float64Array, count: number, k: number): number[] =>
  [...values].filter((_, i) => i % count === k);
const moment = (x: number[], n: number): number => x.reduce((sum, v) => sum + v ** n, 0) / x.length;

/** Largest difference of two columns, whichever way they point. */
function apart(a: number[], b: number[]): number {
  const worst = (sign: number): number => Math.max(...a.map((v, i) => Math.abs(v - sign * b[i]!)));
  return Math.min(worst(1), worst(-1));
}

/** Skewed rows with falling variances along turned axes, away from the origin by `offset`. */
function cloud(rows: number, width: number, offset = 0): Float32Array {
  const random = stream(1, 'cloud');
  const turn = stream(2, 'turn').fillNormal(new Float32Array(width * width));
  const out = new Float32Array(rows * width);
  for (let r = 0; r < rows; r++) {
    const hidden = Array.from({ length: width }, (_, j) => (random.normal() ** 2 - 1) * 0.8 ** j);
    for (let c = 0; c < width; c++) {
      out[r * width + c] = hidden.reduce((sum, h, j) => sum + h * turn[j * width + c]!, offset);
    }
  }
  return out;
}

const direction = Array.from({ length: 3 }, (_, k) => stream(5, k).fillNormal(new Float32Array(90)));
const lowRank = (i: number, j: number): number =>
  direction.reduce((sum, d, k) => sum + (d[i]! * d[j]!) / 10 ** k, 0);

describe('symmetricEigen', () => {
  const matrices: [string, number, (i: number, j: number) => number][] = [
    ['one value', 1, () => 3],
    ['two by two', 2, (i, j) => [2, -1, -1, 5][2 * i + j]!],
    ['zeros', 7, () => 0],
    ['diagonal, with equal values', 6, (i, j) => (i === j ? [4, 1, 4, 0, 1, -3][i]! : 0)],
    ['one direction', 20, (i, j) => (i + 1) * (j + 1)],
    ['a graph with equal eigenvalues', 36, (i, j) => Math.cos((2 * Math.PI * (i - j)) / 36)],
    ['small beside large', 12, (i, j) => 10 ** (-(i + j) / 2) * (i === j ? 2 : 0.3)],
    ['three directions, in units of 1e-200', 90, (i, j) => 1e-200 * lowRank(i, j)],
    ['three directions, in units of 1e200', 90, (i, j) => 1e200 * lowRank(i, j)],
    ['zeros but for rounding', 40, (i, j) => 1e-17 * stream(4, Math.min(i, j), Math.max(i, j)).normal()],
    ['one value beside zeros but for rounding', 30, (i, j) => (i + j === 0 ? 1 : 1e-18 * Math.cos(i * j))],
    ['random', 60, (i, j) => stream(3, Math.min(i, j), Math.max(i, j)).normal()],
  ];

  it.each(matrices)('%s: the vectors are orthonormal, A v = value v, and the values fall', (_, n, entry) => {
    const a = Float64Array.from({ length: n * n }, (_, at) => entry(Math.floor(at / n), at % n));
    const { values, vectors } = symmetricEigen(a.slice(), n);
    const size = Math.max(1e-300, ...a.map(Math.abs)) * n;
    // A backward stable method errs by about n units of rounding (2.2e-16) times the size of the matrix.
    const tolerance = 1e-13;
    const v = (k: number): Float64Array => vectors.subarray(k * n, (k + 1) * n);
    const dot = (x: ArrayLike<number>, y: ArrayLike<number>): number => {
      let sum = 0;
      for (let i = 0; i < n; i++) sum += x[i]! * y[i]!;
      return sum;
    };
    for (let k = 0; k < n; k++) {
      if (k > 0) expect(values[k]!).toBeLessThanOrEqual(values[k - 1]!);
      for (let l = 0; l <= k; l++) {
        expect(Math.abs(dot(v(k), v(l)) - (k === l ? 1 : 0))).toBeLessThan(n * tolerance);
      }
      for (let i = 0; i < n; i++) {
        const error = dot(a.subarray(i * n, (i + 1) * n), v(k)) - values[k]! * v(k)[i]!;
        expect(Math.abs(error)).toBeLessThan(size * tolerance);
      }
    }
    const first = symmetricEigen(a.slice(), n, Math.min(2, n));
    expect([...first.values]).toEqual([...values.subarray(0, first.values.length)]);
    expect([...first.vectors]).toEqual([...vectors.subarray(0, first.vectors.length)]);
  });

  it('refuses what is no square matrix of numbers', () => {
    expect(() => symmetricEigen(new Float64Array(5), 2)).toThrow(RangeError);
    expect(() => symmetricEigen(Float64Array.of(1, Number.NaN, Number.NaN, 1), 2)).toThrow(/not finite/);
  });
});

describe('the official picture', async () => {
  const reference = await segmentationTensors();
  const expected = reference.get('pca.projection')!;
  const unit = reference.get('pca.rgb_unit')!.data as Float32Array;
  const [rows, count] = expected.shape as [number, number];
  const features = reference.get('test.features')!;
  const width = features.shape[1]!;
  // The picture is that of the first patches of the test features.
  const input = (features.data as Float32Array).subarray(0, rows * width);
  const found = projectOnOwn(input, width, count);

  it('has the same projection, signs included', () => {
    const values = expected.data as Float32Array;
    // 1e-4: the bound of the issue; the reference worked in float64 on features that the file holds in float32.
    for (let i = 0; i < values.length; i++) {
      expect(Math.abs(found.values[i]! - values[i]!)).toBeLessThan(1e-4);
    }
  });

  it('has the same bytes but for rounding', () => {
    for (let i = 0; i < rows; i++) {
      for (let c = 0; c < 3; c++) {
        const byte = 255 * unit[3 * i + c]!;
        expect(Math.abs(toByte(found.values[i * count + c]!) - byte)).toBeLessThanOrEqual(1);
      }
    }
  });
});

describe('projections', () => {
  it('are whitened, uncorrelated, skewed upwards, and ordered by variance', () => {
    for (const [rows, width] of [
      [300, 20],
      [20, 300],
    ] as const) {
      const p = projectOnOwn(cloud(rows, width, 5), width, 6);
      for (let k = 0; k < 6; k++) {
        const x = column(p.values, 6, k);
        // float64 sums of some hundred terms.
        expect(Math.abs(moment(x, 1))).toBeLessThan(1e-9);
        expect(Math.abs(moment(x, 2) - 1)).toBeLessThan(1e-9);
        expect(moment(x, 3)).toBeGreaterThanOrEqual(0);
        for (let l = 0; l < k; l++) {
          const y = column(p.values, 6, l);
          const products = x.map((v, i) => v * y[i]!);
          expect(Math.abs(moment(products, 1))).toBeLessThan(1e-9);
        }
      }
      expect([...p.explained].sort((a, b) => b - a)).toEqual(p.explained);
      expect(p.explained.reduce((a, b) => a + b)).toBeLessThanOrEqual(1 + 1e-12);
    }
  });

  it('are the same from patches by patches, channels by channels, and in a stream of uneven pieces', () => {
    // 1e-6: the products of features that sit at 100 lose three digits of float64's sixteen before whitening.
    for (const offset of [0, 100]) {
      const [rows, width, count] = [40, 60, 5];
      const x = cloud(rows, width, offset);
      const own = projectOnOwn(x, width, count); // 40 x 40
      const sums = new CovarianceSums(width); // 60 x 60
      for (const [from, to] of [
        [0, 1],
        [1, 8],
        [8, 40],
      ] as const) {
        sums.add(x.subarray(from * width, to * width));
      }
      const model = sums.components(count);
      const joint = orient({ rows, count, values: project(model, x), explained: model.explained });
      for (let k = 0; k < count; k++) {
        expect(apart(column(own.values, count, k), column(joint.values, count, k))).toBeLessThan(1e-6);
        expect(Math.abs(own.explained[k]! - joint.explained[k]!)).toBeLessThan(1e-9);
      }
    }
  });

  it('find the directions that were put in', () => {
    const [rows, width] = [500, 9];
    const x = new Float32Array(rows * width);
    const hidden = Array.from({ length: rows }, (_, r) => [(r % 25) ** 2, Math.floor(r / 25) ** 2]); // uncorrelated
    hidden.forEach(([a, b], r) => {
      for (let c = 0; c < width; c++) x[r * width + c] = 7 + 3 * a! * (c < 4 ? 1 : 0) + b! * (c >= 4 ? 1 : 0);
    });
    const p = projectOnOwn(x, width, 3);
    for (const k of [0, 1]) {
      const one = hidden.map((h) => h[k]!);
      const [m, n] = [moment(one, 1), moment(one, 2)];
      const white = one.map((v) => (v - m) / Math.sqrt(n - m * m));
      // Features of up to 2,000 in float32 (24 bits).
      expect(apart(column(p.values, 3, k), white)).toBeLessThan(1e-5);
    }
    expect(column(p.values, 3, 2).every((v) => v === 0)).toBe(true);
    expect(p.explained[2]).toBe(0);
  });

  it('are 0 where there is nothing to show', () => {
    const same = projectOnOwn(new Float32Array(30).fill(3.3), 5, 3);
    expect([...same.values].every((v) => v === 0)).toBe(true);
    const three = projectOnOwn(Float32Array.from([0, 0, 1, 0, 5, 2]), 2, 6); // three points in a plane
    expect(three.explained.slice(2)).toEqual([0, 0, 0, 0]);
    expect(three.values.length).toBe(18);
    expect([...three.values].every(Number.isFinite)).toBe(true);
  });

  it.each([1e-15, 1, 1e15])(
    'have as many components as features of low rank have, in units of %s',
    (unit) => {
      for (const [rows, width, rank] of [
        [16, 768, 0],
        [16, 768, 1],
        [300, 64, 0],
        [300, 64, 1],
        [300, 64, 2],
        [1, 50, 0],
        [2, 50, 1],
        [5, 384, 4],
      ] as const) {
        const hidden = stream(6, rows, rank).fillNormal(new Float32Array(rows * rank));
        const turn = stream(7, width).fillNormal(new Float32Array(rank * width));
        const x = Float32Array.from({ length: rows * width }, (_, at) => {
          const [r, c] = [Math.floor(at / width), at % width];
          let value = 3;
          for (let k = 0; k < rank; k++) value += hidden[r * rank + k]! * turn[k * width + c]!;
          return unit * value;
        });
        const own = projectOnOwn(x, width, 6);
        const sums = new CovarianceSums(width);
        sums.add(x);
        for (const { explained } of [own, sums.components(6)]) {
          expect(explained.filter((share) => share > 0).length, `${rows} x ${width}`).toBe(rank);
          expect(explained.every((share) => share >= 0 && share <= 1 + 1e-9)).toBe(true);
        }
        expect(own.values.every(Number.isFinite)).toBe(true);
      }
    },
  );

  it('do not depend on the sign of the features', () => {
    const x = cloud(64, 10);
    const a = projectOnOwn(x, 10, 4);
    const b = projectOnOwn(
      x.map((v) => -v),
      10,
      4,
    );
    for (let i = 0; i < a.values.length; i++)
      expect(Math.abs(a.values[i]! - b.values[i]!)).toBeLessThan(1e-9);
  });

  it('refuse what is no features', () => {
    expect(() => projectOnOwn(new Float32Array(7), 2, 1)).toThrow(RangeError);
    expect(() => projectOnOwn(Float32Array.of(1, Number.NaN, 2, 3), 2, 1)).toThrow(/not finite/);
  });
});
