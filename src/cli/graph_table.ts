// The cost of a program by kernel, as a table for people.
import Table from 'cli-table3';
import type { GraphReport } from '../inspect/graph.js';

/** Three significant digits, and whole numbers in groups of three. */
function short(x: number): string {
  if (x >= 100) return Math.round(x).toLocaleString('en-US');
  if (x === 0) return '0';
  return x < 0.001 ? '<0.001' : x.toPrecision(3).slice(0, 5).replace(/\.$/, '');
}

/** @param written the file that has the text of the graph, if one was written */
export function graphText(r: GraphReport, written?: string): string {
  const table = new Table({
    head: ['kernel', 'nodes', 'GFLOP', '%', 'MB'],
    colAligns: ['left', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
    chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' }, // no rules between rows
  });
  const share = (gflop: number): string => ((100 * gflop) / (r.gflop || 1)).toFixed(1);
  for (const k of r.kernels) {
    table.push([k.kernel, k.nodes.toLocaleString('en-US'), short(k.gflop), share(k.gflop), short(k.mb)]);
  }
  table.push(['total', r.nodes.toLocaleString('en-US'), short(r.gflop), share(r.gflop), short(r.mb)]);
  const lines = [
    `${r.program} of ${r.config}, ${r.batch.toLocaleString('en-US')} image${r.batch === 1 ? '' : 's'} at once`,
    ...(r.micro_batches ? [microBatchLine(r.micro_batches)] : []),
    `${short(r.parameters / 1e6)} M parameters, ${short(r.state_mb)} MB of state, ${short(r.activations_mb)} MB of activations at their peak; ${r.passes ? 'after the passes of the onnx engine' : 'as traced, before any pass'}`,
    table.toString(),
    `${short(r.gflop / r.batch)} GFLOP an image, ${share(r.product_gflop)} % of them in matrix products`,
    ...(written === undefined ? [] : [`graph written to ${written}`]),
  ];
  return lines.join('\n');
}

function microBatchLine({ shown, run }: NonNullable<GraphReport['micro_batches']>): string {
  const same = shown.teacher === run.teacher && shown.student === run.student;
  const rest = same ? '' : ` (a run would take ${run.teacher} and ${run.student})`;
  return `micro-batches: ${shown.teacher} of the teacher, ${shown.student} of the student${rest}`;
}
