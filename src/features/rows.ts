// Matrices that are read by ranges of rows, whether they lie in memory or in a file, and choices of their rows.

export type RowValues = Float32Array | Uint8Array;

/** A matrix [count, width] read piece by piece. */
export interface RowSource<T extends RowValues = Float32Array> {
  readonly count: number;
  readonly width: number;
  /** Rows first to first + count - 1, row-major [count, width]; they hold until the next call and are not to be changed. */
  read(first: number, count: number): T | Promise<T>;
}

/** The rows of an array [rows, width]. Throws RangeError when they are not whole. */
export function rowsInMemory<T extends RowValues>(values: T, width: number): RowSource<T> {
  if (!Number.isInteger(values.length / width)) {
    throw new RangeError(`${values.length} values are not whole rows of width ${width}`);
  }
  return {
    count: values.length / width,
    width,
    read: (first, count) => values.subarray(first * width, (first + count) * width) as T,
  };
}

/** Rows that are read though not chosen, where that saves a call. */
const GAP = 64;

/**
 * The rows `chosen` (ascending) of a source, as a source. One read of it is a few reads of the other: neighbouring rows come
 * together, with up to 64 unwanted ones between them. Throws RangeError when the choice is not ascending or goes beyond the source.
 */
export function chooseRows<T extends RowValues>(source: RowSource<T>, chosen: Int32Array): RowSource<T> {
  const { width } = source;
  for (let i = 0; i < chosen.length; i++) {
    if (chosen[i]! < (i === 0 ? 0 : chosen[i - 1]! + 1) || chosen[i]! >= source.count) {
      throw new RangeError(`row ${chosen[i]} of ${source.count} is out of order or does not exist`);
    }
  }
  let buffer: T | undefined;
  return {
    count: chosen.length,
    width,
    async read(first, count) {
      const end = first + count;
      if (first < 0 || end > chosen.length)
        throw new RangeError(`rows ${first} to ${end} of ${chosen.length}`);
      if (count === 0) return source.read(0, 0);
      if (chosen[end - 1]! - chosen[first]! === count - 1) return source.read(chosen[first]!, count);
      let filled = 0;
      let out: T | undefined;
      for (let i = first; i < end; ) {
        let last = i;
        while (
          last + 1 < end &&
          chosen[last + 1]! - chosen[last]! <= GAP &&
          chosen[last + 1]! - chosen[i]! < 2 * count
        )
          last++;
        const start = chosen[i]!;
        const rows = await source.read(start, chosen[last]! - start + 1);
        if (!buffer || buffer.length < count * width) {
          buffer = (
            rows instanceof Float32Array ? new Float32Array(count * width) : new Uint8Array(count * width)
          ) as T;
        }
        out ??= buffer.subarray(0, count * width) as T;
        while (i <= last) {
          let run = i;
          while (run < last && chosen[run + 1] === chosen[run]! + 1) run++;
          const from = (chosen[i]! - start) * width;
          out.set(rows.subarray(from, from + (run - i + 1) * width), filled);
          filled += (run - i + 1) * width;
          i = run + 1;
        }
      }
      return out!;
    },
  };
}
