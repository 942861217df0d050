// A report as Markdown that GitHub shows.
import { armLabel, type ColumnTable, type Entry, type Group, type Report } from '../ablation/tables.js';
import { paperSentences, readingSentences, scaleSentence, titleOf } from './prose.js';
import { differenceText, percent, pText, stateText } from './words.js';

export interface MarkdownOptions {
  /** Put the paper's numbers beside ours. */
  readonly paper: boolean;
  /** Words that must stand under the tables, besides the report's own notes. */
  readonly footnotes: readonly string[];
  /** Chart files by title, as links from the document. */
  readonly charts: readonly { title: string; file: string }[];
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const row = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`;

export function scoreText(e: Entry, seeds: number): string {
  if (e.mean === undefined) return stateText(e.seeds.map(({ state }) => state));
  const spread = e.deviation === undefined ? '' : ` ± ${percent(e.deviation)}`;
  const n = e.n === seeds ? '' : ` (${e.n})`;
  const odd = [
    ...new Set(e.seeds.map(({ state }) => state).filter((s) => s === 'collapsed' || s === 'diverged')),
  ];
  return `${percent(e.mean)}${spread}${n}${odd.length > 0 ? `, ${odd.join(', ')}` : ''}`;
}

export function markdown(report: Report, o: MarkdownOptions): string {
  const { study, headline, groups } = report;
  const lines = [
    `# ${titleOf(report)}`,
    '',
    scaleSentence(report),
    '',
    ...readingSentences(report).flatMap((s) => [s, '']),
  ];
  for (const group of groups) lines.push(`## ${group.title}`, '', ...groupTable(report, group, o.paper), '');
  const notes = [...o.footnotes, ...report.notes];
  if (notes.length > 0) lines.push('## Notes', '', ...notes.map((note) => `- ${note}`), '');
  if (o.paper) {
    const sentences = paperSentences(report);
    if (sentences.length > 0) {
      lines.push(
        '## Beside the paper',
        '',
        `The paper's numbers are of another model, other data and another length (arXiv 2502.08769, Table 1); ours: ${scaleSentence(report)}`,
        '',
        ...sentences.flatMap((s) => [s, '']),
      );
    }
  }
  if (o.charts.length > 0)
    lines.push('## Charts', '', ...o.charts.flatMap(({ title, file }) => [`![${title}](${file})`, '']));
  lines.push(
    '## Where the numbers come from',
    '',
    'Every score with its two commands is in `rows.csv`, every difference in `summary.csv`. The whole:',
    '',
    '```',
    study.plan.command,
    `capi report ${study.folder}${o.paper ? ' --paper' : ''}`,
    '```',
  );
  if (headline.length === 0) lines.splice(4, 0, 'No headline score was evaluated.', '');
  return `${lines.join('\n')}\n`;
}

function groupTable(report: Report, group: Group, paper: boolean): string[] {
  const { headline, study } = report;
  const withPaper = (t: ColumnTable): boolean =>
    paper && group.arms.some((arm) => t.entries[arm]!.paper !== undefined);
  const head = [
    group.title,
    ...headline.flatMap((t) => [t.column.label, 'to the baseline', ...(withPaper(t) ? ['paper'] : [])]),
  ];
  const align = ['---', ...headline.flatMap((t) => ['---:', '---:', ...(withPaper(t) ? ['---:'] : [])])];
  const rows = group.arms.map((arm) => {
    const isBase = arm === study.plan.baseline;
    const name = armLabel(study, arm, group);
    return [
      isBase ? `${name} (baseline)` : name,
      ...headline.flatMap((t) => {
        const e = t.entries[arm]!;
        const score = scoreText(e, study.plan.seeds.length);
        const difference = isBase
          ? ''
          : [differenceText(e.difference), pText(e.difference)].filter((s) => s !== '').join(', ');
        return [
          e.best ? `**${score}**` : score,
          difference,
          ...(withPaper(t) ? [e.paper === undefined ? '' : e.paper.toFixed(1)] : []),
        ];
      }),
    ];
  });
  return [row(head), row(align), ...rows.map(row)];
}
