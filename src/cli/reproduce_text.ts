// The judgement of a record that was made again, as a table.
import { shown } from '../base/text.js';
import { metricOf } from '../probes/tasks.js';
import type { Judged, Reproduced } from '../reproduce/reproduce.js';
import { columns } from './table.js';

/** A row a score, shares in per cent with two digits, and what was not reproduced. */
export function judgedText({ scores: judged, faults, out }: Reproduced): string {
  const words = ({ task, metric }: Judged, x: number | null): string => {
    if (x === null) return '-';
    return metricOf(task, metric).unit === 'share' ? (100 * x).toFixed(2) : x.toFixed(4);
  };
  const rows = judged.map((j) => [
    shown(j.head),
    shown(j.source),
    shown(`${j.metric} (${j.convention})`),
    words(j, j.recorded),
    words(j, j.again),
    words(j, j.tolerance),
    j.verdict,
  ]);
  const count = (verdict: Judged['verdict']): number => judged.filter((j) => j.verdict === verdict).length;
  const unjudged = count('not judged') > 0 ? `, ${count('not judged')} not judged` : '';
  return (
    `${columns([['head', 'source', 'metric', 'recorded', 'again', 'tolerance', 'verdict'], ...rows])}\n` +
    `${count('equal')} equal, ${count('within')} within half the recorded 95 % interval, ${count('outside')} outside${unjudged}; made in ${shown(out)}\n` +
    faults.map((fault) => `not reproduced: ${fault}\n`).join('')
  );
}
