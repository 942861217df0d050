// A report as LaTeX tables in the style of the paper: booktabs, one table a group.
import { armLabel, type Group, type Report } from '../ablation/tables.js';
import { readingSentences, scaleSentence, titleOf } from './prose.js';
import { percent, pText, signed, stateText } from './words.js';

const SPECIAL: Record<string, string> = {
  '\\': '\\textbackslash{}',
  '&': '\\&',
  '%': '\\%',
  $: '\\$',
  '#': '\\#',
  _: '\\_',
  '{': '\\{',
  '}': '\\}',
  '~': '\\textasciitilde{}',
  '^': '\\textasciicircum{}',
  '±': '$\\pm$',
  '\u2212': '$-$',
  '<': '$<$',
  '>': '$>$',
  '|': '$|$',
  '"': "''",
};

/** Text that LaTeX sets as it is; other characters beyond ASCII become question marks, which is better than a page that does not compile. */
export const escapeLatex = (text: string): string =>
  [...text].map((c) => SPECIAL[c] ?? (c.charCodeAt(0) < 128 ? c : '?')).join('');

/** The tables alone, to \input: needs \usepackage{booktabs}. */
export function latexTables(report: Report, paper: boolean): string {
  const opening = [
    `% ${titleOf(report).replaceAll('\n', ' ')}`,
    `% ${scaleSentence(report).replaceAll('\n', ' ')}`,
    `% made by: capi report ${report.study.folder}${paper ? ' --paper' : ''} (needs \\usepackage{booktabs})`,
  ];
  return `${[...opening, ...report.groups.map((group) => table(report, group, paper))].join('\n\n')}\n`;
}

/** A document around the tables that compiles by itself. */
export const latexDocument = (title: string): string => `\\documentclass{article}
\\usepackage[margin=1.5cm,landscape]{geometry}
\\usepackage{booktabs}
\\title{${escapeLatex(title)}}
\\date{}
\\begin{document}
\\maketitle
\\input{tables.tex}
\\end{document}
`;

const ODD: readonly string[] = ['collapsed', 'diverged'];

function table(report: Report, group: Group, paper: boolean): string {
  const { headline, study } = report;
  const own = headline.map((t) => ({
    ...t,
    paper: paper && group.arms.some((arm) => t.entries[arm]!.paper !== undefined),
  }));
  const alignment = `l${own.map(({ paper }) => (paper ? 'rrr' : 'rr')).join('')}`;
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
    escapeLatex(group.title),
    ...own.flatMap(({ paper }) => ['score', '$\\Delta$', ...(paper ? ['paper'] : [])]),
  ];
  const rows = group.arms.map((arm) => {
    const isBase = arm === study.plan.baseline;
    const name = escapeLatex(armLabel(study, arm, group));
    const cells = own.flatMap(({ entries, paper }) => {
      const e = entries[arm]!;
      const number =
        e.mean === undefined
          ? escapeLatex(stateText(e.seeds.map(({ state }) => state)))
          : `${percent(e.mean)}${e.deviation === undefined ? '' : ` {\\small$\\pm$ ${percent(e.deviation)}}`}`;
      const odd = e.seeds.some(({ state }) => ODD.includes(state)) ? '$^{\\dagger}$' : '';
      const d = e.difference;
      const range = d && !Number.isNaN(d.low) ? ` {\\small[${percent(d.low)}, ${percent(d.high)}]}` : '';
      const star = d && d.adjusted < 0.05 ? '$^{*}$' : '';
      const difference = d ? `${escapeLatex(signed(d.value))}${star}${range}` : '';
      return [
        (e.best ? `\\textbf{${number}}` : number) + odd,
        difference,
        ...(paper ? [e.paper === undefined ? '' : e.paper.toFixed(1)] : []),
      ];
    });
    return `${[isBase ? `${name} (default)` : name, ...cells].join(' & ')} \\\\`;
  });
  const broken = group.arms.some((arm) =>
    headline.some(({ entries }) => entries[arm]!.seeds.some(({ state }) => ODD.includes(state))),
  );
  const smallest = group.arms
    .flatMap((arm) => headline.map(({ entries }) => pText(entries[arm]!.difference)))
    .filter((p) => p !== '');
  return [
    '\\begin{table}[ht]',
    '\\centering',
    `\\begin{tabular}{${alignment}}`,
    '\\toprule',
    `${head.join(' & ')} \\\\`,
    rules.join(' '),
    `${second.join(' & ')} \\\\`,
    '\\midrule',
    ...rows,
    '\\bottomrule',
    '\\end{tabular}',
    `\\caption{${escapeLatex(group.title)}. ${escapeLatex(readingSentences(report).join(' '))}${smallest.length > 0 ? ' $^{*}$: $p < 0.05$.' : ''}${broken ? ' $^{\\dagger}$: collapsed or diverged in a seed at least.' : ''}}`,
    `\\label{tab:${group.title.replaceAll(/[^a-z0-9]+/gi, '-').toLowerCase()}}`,
    '\\end{table}',
  ].join('\n');
}
