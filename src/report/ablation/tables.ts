// From scores to the numbers of a table: means over seeds, differences to the baseline with their uncertainty, ranks beside the paper's.
import type { HeadCounts } from '../../results/counts.js';
import { WORDS } from '../formats/words.js';
import { type Difference, differences, mean, variance } from '../statistics/differences.js';
import { kendall, spearman } from '../statistics/rank.js';
import { type Caveat, caveatsOf } from './caveats.js';
import { imageVariance, type ScoresOnImages, scoresOnImages } from './images.js';
import type { Mixture } from './protocols.js';
import { type Column, columnsOf, type SeedScore, samePlace, seedScores } from './scores.js';
import type { Study, StudyCell } from './study.js';

/** One arm in one column: shares in [0, 1], other numbers as they are. */
export interface Entry {
  readonly seeds: readonly SeedScore[];
  readonly mean: number | undefined;
  /** Sample standard deviation over seeds; undefined for fewer than two. */
  readonly deviation: number | undefined;
  readonly n: number;
  /** To the baseline; undefined for the baseline itself and for arms without a score. */
  readonly difference: Difference | undefined;
  /** Whether no other arm of the same protocol has a better mean as tables print it: ties are all best. */
  readonly best: boolean;
  /** What must be said beside the score. */
  readonly caveats: readonly Caveat[];
  /** The paper's number, in per cent where the score is a share. */
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
  /** What must be said under the tables, in every format. */
  readonly notes: readonly string[];
  readonly mixture: Mixture;
}

/** Works out all tables of a study. @throws DataError for damaged counts */
export async function reportOf(study: Study, mixture: Mixture): Promise<Report> {
  const tables: ColumnTable[] = [];
  const images = new ImageParts(study);
  for (const column of columnsOf(study)) tables.push(await columnTable(study, column, mixture, images));
  return {
    study,
    headline: tables.filter(({ column }) => column.headline),
    others: tables.filter(({ column }) => !column.headline),
    groups: groupsOf(study),
    notes: [...mixture.faults, ...notesOf(study, tables)],
    mixture,
  };
}

async function columnTable(
  study: Study,
  column: Column,
  mixture: Mixture,
  imageParts: ImageParts,
): Promise<ColumnTable> {
  const { plan } = study;
  const seeds = plan.arms.map((_, arm) => seedScores(study, arm, column));
  const scores = seeds.map((list) => list.flatMap(({ value }) => (value === undefined ? [] : [value])));
  const images = study.cells
    .flatMap(({ record }) => record?.results ?? [])
    .find((r) => samePlace(column, r))!.n;
  const arms = [];
  for (const [arm, list] of scores.entries()) {
    const imageVariance = arm === plan.baseline ? 0 : await imageParts.of(arm, column);
    const collapsed = seeds[arm]!.some(({ state }) => state === 'collapsed' || state === 'diverged');
    arms.push({ scores: list, collapsed, imageVariance });
  }
  const found = scores[plan.baseline]!.length > 0 ? differences(arms, plan.baseline, { images }) : undefined;
  const means = scores.map((list) => (list.length > 0 ? mean(list) : undefined));
  const other = seeds.map((list) => list.some(({ cells }) => cells.some(({ id }) => mixture.others.has(id))));
  const comparable = means.map((m, arm) =>
    m !== undefined && !other[arm] ? Number(WORDS[column.unit].score(m)) : Number.NaN,
  );
  const top = Math[column.better === 'higher' ? 'max' : 'min'](...comparable.filter((m) => !Number.isNaN(m)));
  const entries = scores.map((list, arm): Entry => {
    const difference = arm === plan.baseline || list.length === 0 ? undefined : found?.[arm];
    return {
      seeds: seeds[arm]!,
      mean: means[arm],
      deviation: list.length > 1 ? Math.sqrt(variance(list)) : undefined,
      n: list.length,
      difference,
      best: comparable[arm] === top,
      caveats: caveatsOf({ seeds: seeds[arm]!, otherProtocol: other[arm]!, difference }),
      paper: plan.paper[plan.arms[arm]!.name]?.[column.key],
    };
  });
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

/** What the test images alone do to the difference of an arm and the baseline: the scores of a head are drawn once. */
class ImageParts {
  private readonly known = new Map<string, Promise<(ScoresOnImages & { identity: string }) | undefined>>();

  constructor(private readonly study: Study) {}

  /** NaN where it cannot be known. */
  async of(arm: number, column: Column): Promise<number> {
    const [own, base] = [await this.scores(arm, column), await this.scores(this.study.plan.baseline, column)];
    return own && base && own.identity === base.identity ? imageVariance(own, base, column) : Number.NaN;
  }

  private scores(arm: number, column: Column) {
    const key = JSON.stringify([arm, column.evaluation, column.test, column.source, column.head]);
    const found = this.known.get(key) ?? this.find(arm, column);
    this.known.set(key, found);
    return found;
  }

  private async find(arm: number, column: Column) {
    const counts = await countsIn(this.study, arm, column);
    const scores = counts && scoresOnImages(counts.heads, counts.classes);
    return scores && { ...scores, identity: counts.identity };
  }
}

/**
 * Per-image counts of an arm in a column, of all seeds and probe seeds that have a score; undefined where one of them has no counts or was
 * made of another test set.
 */
async function countsIn(
  study: Study,
  arm: number,
  column: Column,
): Promise<{ heads: HeadCounts[]; identity: string; classes: number } | undefined> {
  const heads: HeadCounts[] = [];
  const sets = new Map<string, number>();
  for (const cell of study.cells) {
    if (cell.arm !== arm || cell.evaluation !== column.evaluation || !cell.record) continue;
    const { tests, results, classes } = cell.record;
    if (!results.some((r) => samePlace(column, r) && r.value !== null)) continue;
    const test = tests.findIndex(({ source }) => source === column.test);
    const counts = await study.countsOf(cell);
    const head = counts?.heads.find(
      (h) => h.test === test && h.source === column.source && h.head === column.head,
    );
    if (!head) return undefined;
    heads.push(head);
    sets.set(tests[test]!.identity, classes.length);
  }
  const [set, ...more] = [...sets];
  return set && more.length === 0 ? { heads, identity: set[0], classes: set[1] } : undefined;
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

/** Runs that did not simply end, seed by seed, then what is missing, in a line for all arms that lack the same, and what records say. */
function notesOf(study: Study, tables: readonly ColumnTable[]): string[] {
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
  if (study.plan.seeds.length === 1)
    notes.push(
      'one pretraining seed: how far another one would be off is not known, and no difference has an interval',
    );
  return [...notes, ...intervalNotes(study, tables), ...recordNotes(study)];
}

/** Where a difference has no interval because the images' part of it is not known. */
function intervalNotes({ plan }: Study, tables: readonly ColumnTable[]): string[] {
  return tables.flatMap(({ column, entries }) => {
    const blank = entries.flatMap(({ difference: d }, arm) =>
      d && d.value !== 0 && !Number.isFinite(d.low) && !d.images ? [plan.arms[arm]!.name] : [],
    );
    if (blank.length === 0) return [];
    return [
      `no interval of ${column.key} for ${blank.join(', ')}: there are no per-image counts that can be paired with the baseline's`,
    ];
  });
}

/** Notes of the evaluations' records, with the arms that have them. */
function recordNotes({ cells, plan }: Study): string[] {
  const found = new Map<string, Set<number>>();
  for (const { record, evaluation, arm } of cells) {
    for (const note of record?.notes ?? []) {
      const key = `${evaluation}: ${note}`;
      found.set(key, (found.get(key) ?? new Set()).add(arm));
    }
  }
  return [...found].map(([note, arms]) => {
    const names =
      arms.size === plan.arms.length ? 'all arms' : [...arms].map((arm) => plan.arms[arm]!.name).join(', ');
    return `${note} (${names})`;
  });
}
