// What a benchmark found, as tables for people.
import Table from 'cli-table3';
import { duration } from '../bench/compare.js';
import type { Comparison, Row, ShapeRow } from '../bench/record.js';

const two = (x: number): string => x.toFixed(2);
const percent = (x: number): string => `${Math.round(100 * x)} %`;
const whole = (x: number): string =>
  x >= 100 ? Math.round(x).toLocaleString('en-US') : String(Number(x.toPrecision(3)));

/** Columns that at least one row fills. */
function tableOf(rows: Row[]): string {
  const columns: [head: string, cell: (r: Row) => string][] = [
    ['', (r) => r.name + (r.note ? ` (${r.note})` : '')],
    ['median', (r) => duration(r.ms.median)],
    ['range', (r) => `${duration(r.ms.range[0])} - ${duration(r.ms.range[1])}`],
    ['a second', (r) => (r.per_second === null ? '' : whole(r.per_second))],
    ['GFLOP/s', (r) => (r.gflops === null ? '' : whole(r.gflops))],
    ['of GEMM rate', (r) => (r.share_of_gemm === null ? '' : percent(r.share_of_gemm))],
    ['time / ours', (r) => (r.ratio ? `${two(r.ratio.median)} (${r.ratio.range.map(two).join('-')})` : '')],
    ['processor time', (r) => (r.cpu_ms === null ? '' : duration(r.cpu_ms))],
    ['peak MiB', (r) => (r.peak_mib === null ? '' : whole(r.peak_mib))],
    ['of eager', (r) => (r.peak_ratio === null ? '' : two(r.peak_ratio))],
  ];
  const used = columns.filter(([, cell]) => rows.some((r) => cell(r) !== ''));
  const table = new Table({
    head: used.map(([head]) => head),
    colAligns: used.map((_, i) => (i === 0 ? 'left' : 'right')),
    style: { head: [], border: [] },
    chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
  });
  for (const r of rows) table.push(used.map(([, cell]) => cell(r)));
  return table.toString();
}

function shapesText(shapes: ShapeRow[]): string {
  const total = shapes.reduce((ms, s) => ms + s.count * s.best_ms, 0);
  const table = new Table({
    head: ['products', 'm', 'k', 'n', 'batch', 'operands', 'capi GFLOP/s', 'PyTorch GFLOP/s', 'of T*'],
    colAligns: ['right', 'right', 'right', 'right', 'right', 'left', 'right', 'right', 'right'],
    style: { head: [], border: [] },
    chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
  });
  for (const s of shapes) {
    const rate = (x: number | undefined) => (x === undefined ? '' : whole(x));
    table.push([
      ...[s.count, s.m, s.k, s.n, s.batch].map(String),
      s.transposes,
      rate(s.capi_gflops),
      rate(s.pytorch_gflops),
      `${((100 * s.count * s.best_ms) / total).toFixed(1)} %`,
    ]);
  }
  return table.toString();
}

function comparisonText(c: Comparison): string {
  const sizes = Object.entries(c.sizes).map(([name, value]) => `${name} ${value}`);
  const lines = [`${c.work}: ${sizes.join(', ')}`];
  if (c.bound) lines.push(shapesText(c.bound.shapes));
  lines.push(tableOf(c.rows));
  if (c.best_rival) {
    const { of, median, range } = c.best_rival;
    lines.push(
      `faster of ${of.join(', ')} in each round / ours: ${two(median)} (${range.map(two).join('-')}), median over ${c.best_rival.rounds.length} rounds`,
    );
  }
  if (c.gemm) {
    const { size, capi_gflops, pytorch_gflops, best_gflops } = c.gemm;
    const other = pytorch_gflops === undefined ? '' : `, PyTorch ${whole(pytorch_gflops)}`;
    lines.push(
      `GEMM rate: ${size}^3 product, capi ${whole(capi_gflops)}${other} GFLOP/s; shares are of ${whole(best_gflops)}`,
    );
  }
  if (c.bound) {
    const { best_products_ms, own_products_ms, step_ms, ratio } = c.bound;
    lines.push(
      `T*/T ${two(ratio)}: all products of the step at the better library's rates ${duration(best_products_ms)} (at ours ${duration(own_products_ms)}), our step ${duration(step_ms)}`,
    );
  }
  for (const a of c.agreement) {
    const least = a.tolerance === null ? '' : `, tolerance ${a.tolerance}`;
    lines.push(`agreement with ${a.with}: ${a.what} ${Number(a.value.toPrecision(2))}${least}`);
  }
  for (const note of c.notes) lines.push(`note: ${note}`);
  return lines.join('\n');
}

/** The tables of a benchmark, and where its record is. */
export const benchText = ({ comparisons, file }: { comparisons: Comparison[]; file: string }): string =>
  [...comparisons.map(comparisonText), `record     ${file}`].join('\n');
