// A report as LaTeX tables in the style of the paper: booktabs, one table a group.
import { hashOf } from '../../base/hash.js';
import { shown } from '../../base/text.js';
import { MARK_WORDS, marksOf } from '../ablation/caveats.js';
import type { Study } from '../ablation/study.js';
import type { Group, Report } from '../ablation/tables.js';
import { type PrintedCell, printedTable } from './columns.js';
import { escapeLatex, escapeLong, LONG, UNSET } from './latex_text.js';
import { readingSentences, scaleSentence, titleOf } from './prose.js';
import { pText } from './words.js';

/** The tables alone, to \input: needs \usepackage{booktabs}. `command` is the one that makes the report. */
export function latexTables(report: Report, paper: boolean, command: string): string {
  const opening = [
    titleOf(report),
    scaleSentence(report),
    `made by: ${command} (needs \\usepackage{booktabs})`,
  ];
  const { notes } = report;
  const list = notes.map((note) => `\\item ${escapeLong(note)}`);
  return `${[
    ...opening.map((line) => `% ${shown(line)}`),
    ...report.groups.map((group, i) => table(report, group, i, paper)),
    ...(notes.length > 0 ? [['\\begin{itemize}', '\\small', ...list, '\\end{itemize}'].join('\n')] : []),
  ].join('\n\n')}\n`;
}

/** A document around the tables that compiles by itself. */
export const latexDocument = (title: string): string => `\\documentclass{article}
\\usepackage[margin=1.5cm,landscape]{geometry}
\\usepackage{booktabs}
\\title{${escapeLong(title)}}
\\date{}
\\begin{document}
\\maketitle
\\input{tables.tex}
\\end{document}
`;

/** A number or interval of words.ts in math's own minus. */
const number = (text: string): string => text.replaceAll('\u2212', '$-$').replaceAll('±', '$\\pm$');

const raised = (mark: string): string => `$^{${mark}}$`;

const small = (text: string): string => `{\\small${text.startsWith('$') ? '' : ' '}${text}}`;

/** A cell with the marks of what it holds, then of what must be said. */
function cellText({ main, small: rest, caveats = [], bold, joined }: PrintedCell): string {
  const marked = number(main) + joined.map(({ mark }) => (mark ? raised(mark) : '')).join('');
  const value = rest ? `${marked} ${small(number(rest))}` : marked;
  const seeds = caveats.find(({ kind }) => kind === 'seeds')?.word;
  return `${bold ? `\\textbf{${value}}` : value}${seeds ? ` ${small(seeds)}` : ''}${marksOf(caveats).map(raised).join('')}`;
}

/** A name for \ref that no other report and no other table of this one has. */
function labelOf({ plan }: Study, group: Group, place: number): string {
  const slug = (text: string): string =>
    text
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, '-')
      .slice(0, 40);
  const digest = hashOf([
    plan.name,
    plan.command,
    plan.arms.map(({ cells }) => cells.map(({ id }) => id)),
    place,
  ]);
  return `tab:${slug(plan.name)}-${slug(group.title)}-${digest.slice(0, 8)}`;
}

function table(report: Report, group: Group, place: number, paper: boolean): string {
  const { headline, study } = report;
  const { scores, rows } = printedTable(report, group, { paper, narrow: true });
  const long = rows.some(({ name }) => name.length > LONG);
  const nameOf = (text: string): string => (long ? `\\raggedright ${escapeLong(text)}` : escapeLatex(text));
  const alignment =
    (long ? 'p{6cm}' : 'l') + scores.map(({ columns }) => 'r'.repeat(columns.length)).join('');
  const head = scores.map(
    ({ label, columns }) => `\\multicolumn{${columns.length}}{c}{${escapeLatex(label)}}`,
  );
  let last = 1;
  const rules = scores.map(({ columns: { length } }) => {
    last += length;
    return `\\cmidrule(lr){${last - length + 1}-${last}}`;
  });
  const second = scores.flatMap(({ columns }) => columns.map(({ latex }) => latex));
  const lines = rows.map(({ name, isBase, cells }) =>
    [nameOf(name) + (isBase ? ' (default)' : ''), ...cells.map(cellText)].join(' & '),
  );
  const marks = new Set(
    group.arms.flatMap((arm) => headline.flatMap(({ entries }) => marksOf(entries[arm]!.caveats))),
  );
  const tested = group.arms.some((arm) =>
    headline.some(({ entries }) => pText(entries[arm]!.difference) !== ''),
  );
  const body = [
    `${['', ...head].join(' & ')} \\\\`,
    rules.join(' '),
    `${[nameOf(group.title), ...second].join(' & ')} \\\\`,
    '\\midrule',
    ...lines.map((line) => `${line} \\\\`),
  ];
  const unset = body.some((line) => UNSET.test(line)) || UNSET.test(escapeLatex(group.title));
  const caption = [
    `${escapeLong(group.title)}.`,
    escapeLatex(readingSentences(report).join(' ')),
    ...(tested ? ['$^{*}$: $p < 0.05$.'] : []),
    ...[...marks].map((mark) => `${raised(mark)}: ${escapeLatex(MARK_WORDS[mark]!)}.`),
    ...(unset ? ['[U+...]: a character that is not set here, by its Unicode number.'] : []),
  ];
  return [
    '\\begin{table}[ht]',
    '\\centering',
    `\\begin{tabular}{${alignment}}`,
    '\\toprule',
    ...body,
    '\\bottomrule',
    '\\end{tabular}',
    `\\caption{${caption.join(' ')}}`,
    `\\label{${labelOf(study, group, place)}}`,
    '\\end{table}',
  ].join('\n');
}
