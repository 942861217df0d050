// A report as LaTeX tables in the style of the paper: booktabs, one table a group.
import { hashOf } from '../../base/hash.js';
import { shown } from '../../base/text.js';
import { MARK_WORDS, marksOf } from '../ablation/caveats.js';
import type { Study } from '../ablation/study.js';
import { armLabel, type Entry, type Group, type Report } from '../ablation/tables.js';
import type { Difference } from '../statistics/differences.js';
import { escapeLatex, escapeLong, LONG, UNSET } from './latex_text.js';
import { numberText } from './markdown.js';
import { readingSentences, scaleSentence, titleOf } from './prose.js';
import { differenceText, paperText, percent, pText } from './words.js';

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

/** Mean, deviation and number of seeds, then the marks of what must be said. */
function scoreCell(e: Entry): string {
  const marks = marksOf(e.caveats).map(raised).join('');
  if (e.mean === undefined) return numberText(e) + marks;
  const spread = e.deviation === undefined ? '' : ` {\\small$\\pm$ ${number(percent(e.deviation))}}`;
  const value = `${number(percent(e.mean))}${spread}`;
  const seeds = e.caveats.find(({ kind }) => kind === 'seeds')?.word;
  return `${e.best ? `\\textbf{${value}}` : value}${seeds ? ` {\\small ${seeds}}` : ''}${marks}`;
}

function differenceCell(d: Difference | undefined): string {
  if (!d) return '';
  const [value, ...rest] = number(differenceText(d)).split(' ');
  const star = d.adjusted < 0.05 ? raised('*') : '';
  return `${value}${star}${rest.length > 0 ? ` {\\small ${rest.join(' ')}}` : ''}`;
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
  const own = headline.map((t) => ({
    ...t,
    paper: paper && group.arms.some((arm) => t.entries[arm]!.paper !== undefined),
  }));
  const long = group.arms.some((arm) => armLabel(study, arm, group).length > LONG);
  const nameOf = (text: string): string => (long ? `\\raggedright ${escapeLong(text)}` : escapeLatex(text));
  const alignment = `${long ? 'p{6cm}' : 'l'}${own.map(({ paper }) => (paper ? 'rrr' : 'rr')).join('')}`;
  const head = [
    '',
    ...own.flatMap(({ column, paper }) => [
      `\\multicolumn{${paper ? 3 : 2}}{c}{${escapeLatex(column.label)}}`,
    ]),
  ];
  let at = 2;
  const rules = own.map(({ paper }) => {
    const rule = `\\cmidrule(lr){${at}-${at + (paper ? 2 : 1)}}`;
    at += paper ? 3 : 2;
    return rule;
  });
  const second = [
    nameOf(group.title),
    ...own.flatMap(({ paper }) => ['score', '$\\Delta$', ...(paper ? ['paper'] : [])]),
  ];
  const rows = group.arms.map((arm) => {
    const isBase = arm === study.plan.baseline;
    const name = nameOf(armLabel(study, arm, group));
    const cells = own.flatMap(({ entries, paper }) => {
      const e = entries[arm]!;
      return [scoreCell(e), differenceCell(e.difference), ...(paper ? [number(paperText(e))] : [])];
    });
    return `${[isBase ? `${name} (default)` : name, ...cells].join(' & ')} \\\\`;
  });
  const marks = new Set(
    group.arms.flatMap((arm) => headline.flatMap(({ entries }) => marksOf(entries[arm]!.caveats))),
  );
  const smallest = group.arms
    .flatMap((arm) => headline.map(({ entries }) => pText(entries[arm]!.difference)))
    .filter((p) => p !== '');
  const body = [
    `${head.join(' & ')} \\\\`,
    rules.join(' '),
    `${second.join(' & ')} \\\\`,
    '\\midrule',
    ...rows,
  ];
  const unset = body.some((line) => UNSET.test(line)) || UNSET.test(escapeLatex(group.title));
  const caption = [
    `${escapeLong(group.title)}.`,
    escapeLatex(readingSentences(report).join(' ')),
    ...(smallest.length > 0 ? ['$^{*}$: $p < 0.05$.'] : []),
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
