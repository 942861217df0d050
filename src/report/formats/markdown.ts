// A report as Markdown that GitHub shows.
import { shown } from '../../base/text.js';
import type { Group, Report } from '../ablation/tables.js';
import { type PrintedCell, plainText, printedTable } from './columns.js';
import { paperSentences, readingSentences, scaleSentence, titleOf } from './prose.js';

export interface MarkdownOptions {
  /** Put the paper's numbers beside ours. */
  readonly paper: boolean;
  /** The command that makes this report. */
  readonly command: string;
  /** Chart files by title, as links from the document. */
  readonly charts: readonly { title: string; file: string }[];
}

/** Text from outside as Markdown shows it, letter by letter: one line, no markup, no HTML. An underscore inside a word is no markup. */
export const escapeMarkdown = (text: string): string =>
  shown(text)
    .replace(/[\\`*[\]~$]|(?<![a-z0-9])_|_(?![a-z0-9])|^[#+>-]/gi, '\\$&')
    .replace(/^(\d+)([.)])(?= )/, '$1\\$2')
    .replace(/&(?=#?\w+;)/g, '&amp;')
    .replace(/<(?! )/g, '&lt;');

const row = (cells: readonly string[]): string =>
  `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;

/** A block of code around lines that may hold fences of their own. */
function codeBlock(lines: readonly string[]): string[] {
  const text = lines.map(shown);
  const fence = '`'.repeat(
    Math.max(3, ...text.flatMap((l) => (l.match(/`+/g) ?? []).map((run) => run.length + 1))),
  );
  return [fence, ...text, fence];
}

export function markdown(report: Report, o: MarkdownOptions): string {
  const { study, headline, groups } = report;
  const md = escapeMarkdown;
  const lines = [
    `# ${md(titleOf(report))}`,
    '',
    md(scaleSentence(report)),
    '',
    ...readingSentences(report).flatMap((s) => [s, '']),
  ];
  for (const group of groups)
    lines.push(`## ${md(group.title)}`, '', ...groupTable(report, group, o.paper), '');
  const { notes } = report;
  if (notes.length > 0) lines.push('## Notes', '', ...notes.map((note) => `- ${md(note)}`), '');
  if (o.paper) {
    const sentences = paperSentences(report);
    if (sentences.length > 0) {
      lines.push(
        '## Beside the paper',
        '',
        `The paper's numbers are of another model, other data and another length (arXiv 2502.08769, Table 1); ours: ${md(scaleSentence(report))}`,
        '',
        ...sentences.flatMap((s) => [md(s), '']),
      );
    }
  }
  if (o.charts.length > 0)
    lines.push('## Charts', '', ...o.charts.flatMap(({ title, file }) => [`![${md(title)}](${file})`, '']));
  lines.push(
    '## Where the numbers come from',
    '',
    'Every score with its two commands is in `rows.csv`, every difference in `summary.csv`. The whole:',
    '',
    ...codeBlock([study.plan.command, o.command]),
  );
  if (headline.length === 0) lines.splice(4, 0, 'No headline score was evaluated.', '');
  return `${lines.join('\n')}\n`;
}

function groupTable(report: Report, group: Group, paper: boolean): string[] {
  const { scores, rows } = printedTable(report, group, { paper, narrow: true });
  const head = [group.title, ...scores.flatMap(({ columns }) => columns.map(({ title }) => title))];
  const lines = rows.map(({ name, isBase, cells }) =>
    row([escapeMarkdown(name) + (isBase ? ' (baseline)' : ''), ...cells.map(cellText)]),
  );
  return [row(head.map(escapeMarkdown)), row(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...lines];
}

function cellText(cell: PrintedCell): string {
  const words = [plainText(cell), ...cell.joined.map(({ named }) => named)].filter((s) => s).join(', ');
  return cell.bold ? `**${words}**` : words;
}
