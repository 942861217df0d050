// Cosine similarities of queries with the whole of a database, block by block on an engine, within a bound of memory.
import type { Engine, Executable, Program } from '../../engine/program.js';
import type { VectorSource } from '../../solvers/neighbours.js';
import { product } from '../../tensor/ops/index.js';

/** Vectors of one product at most. */
const KEYS = 16_384;
const QUERIES = 512;

export interface SimilarityRequest {
  readonly engine: Engine;
  readonly width: number;
  readonly database: VectorSource;
  /** Read once for every block of the database. */
  readonly queries: VectorSource;
  /** Bytes that blocks of vectors and rows of similarities may take; one row and one vector are taken in any case. */
  readonly memory: number;
  /** Hears every query, in order: [database] similarities in float32, 0 with a vector of length 0. They are its own during the call alone. */
  visit(query: number, similarities: Float32Array): void;
}

/** Sizes of the blocks, and the bytes that they take. */
export function blocksFor(database: number, queries: number, width: number, memory: number) {
  const within = (bytes: number, most: number): number => Math.max(1, Math.min(most, Math.floor(bytes)));
  // Keys as they are read, as they are scaled, and in the engine.
  const keys = within(memory / 2 / (12 * width), Math.min(KEYS, database));
  const rows = within(memory / 4 / (4 * database), queries);
  const together = within(memory / 4 / (8 * width + 4 * keys), Math.min(QUERIES, rows));
  return {
    keys,
    rows,
    together,
    bytes: 12 * keys * width + 4 * rows * database + together * (8 * width + 4 * keys),
  };
}

/** Visits every query with its similarities. */
export async function similarities(request: SimilarityRequest): Promise<void> {
  const { engine, width, database, queries, memory, visit } = request;
  const { keys, rows, together } = blocksFor(database.count, queries.count, width, memory);
  const held = new Float32Array(rows * database.count);
  const executable = await engine.load(blockProgram(together, keys, width));
  try {
    for (let begin = 0; begin < queries.count; begin += rows) {
      const count = Math.min(rows, queries.count - begin);
      for (let first = 0; first < database.count; first += keys) {
        const end = Math.min(first + keys, database.count);
        executable.setState({ keys: unitRows(await database.read(first, end - first), width, keys) });
        await fill(executable, begin, count, first, end);
      }
      for (let i = 0; i < count; i++)
        visit(begin + i, held.subarray(i * database.count, (i + 1) * database.count));
    }
  } finally {
    await executable.dispose();
  }

  /** Puts the similarities of some queries with the database's vectors first to end - 1 where they belong. */
  async function fill(
    on: Executable,
    begin: number,
    count: number,
    first: number,
    end: number,
  ): Promise<void> {
    for (let query = 0; query < count; query += together) {
      const some = Math.min(together, count - query);
      const read = await queries.read(begin + query, some);
      const { scores } = await on.run({ queries: unitRows(read, width, together) });
      for (let i = 0; i < some; i++) {
        const row = (scores as Float32Array).subarray(i * keys, i * keys + end - first);
        held.set(row, (query + i) * database.count + first);
      }
    }
  }
}

/** queries [Q, W] against the keys [K, W] inside -> scores [Q, K]. */
const blockProgram = (queries: number, keys: number, width: number): Program => ({
  name: `similarities_${queries}x${keys}x${width}`,
  inputs: {
    keys: { shape: [keys, width], dtype: 'float32' },
    queries: { shape: [queries, width], dtype: 'float32' },
  },
  state: ['keys'],
  run: (i) => ({ scores: product(i.queries!, i.keys!, { transB: true }) }),
});

/** Rows scaled to length 1 (those of length 0 stay), as the first of `count`. */
function unitRows(rows: Float32Array, width: number, count: number): Float32Array {
  const out = new Float32Array(count * width);
  for (let from = 0; from < rows.length; from += width) {
    let square = 0;
    for (let j = from; j < from + width; j++) square += rows[j]! * rows[j]!;
    const scale = square > 0 ? 1 / Math.sqrt(square) : 0;
    for (let j = from; j < from + width; j++) out[j] = rows[j]! * scale;
  }
  return out;
}
