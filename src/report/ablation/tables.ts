// From scores to the numbers of a table: means over seeds, differences to the baseline with their uncertainty, ranks beside the paper's.
import type { HeadCounts } from '../../results/counts.js';
import { type Difference, differences, mean, variance } from '../statistics/differences.js';
import { kendall, spearman } from '../statistics/rank.js';
import { imageVariance } from './images.js';
import { type Column, columnsOf, type SeedScore, seedScores } from './scores.js';
import type { Study, StudyCell } from './study.js';

/** One arm in one column. Scores in [0, 1]. */
export interface Entry {
  readonly seeds: readonly SeedScore[];
  readonly mean: number | undefined;
  /** Sample standard deviation over seeds; undefined for fewer than two. */
  readonly deviation: number | undefined;
  readonly n: number;
  /** To the baseline; undefined for the baseline itself and for arms without a score. */
  readonly difference: Difference | undefined;
  readonly best: boolean;
  /** The paper's number, in per cent. */
  readonly paper: number | undefined;
}

export interface ColumnTable {
  readonly column: Column;
  /** One an arm, in the order of the plan. */
  readonly entries: readonly Entry[];
  /** Test images. */
  readonly images: number;
  /** Rank correlation of our means with the paper's numbers, over the arms that have both. */
  readonly agreement: { arms: number; spearman: number; kendall: number } | undefined;
}

/** Rows that stand together: an axis with the baseline before its arms, or all arms. */
export interface Group {
  readonly title: string;
  readonly arms: readonly number[];
}

export interface Report {
  readonly study: Study;
  readonly headline: readonly ColumnTable[];
  readonly others: readonly ColumnTable[];
  readonly groups: readonly Group[];
  /** What must be said under the tables. */
  readonly notes: readonly string[];
}

/** Works out all tables of a study. @throws DataError for damaged counts */
export async function reportOf(study: Study): Promise<Report> {
  const tables: ColumnTable[] = [];
  for (const column of columnsOf(study)) tables.push(await columnTable(study, column));
  return {
    study,
    headline: tables.filter(({ column }) => column.headline),
    others: tables.filter(({ column }) => !column.headline),
    groups: groupsOf(study),
    notes: notesOf(study),
  };
}

async function columnTable(study: Study, column: Column): Promise<ColumnTable> {
  const { plan } = study;
  const seeds = plan.arms.map((_, arm) => seedScores(study, arm, column));
  const scores = seeds.map((list) => list.flatMap(({ value }) => (value === undefined ? [] : [value])));
  const images = study.cells
    .flatMap(({ record }) => record?.results ?? [])
    .find((r) => r.test === column.test && r.head === column.head && r.metric === column.metric)!.n;
  const baseCounts = await countsIn(study, plan.baseline, column);
  const arms = [];
  for (const [arm, list] of scores.entries()) {
    const known =
      column.headline && arm !== plan.baseline
        ? imageVariance(await countsIn(study, arm, column), baseCounts)
        : 0;
    const collapsed = seeds[arm]!.some(({ state }) => state === 'collapsed' || state === 'diverged');
    arms.push({ scores: list, collapsed, imageVariance: Number.isNaN(known) ? 0 : known });
  }
  const found = scores[plan.baseline]!.length > 0 ? differences(arms, plan.baseline, { images }) : undefined;
  const means = scores.map((list) => (list.length > 0 ? mean(list) : undefined));
  const top = Math.max(...means.filter((m) => m !== undefined));
  const entries = scores.map(
    (list, arm): Entry => ({
      seeds: seeds[arm]!,
      mean: means[arm],
      deviation: list.length > 1 ? Math.sqrt(variance(list)) : undefined,
      n: list.length,
      difference: arm === plan.baseline || list.length === 0 ? undefined : found?.[arm],
      best: means[arm] === top,
      paper: plan.paper[plan.arms[arm]!.name]?.[column.key],
    }),
  );
  const both = entries.filter(({ mean, paper }) => mean !== undefined && paper !== undefined);
  const [ours, theirs] = [both.map((e) => e.mean!), both.map((e) => e.paper!)];
  return {
    column,
    entries,
    images,
    agreement:
      both.length > 2
        ? { arms: both.length, spearman: spearman(ours, theirs), kendall: kendall(ours, theirs) }
        : undefined,
  };
}

/** Per-image counts of an arm in a column, of all seeds and probe seeds. */
async function countsIn(study: Study, arm: number, column: Column): Promise<HeadCounts[]> {
  const found: HeadCounts[] = [];
  for (const cell of study.cells) {
    if (cell.arm !== arm || cell.evaluation !== column.evaluation || !cell.record) continue;
    const test = cell.record.tests.findIndex(({ source }) => source === column.test);
    const counts = await study.countsOf(cell);
    const head = counts?.heads.find(
      (h) => h.test === test && h.source === column.source && h.head === column.head,
    );
    if (head) found.push(head);
  }
  return found;
}

function groupsOf({ plan }: Study): Group[] {
  if (plan.design !== 'one-factor')
    return [{ title: plan.axes.join(' x ') || 'arms', arms: [...plan.arms.keys()] }];
  const groups = plan.axes.map((axis): Group => {
    const own = plan.arms.flatMap((arm, i) => (arm.axis === axis ? [i] : []));
    return { title: axis, arms: [plan.baseline, ...own] };
  });
  const named = plan.arms.flatMap((arm, i) => (arm.axis === null && i !== plan.baseline ? [i] : []));
  return named.length > 0 ? [...groups, { title: 'other arms', arms: [plan.baseline, ...named] }] : groups;
}

/** The name of an arm among those of a group: the axis' value, for a one-factor design. */
export function armLabel({ plan }: Study, arm: number, group: Group): string {
  const { name, values } = plan.arms[arm]!;
  return (plan.design === 'one-factor' ? values[group.title] : undefined) ?? name;
}

const evaluationsOf = (cells: readonly StudyCell[]): string =>
  cells.map(({ evaluation }) => evaluation).join(', ');

/** Runs that did not simply end, seed by seed, then what is missing, in a line for all arms that lack the same. */
function notesOf(study: Study): string[] {
  const notes: string[] = [];
  const lacking = new Map<string, string[]>();
  for (const [arm, { name }] of study.plan.arms.entries()) {
    const absent = new Map<string, number[]>();
    for (const seed of study.plan.seeds) {
      const own = study.cells.filter((c) => c.arm === arm && c.seed === seed);
      const run = own.find(({ record }) => record)?.record?.run;
      if (run && run.state !== 'done') {
        const how = run.state === 'collapsed' ? '; evaluated as it stood then' : '';
        notes.push(`${name}, seed ${seed}: ${run.reason ?? run.state}${how}`);
      }
      const open = own.filter(({ record }) => !record);
      for (const [what, why] of [
        ['failed', (c: StudyCell) => c.failure],
        ['was stopped', (c: StudyCell) => c.stopped],
      ] as const) {
        const concerned = open.filter((c) => why(c) !== undefined);
        if (concerned.length > 0)
          notes.push(`${name}, seed ${seed}: ${evaluationsOf(concerned)} ${what}: ${why(concerned[0]!)}`);
      }
      const untried = evaluationsOf(open.filter(({ failure, stopped }) => !failure && !stopped));
      if (untried !== '') absent.set(untried, [...(absent.get(untried) ?? []), seed]);
    }
    for (const [evaluations, seeds] of absent) {
      const key = `${evaluations} of seed ${seeds.join(', ')}`;
      lacking.set(key, [...(lacking.get(key) ?? []), name]);
    }
  }
  for (const [what, arms] of lacking) notes.push(`not run yet: ${what}: ${arms.join(', ')}`);
  return notes;
}
