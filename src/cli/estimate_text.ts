// What an ablation will cost, as a table for people.
import type { Estimate } from '../ablate/estimate.js';
import { duration } from './progress.js';
import { columns } from './table.js';

export function estimateText(e: Estimate): string {
  const rows = e.arms.map((a) => [
    a.arm,
    `${a.cells}`,
    `${a.finished}`,
    (a.parameters / 1e6).toPrecision(3),
    a.gflop_per_step.toPrecision(4),
    a.exaflop.toPrecision(3),
    days(a.seconds_per_run),
  ]);
  const evaluations =
    e.evaluation_seconds === null ? 'not estimated' : `at least ${days(e.evaluation_seconds)}`;
  return [
    columns([['arm', 'cells', 'finished', 'M parameters', 'GFLOP/step', 'EFLOP left', 'one run'], ...rows]),
    `${e.left} of ${e.cells} cells left; pretraining ${days(e.seconds)}, evaluations ${evaluations}, with ${e.jobs} at once; checkpoints ${(e.disk_bytes / 1e9).toPrecision(3)} GB`,
    `times from ${e.measured}`,
    ...e.missing.map((text) => `not here, and needed by a run: ${text}`),
  ].join('\n');
}

const days = (seconds: number): string =>
  seconds < 172_800 ? duration(seconds) : `${Math.round(seconds / 86_400).toLocaleString('en-US')} days`;
