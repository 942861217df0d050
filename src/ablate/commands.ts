// The commands that make one cell by hand: what a record and a report say of a number's origin.
import type { StoredRuns } from './folder.js';
import type { PlannedCell, PlannedRun } from './plan.js';

/** `capi pretrain` and `capi eval` with everything that decides the cell's numbers. */
export function commandsOf(
  stored: Pick<StoredRuns, 'base' | 'set' | 'arms'>,
  run: PlannedRun,
  cell: PlannedCell,
): string[] {
  const sets = { ...stored.set, ...stored.arms[cell.arm] };
  const folder = `runs/${run.id}`;
  const threads = ['--threads', `${run.config.engine.threads ?? 1}`];
  const { train, tests, protocol, weights, limit, task } = cell.evaluation;
  const pretrain = [
    ...['capi', 'pretrain', stored.base, '--seed', `${run.seed}`, ...threads],
    ...Object.entries(sets).flatMap(([key, value]) => [
      '--set',
      `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
    ]),
    ...['--out', folder],
  ];
  const evaluate = [
    ...[
      'capi',
      'eval',
      task,
      folder,
      '--train',
      train,
      ...tests.flatMap((test) => ['--test', test]),
      '--protocol',
      protocol,
    ],
    ...(weights === 'ema' ? [] : ['--weights', weights]),
    ...(limit === null ? [] : ['--limit', `${limit}`]),
    ...['--seed', `${cell.probeSeed}`, ...threads],
  ];
  return [pretrain, evaluate].map((words) => words.map(quoted).join(' '));
}

/** A word as a shell takes it. */
export const quoted = (word: string): string =>
  /^[\w./:=@+,%-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
