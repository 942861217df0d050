// Arrays of float64 in plain JavaScript: what the oracles of the conformance rows are written in. Slow, and short enough to trust.

/** Row-major values with a shape. */
export interface Nd {
  shape: number[];
  data: Float64Array;
}

const size = (shape: number[]): number => shape.reduce((a, b) => a * b, 1);

export const nd = (shape: number[], data: ArrayLike<number>): Nd => ({
  shape,
  data: Float64Array.from(data),
});

/** The array of `shape` whose element at index i is f(i). */
export function build(shape: number[], f: (index: number[]) => number): Nd {
  const out = new Float64Array(size(shape));
  const index = shape.map(() => 0);
  for (let n = 0; n < out.length; n++) {
    out[n] = f(index);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (++index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
  return { shape, data: out };
}

/** The element at an index; an axis of size 1 stands for every index, and leading axes that x lacks are left out (NumPy broadcasting). */
export function at(x: Nd, index: readonly number[]): number {
  const extra = index.length - x.shape.length;
  let offset = 0;
  for (let axis = 0; axis < x.shape.length; axis++) {
    const d = x.shape[axis]!;
    offset = offset * d + (d === 1 ? 0 : index[axis + extra]!);
  }
  return x.data[offset]!;
}

export const map = (x: Nd, f: (value: number) => number): Nd => ({ shape: x.shape, data: x.data.map(f) });

/** f of two arrays, broadcast as NumPy does. */
export function zip(a: Nd, b: Nd, f: (x: number, y: number) => number): Nd {
  const rank = Math.max(a.shape.length, b.shape.length);
  const shape = Array.from({ length: rank }, (_, i) =>
    Math.max(a.shape.at(i - rank) ?? 1, b.shape.at(i - rank) ?? 1),
  );
  return build(shape, (i) => f(at(a, i), at(b, i)));
}

export const mul = (a: Nd, b: Nd): Nd => zip(a, b, (x, y) => x * y);
export const add = (a: Nd, b: Nd): Nd => zip(a, b, (x, y) => x + y);
export const scaled = (x: Nd, by: number): Nd => map(x, (v) => v * by);

export function reshape(x: Nd, shape: number[]): Nd {
  if (size(shape) !== x.data.length) throw new Error(`[${x.shape}] is not [${shape}]`);
  return { shape, data: x.data };
}

export function transpose(x: Nd, perm: number[]): Nd {
  return build(
    perm.map((p) => x.shape[p]!),
    (i) => {
      const from: number[] = [];
      perm.forEach((p, axis) => {
        from[p] = i[axis]!;
      });
      return at(x, from);
    },
  );
}

/** Folds the axes away with f, from `start`. */
export function reduce(
  x: Nd,
  axes: number[],
  keepDims: boolean,
  f: (total: number, value: number) => number,
  start: number,
): Nd {
  const kept = x.shape.map((d, i) => (axes.includes(i) ? 1 : d));
  const out = build(kept, () => start);
  build(x.shape, (i) => {
    let offset = 0;
    for (const [axis, d] of kept.entries()) offset = offset * d + (d === 1 ? 0 : i[axis]!);
    out.data[offset] = f(out.data[offset]!, at(x, i));
    return 0;
  });
  return keepDims
    ? out
    : reshape(
        out,
        x.shape.filter((_, i) => !axes.includes(i)),
      );
}

export const sum = (x: Nd, axes: number[], keepDims = false): Nd =>
  reduce(x, axes, keepDims, (a, b) => a + b, 0);
/** Sum over the last axis, which stays as 1. */
export const rowSum = (x: Nd): Nd => sum(x, [x.shape.length - 1], true);

/** a @ b over the last two axes, leading axes broadcast. */
export function matmul(a: Nd, b: Nd): Nd {
  const [m, k, n] = [a.shape.at(-2)!, a.shape.at(-1)!, b.shape.at(-1)!];
  if (b.shape.at(-2) !== k) throw new Error(`product of [${a.shape}] and [${b.shape}]`);
  const lead = zip(
    build([...a.shape.slice(0, -2), 1], () => 0),
    build([...b.shape.slice(0, -2), 1], () => 0),
    () => 0,
  );
  return build([...lead.shape.slice(0, -1), m, n], (i) => {
    const batch = i.slice(0, -2);
    let total = 0;
    for (let p = 0; p < k; p++) total += at(a, [...batch, i.at(-2)!, p]) * at(b, [...batch, p, i.at(-1)!]);
    return total;
  });
}

/** The last two axes exchanged. */
export const t = (x: Nd): Nd => {
  const axes = x.shape.map((_, i) => i);
  return transpose(x, [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!]);
};

/** Softmax over the last axis. */
export function softmax(x: Nd): Nd {
  const largest = reduce(x, [x.shape.length - 1], true, Math.max, Number.NEGATIVE_INFINITY);
  const e = zip(x, largest, (v, m) => Math.exp(v - m));
  return zip(e, rowSum(e), (v, total) => v / total);
}

/** The error function by its Taylor series (|x| < 6: error below 1e-14 of what it cancels, so below 1e-11 for |x| < 3). */
export function erf(x: number): number {
  let term = x;
  let total = x;
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n;
    total += term / (2 * n + 1);
    if (Math.abs(term) < 1e-18) break;
  }
  return (2 / Math.sqrt(Math.PI)) * total;
}
