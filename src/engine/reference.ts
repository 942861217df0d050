// The reference engine: the same ops on TensorFlow.js's plain JavaScript backend. Slow; the oracle of the tests.
import { type TensorInfo, tf } from '../tensor/tf.js';
import { EagerEngine } from './eager.js';
import { elements } from './program.js';

const BACKEND = 'cpu';
type Floats = Float32Array | Float64Array;

export function referenceEngine(): EagerEngine {
  replace('BatchMatMul', batchMatMul);
  replace('Slice', slice);
  return new EagerEngine('reference', 'cpu', tf.version.tfjs, BACKEND);
}

interface KernelCall {
  inputs: Record<string, TensorInfo>;
  attrs: Record<string, unknown>;
  backend: { data: { get(id: object): { values: Floats } } } & {
    makeTensorInfo(shape: number[], dtype: string, values: ArrayLike<number>): TensorInfo;
  };
}

/** Half of a training step went into these two kernels of the backend, which index element by element. */
function replace(kernelName: string, run: (call: KernelCall) => TensorInfo): void {
  const kernelFunc = run as never;
  if (tf.getKernel(kernelName, BACKEND)?.kernelFunc === kernelFunc) return;
  tf.unregisterKernel(kernelName, BACKEND);
  tf.registerKernel({ kernelName, backendName: BACKEND, kernelFunc });
}

/** op(a) @ op(b) with leading batch axes, where one operand may lack them or hold ones; sums in float64. */
function batchMatMul({ inputs, attrs, backend }: KernelCall): TensorInfo {
  const [a, b] = [inputs.a!, inputs.b!];
  const [m, k] = matrixOf(a, !attrs.transposeA);
  const n = matrixOf(b, Boolean(attrs.transposeB))[0];
  const [batchA, batchB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const batch = tf.backend_util.assertAndGetBroadcastShape(batchA, batchB);
  const [partsA, partsB, parts] = [elements(batchA), elements(batchB), elements(batch)];
  if (partsA !== parts && partsA !== 1) throw new Error(`product of [${a.shape}] and [${b.shape}]`);
  if (partsB !== parts && partsB !== 1) throw new Error(`product of [${a.shape}] and [${b.shape}]`);
  const left = rowsOf(backend.data.get(a.dataId).values, m, k, !attrs.transposeA);
  const right = rowsOf(backend.data.get(b.dataId).values, n, k, Boolean(attrs.transposeB));
  const out = new Float32Array(parts * m * n);
  for (let part = 0; part < parts; part++) {
    const [pa, pb] = [partsA === 1 ? 0 : part * m * k, partsB === 1 ? 0 : part * n * k];
    for (let i = 0; i < m; i++) {
      const rowA = pa + i * k;
      const rowOut = (part * m + i) * n;
      let j = 0;
      for (; j + 4 <= n; j += 4) {
        let [s0, s1, s2, s3] = [0, 0, 0, 0];
        const rowB = pb + j * k;
        for (let p = 0; p < k; p++) {
          const x = left[rowA + p]!;
          s0 += x * right[rowB + p]!;
          s1 += x * right[rowB + k + p]!;
          s2 += x * right[rowB + 2 * k + p]!;
          s3 += x * right[rowB + 3 * k + p]!;
        }
        out[rowOut + j] = s0;
        out[rowOut + j + 1] = s1;
        out[rowOut + j + 2] = s2;
        out[rowOut + j + 3] = s3;
      }
      for (; j < n; j++) {
        let s = 0;
        for (let p = 0; p < k; p++) s += left[rowA + p]! * right[pb + j * k + p]!;
        out[rowOut + j] = s;
      }
    }
  }
  return backend.makeTensorInfo([...batch, m, n], 'float32', out);
}

/** [rows, columns] of the last two axes, exchanged unless `asStored`. */
function matrixOf(x: TensorInfo, asStored: boolean): [number, number] {
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  return asStored ? [rows, columns] : [columns, rows];
}

/** Matrices stored [rows, columns] (`asStored`) or [columns, rows], as float64 [rows, columns] one after another. */
function rowsOf(values: Floats, rows: number, columns: number, asStored: boolean): Float64Array {
  const out = Float64Array.from(values);
  if (asStored) return out;
  const size = rows * columns;
  for (let start = 0; start < out.length; start += size) {
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) out[start + r * columns + c] = values[start + c * rows + r]!;
    }
  }
  return out;
}

/** x[begin, begin + size) on every axis. */
function slice({ inputs, attrs, backend }: KernelCall): TensorInfo {
  const x = inputs.x!;
  const begin = attrs.begin as number[];
  const size = (attrs.size as number[]).map((s, i) => (s < 0 ? x.shape[i]! - begin[i]! : s));
  const values = backend.data.get(x.dataId).values;
  const out = new (values.constructor as new (n: number) => Floats)(elements(size));
  const last = size.length - 1;
  /** Copies the part of x below `axis` that starts at `from` to `to`; returns where the next part goes. */
  const copy = (axis: number, from: number, to: number, stride: number): number => {
    if (axis < 0) {
      out[to] = values[from]!;
      return to + 1;
    }
    if (axis === last) {
      const start = from + begin[axis]!;
      for (let i = 0; i < size[axis]!; i++) out[to + i] = values[start + i]!;
      return to + size[axis]!;
    }
    const inner = stride / x.shape[axis]!;
    let next = to;
    for (let i = 0; i < size[axis]!; i++)
      next = copy(axis + 1, from + (begin[axis]! + i) * inner, next, inner);
    return next;
  };
  if (out.length > 0) copy(last < 0 ? -1 : 0, 0, 0, elements(x.shape));
  return backend.makeTensorInfo(size, x.dtype, out);
}
