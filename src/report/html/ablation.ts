// The report as one HTML file: tables that sort, charts, the feature pictures of each arm, and the commands behind every number.
import type { Group, Report } from '../ablation/tables.js';
import type { Chart } from '../charts/charts.js';
import { finite, type PrintedCell, type PrintedTable, plainText, printedTable } from '../formats/columns.js';
import { paperSentences, readingSentences, scaleSentence, titleOf } from '../formats/prose.js';
import { REPORT_SCRIPT, REPORT_STYLE } from './ablation_style.js';
import { escapeHtml } from './escape.js';
import { contentPolicy } from './policy.js';

export interface ReportPage {
  readonly report: Report;
  readonly paper: boolean;
  /** The command that makes this report. */
  readonly command: string;
  readonly charts: readonly Chart[];
  /** PNG bytes by arm. */
  readonly pictures: ReadonlyMap<number, Uint8Array>;
}

const paragraph = (text: string): string => `<p>${escapeHtml(text)}</p>`;
const list = (items: readonly string[]): string =>
  `<ul>${items.map((item) => `<li>${escapeHtml(item)}</li>`).join('')}</ul>`;

const pre = (lines: readonly string[]): string => `<pre>${lines.map(escapeHtml).join('\n')}</pre>`;

export function reportPage(page: ReportPage): string {
  const { report, paper, charts } = page;
  const { study } = report;
  const { notes } = report;
  const sentences = paper ? paperSentences(report) : [];
  const parts = [
    `<h1>${escapeHtml(titleOf(report))}</h1>`,
    paragraph(scaleSentence(report)),
    ...readingSentences(report).map((s) => `<p class="quiet">${escapeHtml(s)}</p>`),
    ...report.groups.map((group) => groupTable(page, group)),
    ...(notes.length > 0 ? ['<h2>Notes</h2>', list(notes)] : []),
    ...(sentences.length > 0
      ? [
          '<h2>Beside the paper</h2>',
          paragraph(
            "The paper's numbers are of another model, other data and another length (arXiv 2502.08769, Table 1).",
          ),
          ...sentences.map(paragraph),
        ]
      : []),
    '<h2>Charts</h2>',
    ...charts.map(({ name, svg }) => `<figure id="${escapeHtml(name)}">${svg}</figure>`),
    pictures(page),
    '<h2>Other scores</h2>',
    otherScores(report),
    '<h2>Where the numbers come from</h2>',
    paragraph('The whole study, and this page:'),
    pre([study.plan.command, page.command]),
    ...commands(report),
  ];
  return (
    `<!doctype html>\n<html lang="en"><head><meta charset="utf-8">` +
    contentPolicy({ style: REPORT_STYLE, script: REPORT_SCRIPT, pictures: 'embedded' }) +
    `<meta name="viewport" content="width=device-width, initial-scale=1">` +
    `<title>${escapeHtml(titleOf(report))}</title><link rel="icon" href="data:,"><style>${REPORT_STYLE}</style></head>\n<body>\n${parts.join('\n')}\n` +
    `<script>${REPORT_SCRIPT}</script>\n</body></html>\n`
  );
}

const head = (titles: readonly string[]): string =>
  `<thead><tr>${titles.map((title) => `<th scope="col"><button type="button">${escapeHtml(title)}</button></th>`).join('')}</tr></thead>`;

function cellOf(cell: PrintedCell): string {
  const value = finite(cell.value) ?? '';
  return `<td data-value="${escapeHtml(`${value}`)}"${cell.bold ? ' class="best"' : ''}>${escapeHtml(plainText(cell))}</td>`;
}

function tableOf(title: string, { scores, rows }: PrintedTable, mark = ''): string {
  const titles = scores.flatMap(({ columns }) => columns.map((c) => c.title));
  const lines = rows.map(({ name, isBase, cells }) => {
    const first = `<td>${escapeHtml(isBase ? name + mark : name)}</td>`;
    return `<tr${isBase ? ' class="baseline"' : ''}>${first}${cells.map(cellOf).join('')}</tr>`;
  });
  return `<div class="scroll"><table>${head([title, ...titles])}<tbody>${lines.join('\n')}</tbody></table></div>`;
}

const groupTable = ({ report, paper }: ReportPage, group: Group): string =>
  `<h2>${escapeHtml(group.title)}</h2>${tableOf(group.title, printedTable(report, group, { paper }), ' (baseline)')}`;

function pictures({ report, pictures }: ReportPage): string {
  if (pictures.size === 0) return '';
  const figures = report.study.plan.arms.flatMap(({ name }, arm) => {
    const bytes = pictures.get(arm);
    if (!bytes) return [];
    const data = Buffer.from(bytes).toString('base64');
    return [
      `<figure><img alt="Test images and their patch features under ${escapeHtml(name)}" src="data:image/png;base64,${data}"><figcaption>${escapeHtml(name)}</figcaption></figure>`,
    ];
  });
  return `<h2>Features</h2>${paragraph('Above, test images; below, their patch features: the first three principal components of all images together, as red, green and blue. First seed of each arm.')}<div class="pictures">${figures.join('\n')}</div>`;
}

const otherScores = (report: Report): string =>
  report.others.length === 0
    ? paragraph('None.')
    : paragraph('Mean ± standard deviation over seeds; n/a where an arm has no such source.') +
      tableOf('arm', printedTable(report, undefined));

/** The two commands of each cell, folded away by arm. */
function commands({ study }: Report): string[] {
  return study.plan.arms.map(({ name }, arm) => {
    const lines = study.cells
      .filter((c) => c.arm === arm && c.record)
      .flatMap((c) => [`# ${name}, seed ${c.seed}, ${c.evaluation}: cells/${c.id}`, ...c.record!.commands]);
    return `<details><summary>${escapeHtml(name)}</summary>${pre([...new Set(lines)])}</details>`;
  });
}
