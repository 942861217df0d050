// Exact nearest neighbours by brute force: products of blocks of queries and keys on an engine, which hands back the best k of each.
import type { Engine, Executable, Program } from '../engine/program.js';
import { DataError, UsageError } from '../errors.js';
import { product } from '../tensor/ops/index.js';
import { type Tensor, tf } from '../tensor/tf.js';

export type NeighbourMetric = 'cosine' | 'l2';

/** Vectors of one width that are read piece by piece, from memory or from a file. */
export interface VectorSource {
  readonly count: number;
  /** Rows first to first + count - 1, row-major [count, width]; they are read before the next call and not changed. */
  read(first: number, count: number): Float32Array | Promise<Float32Array>;
}

/** All vectors [rows, width] of an array as a source. */
export function vectorsInMemory(values: Float32Array, width: number): VectorSource {
  if (!Number.isInteger(values.length / width)) {
    throw new DataError(`${values.length} values are not whole vectors of width ${width}`);
  }
  return {
    count: values.length / width,
    read: (first, count) => values.subarray(first * width, (first + count) * width),
  };
}

export interface NeighbourRequest {
  readonly engine: Engine;
  /** Keys, either [keys, width] or read piece by piece, once and in order. */
  readonly train: Float32Array | VectorSource;
  /** Queries, likewise; a source is read once for every block of keys. */
  readonly test: Float32Array | VectorSource;
  readonly width: number;
  readonly k: number;
  readonly metric: NeighbourMetric;
  /** Keys and queries of one product. Memory beside the result: keys * width * 12 + queries * keys * 4 bytes or so. */
  readonly keysAtOnce?: number;
  readonly queriesAtOnce?: number;
  /** Called with the share of the work that is done, in (0, 1]. */
  readonly onProgress?: (share: number) => void;
}

/** The k nearest keys of every query, nearest first; of equal distances the smaller index comes first. */
export interface Neighbours {
  readonly k: number;
  /** [queries, k] rows of train. */
  readonly indices: Int32Array;
  /** [queries, k]: 1 - cosine (a vector of length 0 is at 1 from all), or the Euclidean distance. */
  readonly distances: Float32Array;
}

const KEYS_AT_ONCE = 16_384;
const QUERIES_AT_ONCE = 512;
/** Below every score that finite vectors give: the place of a key that is not there. */
const ABSENT = -3e38;

/**
 * Exact neighbours under cosine or Euclidean distance in float32. Both orders come from one product: q.k / |k| for cosine and
 * q.k - |k|^2 / 2 for Euclidean, the terms of the query alone being added afterwards. Far from the origin the latter
 * cancels: centre the vectors first (standardised features are).
 * @throws UsageError when k is not between 1 and the number of keys, DataError when the sizes do not fit or a value is not finite
 */
export async function nearestNeighbours(request: NeighbourRequest): Promise<Neighbours> {
  const { engine, width, k, metric } = request;
  const source = (x: Float32Array | VectorSource): VectorSource =>
    x instanceof Float32Array ? vectorsInMemory(x, width) : x;
  const [train, test] = [source(request.train), source(request.test)];
  if (!(Number.isInteger(k) && k >= 1 && k <= train.count)) {
    throw new UsageError(`k is ${k}; accepted: a whole number from 1 to the ${train.count} training vectors`);
  }
  const keysAtOnce = Math.max(k, Math.min(request.keysAtOnce ?? KEYS_AT_ONCE, train.count));
  const queriesAtOnce = Math.max(1, Math.min(request.queriesAtOnce ?? QUERIES_AT_ONCE, test.count));
  const best = { k, indices: new Int32Array(test.count * k), distances: new Float32Array(test.count * k) };
  best.distances.fill(Number.NEGATIVE_INFINITY); // scores, larger is nearer, until the end
  const squares = new Float64Array(test.count);
  const executable = await engine.load(blockProgram(queriesAtOnce, keysAtOnce, width, k));
  try {
    for (let first = 0; first < train.count; first += keysAtOnce) {
      const count = Math.min(keysAtOnce, train.count - first);
      setKeys(executable, await rowsOf(train, first, count, width), count, keysAtOnce, width, metric);
      for (let query = 0; query < test.count; query += queriesAtOnce) {
        const queries = Math.min(queriesAtOnce, test.count - query);
        const rows = await rowsOf(test, query, queries, width);
        if (first === 0)
          for (let i = 0; i < queries; i++) squares[query + i] = squareOf(rows, i, width, 'query');
        const { scores, places } = await executable.run({
          queries: padded(rows, queriesAtOnce * width),
        });
        for (let i = 0; i < queries; i++) {
          merge(best, query + i, scores as Float32Array, places as Int32Array, i * k, first);
        }
        const done = first * test.count + count * (query + queries);
        request.onProgress?.(done / (train.count * test.count));
      }
    }
  } finally {
    await executable.dispose();
  }
  toDistances(best, squares, metric);
  return best;
}

/** queries [Q, W] against the keys [K, W] inside -> the k best scores [Q, k] of q.key + offset, and their places. */
function blockProgram(queries: number, keys: number, width: number, k: number): Program {
  return {
    name: `neighbours_${queries}x${keys}x${width}`,
    inputs: {
      keys: { shape: [keys, width], dtype: 'float32' },
      offsets: { shape: [keys], dtype: 'float32' },
      queries: { shape: [queries, width], dtype: 'float32' },
    },
    state: ['keys', 'offsets'],
    run: (i) => {
      const scores: Tensor = tf.add(product(i.queries!, i.keys!, { transB: true }), i.offsets!);
      const { values, indices } = tf.topk(scores, k);
      return { scores: values, places: indices };
    },
  };
}

function setKeys(
  executable: Executable,
  rows: Float32Array,
  count: number,
  capacity: number,
  width: number,
  metric: NeighbourMetric,
): void {
  const keys = new Float32Array(capacity * width);
  const offsets = new Float32Array(capacity).fill(ABSENT, count);
  for (let i = 0; i < count; i++) {
    const square = squareOf(rows, i, width, 'training');
    const scale = metric === 'l2' ? 1 : square > 0 ? 1 / Math.sqrt(square) : 0;
    if (metric === 'l2') offsets[i] = -square / 2;
    for (let j = i * width; j < (i + 1) * width; j++) keys[j] = rows[j]! * scale;
  }
  executable.setState({ keys, offsets });
}

async function rowsOf(
  source: VectorSource,
  first: number,
  count: number,
  width: number,
): Promise<Float32Array> {
  const rows = await source.read(first, count);
  if (rows.length !== count * width) {
    throw new DataError(
      `${rows.length} values where ${count} vectors of width ${width} were to be read, from number ${first}`,
    );
  }
  return rows;
}

function padded(values: Float32Array, length: number): Float32Array {
  if (values.length === length) return values;
  const out = new Float32Array(length);
  out.set(values);
  return out;
}

/** Squared length of one row. */
function squareOf(rows: Float32Array, row: number, width: number, what: 'query' | 'training'): number {
  let sum = 0;
  for (let j = row * width; j < (row + 1) * width; j++) sum += rows[j]! * rows[j]!;
  if (!Number.isFinite(sum)) throw new DataError(`a ${what} vector holds a value that is not finite`);
  return sum;
}

/** Merges k scores in descending order into a query's best; of equal ones the earlier keys stay in front. */
function merge(
  best: { k: number; indices: Int32Array; distances: Float32Array },
  query: number,
  scores: Float32Array,
  places: Int32Array,
  from: number,
  firstKey: number,
): void {
  const { k, indices, distances } = best;
  const start = query * k;
  let kept = start + k - 1;
  if (!(scores[from]! > distances[kept]!)) return;
  // How many of the new ones enter: each pushes out the worst of those that are there.
  let entering = 0;
  while (entering < k && scores[from + entering]! > distances[kept]!) {
    entering++;
    kept--;
  }
  // From the back, the smaller of both lists; the old one goes in front of an equal new one.
  let added = from + entering - 1;
  for (let to = start + k - 1; added >= from; to--) {
    if (kept >= start && distances[kept]! < scores[added]!) {
      distances[to] = distances[kept]!;
      indices[to] = indices[kept]!;
      kept--;
    } else {
      distances[to] = scores[added]!;
      indices[to] = firstKey + places[added]!;
      added--;
    }
  }
}

/** Adds to the scores what depends on the query alone, in place. */
function toDistances(
  best: { k: number; distances: Float32Array },
  squares: Float64Array,
  metric: NeighbourMetric,
): void {
  const { k, distances } = best;
  for (let i = 0; i < distances.length; i++) {
    const square = squares[Math.floor(i / k)]!;
    if (metric === 'l2') distances[i] = Math.sqrt(Math.max(0, square - 2 * distances[i]!));
    else distances[i] = square > 0 ? 1 - distances[i]! / Math.sqrt(square) : 1;
  }
}
