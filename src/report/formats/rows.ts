// A report as rows: every single score with its origin, and one line for each arm and column.
import { csvText } from '../../base/csv.js';
import { recordedInterval } from '../../results/bounds.js';
import type { StudyCell } from '../ablation/study.js';
import type { Report } from '../ablation/tables.js';
import { figuresOf, finite } from './columns.js';

/** Columns of rows.csv that say when and where, not what: equal studies differ in them. */
export const ORIGIN_COLUMNS = [
  'seconds_training',
  'seconds_evaluation',
  'created',
  'commit',
  'cpu',
  'platform',
  'node',
  'record',
] as const;

/** rows.csv: one line for each cell and score; a cell without a score has one line that says why. */
export function rowsCsv({ study, mixture }: Report): string {
  const { plan, cells } = study;
  const axes = plan.axes.filter((axis) => plan.arms.some(({ values }) => axis in values));
  const lines = cells.flatMap((cell) => {
    const { record } = cell;
    const arm = plan.arms[cell.arm]!;
    const first = {
      ablation: plan.name,
      arm: arm.name,
      baseline: cell.arm === plan.baseline ? 1 : 0,
      ...Object.fromEntries(axes.map((axis) => [`axis_${axis}`, arm.values[axis]])),
      seed: cell.seed,
      probe_seed: cell.probeSeed,
      evaluation: cell.evaluation,
      cell: cell.id,
      state: record?.run.state ?? (cell.failure ? 'failed' : cell.stopped ? 'stopped' : 'missing'),
      reason: record?.run.reason ?? cell.failure ?? cell.stopped,
      steps: record?.run.step,
      training_images: record?.run.images,
      parameters: record?.run.parameters,
      flop_per_step: record?.run.flop_per_step,
      health: record?.run.health,
      settings: arm.settings,
      protocol: record?.protocol?.name,
      protocol_hash: record?.protocol?.hash,
      threads: record?.threads ?? plan.threads,
      caveats: cellCaveats(cell, mixture.others.has(cell.id), plan.seeds.length),
    };
    const made = record?.environment;
    const last = {
      pretrain_command: record?.commands[0],
      evaluate_command: record?.commands[1],
      engine: made?.engine,
      device: made?.device,
      seconds_training: record?.run.seconds,
      seconds_evaluation: record?.seconds,
      created: record?.created,
      commit: made?.commit,
      cpu: made?.cpu,
      platform: made?.platform,
      node: made?.node,
      record: record ? `cells/${cell.id}/cell.json` : undefined,
    };
    const score = (r: NonNullable<typeof record>['results'][number] | undefined) => ({
      test: r?.test,
      source: r?.source,
      head: r?.head,
      metric: r?.metric,
      convention: r?.convention,
      value: r?.value,
      low: r && recordedInterval(r)?.low,
      high: r && recordedInterval(r)?.high,
      test_images: r?.n,
      selected: r?.selected,
    });
    const results = record?.results ?? [];
    return (results.length > 0 ? results : [undefined]).map((r) => ({ ...first, ...score(r), ...last }));
  });
  return csvText(lines);
}

/** What must be said beside a cell's scores. */
function cellCaveats({ record, failure, stopped }: StudyCell, otherProtocol: boolean, seeds: number): string {
  const none = failure ? 'failed' : stopped ? 'stopped' : 'not run';
  const { state, reason } = record?.run ?? { state: none, reason: failure ?? stopped };
  return [
    ...(state === 'done' ? [] : [reason ? `${state}: ${reason}` : state]),
    ...(otherProtocol ? ["different protocols: not evaluated as the baseline's cell was"] : []),
    ...(seeds === 1 ? ['one seed in the study'] : []),
    ...(record?.notes ?? []),
  ].join('; ');
}

/** summary.csv: one line for each arm and column, with the difference to the baseline. */
export const summaryCsv = ({ study, headline, others }: Report): string =>
  csvText([...headline, ...others].flatMap((table) => figuresOf(study, table, 'csv')));

/** The same by column, for --json. */
export const summaryJson = ({ study, headline, others }: Report): object[] =>
  [...headline, ...others].map((table) => {
    const { column, agreement: a } = table;
    const agreement = a ? { ...a, spearman: finite(a.spearman), kendall: finite(a.kendall) } : null;
    return {
      column: column.key,
      headline: column.headline,
      agreement,
      arms: figuresOf(study, table, 'json'),
    };
  });
