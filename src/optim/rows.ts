// Which parameters an optimiser updates together, as one row: elementwise work on few long rows is faster than on many short ones.

/** Values that a row is filled up to: enough for every core to have its part, few enough for what one operation reads and writes to stay in the caches. */
const ROW_VALUES = 128 * 1024;

export interface ParameterRow<G> {
  names: string[];
  group: G;
}

/** Parameters of equal groups in their order, in rows of at most ROW_VALUES; those that have as many or more are alone. */
export function parameterRows<G>(
  parameters: Record<string, { size: number }>,
  groupOf: (name: string) => G,
): ParameterRow<G>[] {
  const rows: ParameterRow<G>[] = [];
  const open = new Map<string, { row: ParameterRow<G>; size: number }>();
  for (const [name, { size }] of Object.entries(parameters)) {
    const group = groupOf(name);
    const key = JSON.stringify(group);
    const last = open.get(key);
    if (last && last.size + size <= ROW_VALUES) {
      last.row.names.push(name);
      last.size += size;
    } else if (size >= ROW_VALUES) rows.push({ names: [name], group });
    else {
      const row = { names: [name], group };
      rows.push(row);
      open.set(key, { row, size });
    }
  }
  return rows;
}
