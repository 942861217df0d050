// The columns of a report, listed once: what is said of an arm in one score, in printed tables, in summary.csv and under --json. Every format walks the list.
import { type Caveat, cellWords } from '../ablation/caveats.js';
import type { Column } from '../ablation/scores.js';
import type { Study, StudyCell } from '../ablation/study.js';
import { armLabel, type ColumnTable, type Entry, type Group, type Report } from '../ablation/tables.js';
import { differenceText, paperText, pText, stateText, WORDS } from './words.js';

/** A printed cell in parts, which each format sets in its own way. */
export interface CellText {
  readonly main: string;
  /** In small print behind it, where a format has that. */
  readonly small?: string;
  /** What follows in words, and the same as it is for formats that have footnote marks. */
  readonly words?: string;
  readonly caveats?: readonly Caveat[];
  readonly bold?: boolean;
  /** Of a column that `joins`: its words and its mark there. */
  readonly named?: string;
  readonly mark?: string;
}

/** Where an entry stands. */
interface Place {
  readonly study: Study;
  readonly table: ColumnTable;
  readonly arm: number;
}

interface ReportColumn {
  /** Its head in summary.csv, and its name under --json; without one it is not there. */
  readonly csv?: string;
  readonly json?: string;
  readonly value: (e: Entry, place: Place) => unknown;
  /** Of printed tables: cell, head (default: the score's name), and head below the score's name in LaTeX. */
  readonly text?: (e: Entry, score: Column) => CellText;
  readonly title?: string;
  readonly latex?: string;
  /** Formats that have no room for it put it into the cell before. */
  readonly joins?: true;
  /** For reports beside the paper, where a row has something to print in it. */
  readonly paper?: true;
}
type PrintedColumn = ReportColumn & Required<Pick<ReportColumn, 'text'>>;

/** Mean and deviation with what must be said beside them, or how the seeds ended. */
function scoreCell({ mean, deviation, caveats, seeds, best: bold }: Entry, { unit }: Column): CellText {
  if (mean === undefined) return { main: stateText(seeds.map(({ state }) => state)), caveats };
  const { score } = WORDS[unit];
  const small = deviation === undefined ? {} : { small: `± ${score(deviation)}` };
  return { main: score(mean), ...small, words: cellWords(caveats), caveats, bold };
}

/** The one column of tables that compare nothing. */
const SCORE: PrintedColumn = {
  csv: 'mean',
  json: 'mean',
  value: ({ mean }) => mean,
  text: scoreCell,
  latex: 'score',
};

/** Of seeds and images, where both are known: those of images alone have columns of their own. */
const whole = ({ difference: d }: Entry) => (d && Number.isFinite(d.low) ? d : undefined);

/** To add one, add its row: `value` for programs, `title` and `text` where tables print it. */
export const COLUMNS: readonly ReportColumn[] = [
  { csv: 'ablation', value: (_, { study }) => study.plan.name },
  { csv: 'arm', json: 'arm', value: (_, { study, arm }) => study.plan.arms[arm]!.name },
  { csv: 'axis', value: (_, { study, arm }) => study.plan.arms[arm]!.axis },
  { csv: 'baseline', value: (_, { study, arm }) => Number(arm === study.plan.baseline) },
  { csv: 'column', value: (_, { table }) => table.column.key },
  { csv: 'headline', value: (_, { table }) => Number(table.column.headline) },
  SCORE,
  { csv: 'deviation_over_seeds', json: 'deviation', value: (e) => e.deviation },
  { csv: 'seeds', json: 'n', value: (e) => e.n },
  { csv: 'seeds_planned', json: 'planned', value: (e) => e.seeds.length },
  { json: 'best', value: (e) => e.best },
  { csv: 'states', value: (e) => e.seeds.map(({ state }) => state).join(' ') },
  { json: 'states', value: (e) => e.seeds.map(({ state }) => state) },
  {
    csv: 'difference',
    json: 'difference',
    value: (e) => e.difference?.value,
    title: 'to the baseline',
    latex: '$\\Delta$',
    text(e, { unit }) {
      const [main, ...rest] = differenceText(e.difference, WORDS[unit]).split(' ');
      return { main: main!, small: rest.join(' ') };
    },
  },
  { csv: 'low', json: 'low', value: (e) => e.difference?.low },
  { csv: 'high', json: 'high', value: (e) => e.difference?.high },
  { csv: 'standard_error', value: (e) => whole(e)?.standardError },
  { csv: 'degrees_of_freedom', value: (e) => whole(e)?.degreesOfFreedom },
  { csv: 'p', json: 'p', value: (e) => e.difference?.p },
  {
    csv: 'p_holm',
    json: 'p_holm',
    value: (e) => e.difference?.adjusted,
    title: 'p (Holm)',
    text({ difference: d }) {
      const named = pText(d);
      return { main: named.replace(/^p (= )?/, ''), named, mark: d && d.adjusted < 0.05 ? '*' : '' };
    },
    joins: true,
  },
  { csv: 'spread', value: (e) => e.difference?.spread },
  { csv: 'low_images', value: (e) => e.difference?.images?.low },
  { csv: 'high_images', value: (e) => e.difference?.images?.high },
  { csv: 'standard_error_images', value: (e) => e.difference?.images?.standardError },
  { json: 'images', value: (e) => e.difference?.images },
  { csv: 'test_images', value: (_, { table }) => table.images },
  {
    csv: 'paper_percent',
    json: 'paper',
    value: (e) => e.paper,
    title: 'paper',
    text: (e, { unit }) => ({ main: paperText(e.paper, unit) }),
    paper: true,
  },
  { csv: 'best', value: (e) => Number(e.best) },
  {
    csv: 'caveats',
    value: (e, { study, table, arm }) =>
      [
        ...e.caveats.map(({ text }) => text),
        ...new Set(
          study.cells
            .filter((c) => c.arm === arm && c.evaluation === table.column.evaluation)
            .flatMap(notesOf),
        ),
      ].join('; '),
  },
  { json: 'caveats', value: (e) => e.caveats.map(({ kind, text }) => ({ kind, text })) },
];

/** What a cell's record says beside its scores, and why its run did not simply end. */
const notesOf = ({ record, failure, stopped }: StudyCell): string[] => [
  ...(record?.run.reason ? [record.run.reason] : []),
  ...(failure ? [`failed: ${failure}`] : []),
  ...(stopped ? [`stopped: ${stopped}`] : []),
  ...(record?.notes ?? []),
];

/** A cell with its value, and the cells that were put into it. */
export interface PrintedCell extends CellText {
  readonly value: unknown;
  readonly joined: readonly CellText[];
}

/** The rows of a group with the columns that it prints of each score. */
export interface PrintedTable {
  readonly scores: readonly { label: string; columns: readonly { title: string; latex: string }[] }[];
  readonly rows: readonly { name: string; isBase: boolean; cells: readonly PrintedCell[] }[];
}

/** The table of a group's headline scores, `paper` beside the paper's, `narrow` with little room; or the scores of all arms alone. */
export function printedTable(
  { study, headline, others }: Report,
  group: Group | undefined,
  { paper = false, narrow = false } = {},
): PrintedTable {
  const arms = group?.arms ?? [...study.plan.arms.keys()];
  const scores = (group ? headline : others).map((table) => {
    const filled = (c: ReportColumn): boolean =>
      !c.paper || (paper && arms.some((arm) => c.text!(table.entries[arm]!, table.column).main !== ''));
    const printed = COLUMNS.filter((c): c is PrintedColumn => c.text !== undefined && filled(c));
    return { table, printed: group ? printed : [SCORE] };
  });
  const cellsOf = (arm: number) =>
    scores.flatMap(({ table, printed }) => {
      const cells: (PrintedCell & { joined: CellText[] })[] = [];
      for (const column of printed) {
        const e = table.entries[arm]!;
        if (narrow && column.joins) cells.at(-1)!.joined.push(column.text(e, table.column));
        else
          cells.push({
            ...column.text(e, table.column),
            value: column.value(e, { study, table, arm }),
            joined: [],
          });
      }
      return cells;
    });
  return {
    scores: scores.map(({ table: { column }, printed }) => ({
      label: column.label,
      columns: printed
        .filter(({ joins }) => !(narrow && joins))
        .map(({ title = column.label, latex = title }) => ({ title, latex })),
    })),
    rows: arms.map((arm) => ({
      name: group ? armLabel(study, arm, group) : study.plan.arms[arm]!.name,
      isBase: arm === study.plan.baseline,
      cells: cellsOf(arm),
    })),
  };
}

/** A cell in one line, without what marks it. */
export const plainText = ({ main, small, words = '' }: CellText): string =>
  (small ? `${main} ${small}` : main) + words;

/** What is no number is null. */
export const finite = (x: unknown): unknown =>
  typeof x === 'number' && !Number.isFinite(x) ? null : (x ?? null);

/** The figures of every arm in a score by their names for `format`, in the order of the list. */
export const figuresOf = (
  study: Study,
  table: ColumnTable,
  format: 'csv' | 'json',
): Record<string, unknown>[] =>
  table.entries.map((e, arm) => {
    const place = { study, table, arm };
    return Object.fromEntries(
      COLUMNS.flatMap(({ [format]: name, value }) => (name ? [[name, finite(value(e, place))]] : [])),
    );
  });
