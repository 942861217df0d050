// Plain columns of text for a terminal.
import { shown } from '../base/text.js';

/**
 * Rows as lines with aligned columns, two spaces apart; a column whose cells below the head are all numbers is aligned right.
 * @param table the head first; every row has the same number of cells
 */
export function columns(table: readonly (readonly string[])[]): string {
  const rows = table.map((row) => row.map(shown));
  const count = rows[0]?.length ?? 0;
  const cells = (i: number) => rows.map((row) => row[i]!);
  const widths = Array.from({ length: count }, (_, i) => Math.max(...cells(i).map((cell) => cell.length)));
  const numeric = widths.map((_, i) =>
    cells(i)
      .slice(1)
      .every((cell) => cell === '' || /^[-+]?[\d.,]+(e[-+]?\d+)?$/.test(cell)),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (numeric[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd();
  return rows.map(line).join('\n');
}
