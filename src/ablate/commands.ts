// The commands that make one cell by hand: what a record and a report say of a number's origin.
import { commandLine } from '../shell.js';
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
  const { train, tests, protocol, weights, limit, task, allow_overlap } = cell.evaluation;
  const pretrain = [
    ...['pretrain', stored.base, '--seed', `${run.seed}`, ...threads],
    ...Object.entries(sets).flatMap(([key, value]) => [
      '--set',
      `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
    ]),
    ...['--out', folder],
  ];
  const evaluate = [
    ...[
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
    ...(allow_overlap ? ['--allow-overlap'] : []),
    ...['--seed', `${cell.probeSeed}`, ...threads],
  ];
  return [pretrain, evaluate].map((words) => commandLine(words));
}
