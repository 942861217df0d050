// Comma-separated values that programs read as they were meant and spreadsheets do not run.
import { stringify } from 'csv-stringify/sync';
import { shown } from './text.js';

/** A number as text, with or without a sign: no spreadsheet runs it. */
const NUMBER = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;
/** What begins a formula for a spreadsheet, in their wide forms as well; blanks before it do not help. */
const FORMULA = /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]\s*\S/;

/** One cell: numbers as they are (none for NaN and infinity), objects as JSON, texts without control characters and never a formula. */
function cell(value: unknown): string | number {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number') return Number.isFinite(value) ? value : '';
  const text = shown(typeof value === 'string' ? value : JSON.stringify(value));
  return FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text;
}

/** Lines of a table under the names of the first one's columns. A text that a spreadsheet would run has an apostrophe before it. */
export function csvText(lines: readonly Record<string, unknown>[]): string {
  const columns = Object.keys(lines[0] ?? {});
  return stringify(
    lines.map((line) => columns.map((name) => cell(line[name]))),
    { header: true, columns: columns.map((name) => ({ key: name, header: String(cell(name)) })) },
  );
}
