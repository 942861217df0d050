// The records of an ablation written as tables, charts and a page.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { takeLock } from '../base/files/lock.js';
import { checkWritable } from '../base/files/writable.js';
import { writeFailure, writeText, writeWhole } from '../base/files/write.js';
import { UsageError } from '../errors.js';
import { CELL, cellFolder } from '../results/cell.js';
import { checkCell } from '../scores/counted.js';
import { commandLine } from '../shell.js';
import { checkProtocols } from './ablation/protocols.js';
import { Study } from './ablation/study.js';
import { type Report, reportOf } from './ablation/tables.js';
import { type Chart, chartsOf } from './charts/charts.js';
import { latexDocument, latexTables } from './formats/latex.js';
import { markdown } from './formats/markdown.js';
import { titleOf } from './formats/prose.js';
import { rowsCsv, summaryCsv, summaryJson } from './formats/rows.js';
import { reportPage } from './html/ablation.js';

export interface ReportOptions {
  /** Some of md, csv, latex and html, separated by commas. */
  format: string;
  /** Where to; default: into the folder itself. */
  out?: string;
  /** The paper's numbers beside ours. */
  paper: boolean;
  /** Go on where rows were made under different protocols. */
  mixed: boolean;
  /** A chart as PNG bytes, `scale` pixels a unit. */
  png(svg: string, scale: number): Promise<Uint8Array>;
  /** Who else writes into the folder now, in words. */
  onWait?(line: string): void;
}

/** What was written, and its numbers. */
export interface WrittenReport {
  ablation: string;
  out: string;
  files: string[];
  notes: Report['notes'];
  command: string;
  columns: ReturnType<typeof summaryJson>;
}

const FORMATS = ['md', 'csv', 'latex', 'html'];
const DEFAULT_FORMATS = FORMATS.join(',');

/** @throws UsageError for a format that there is not */
export function formatsOf(text: string): string[] {
  const formats = text.split(',').map((f) => f.trim());
  for (const format of formats) {
    if (!FORMATS.includes(format))
      throw new UsageError(`--format ${text}: accepted: ${FORMATS.join(', ')}, separated by commas`);
  }
  return formats;
}

/** Reports one ablation. Returns what was written and, as `text`, the tables in Markdown. @throws UsageError, DataError */
export async function writeReport(
  folder: string,
  options: ReportOptions,
): Promise<{ written: WrittenReport; text: string }> {
  const formats = formatsOf(options.format);
  const out = options.out ?? folder;
  if (options.out !== undefined) await checkWritable(out);
  const study = await Study.open(folder);
  await checkCells(study);
  const report = await reportOf(study, checkProtocols(study, options.mixed));
  const command = commandOf(folder, options);
  const lock = await takeLock(join(out, 'report.lock'), { doing: 'capi report', onWait: options.onWait });
  try {
    const files = await writeFiles(report, formats, out, { ...options, command });
    return {
      written: {
        ablation: study.plan.name,
        out,
        files,
        notes: report.notes,
        command,
        columns: summaryJson(report),
      },
      text: markdown(report, { paper: options.paper, command, charts: [] }),
    };
  } finally {
    await lock.release();
  }
}

/** Compares every score with the counts beside its cell. @throws DataError naming the cell's file, the score and both values */
async function checkCells(study: Study): Promise<void> {
  for (const cell of study.cells) {
    const counts = await study.countsOf(cell);
    if (counts) checkCell(join(cellFolder(study.folder, cell.id), CELL), cell.record!, counts);
  }
}

/** The command that makes a report again, of one folder. */
const commandOf = (folder: string, { format, out, paper, mixed }: ReportOptions): string =>
  commandLine([
    ...['report', folder],
    ...(paper ? ['--paper'] : []),
    ...(mixed ? ['--mixed-protocols'] : []),
    ...(format === DEFAULT_FORMATS ? [] : ['--format', format]),
    ...(out === undefined ? [] : ['--out', out]),
  ]);

async function writeFiles(
  report: Report,
  formats: readonly string[],
  out: string,
  o: Pick<ReportOptions, 'paper' | 'png'> & { command: string },
): Promise<string[]> {
  const files: string[] = [];
  const put = async (name: string, content: string | Uint8Array): Promise<void> => {
    await (typeof content === 'string'
      ? writeText(join(out, name), content)
      : writeWhole(join(out, name), content));
    files.push(name);
  };
  const charts = formats.some((f) => f !== 'csv') ? chartsOf(report) : [];
  await mkdir(charts.length > 0 ? join(out, 'charts') : out, { recursive: true }).catch((error) => {
    throw writeFailure(out, error);
  });
  for (const { name, svg } of charts) {
    await put(`charts/${name}.svg`, svg);
    await put(`charts/${name}.png`, await o.png(svg, 2));
  }
  if (formats.includes('csv')) {
    await put('rows.csv', rowsCsv(report));
    await put('summary.csv', summaryCsv(report));
  }
  if (formats.includes('md')) {
    const links = charts.map(({ name, title }: Chart) => ({ title, file: `charts/${name}.svg` }));
    await put('report.md', markdown(report, { ...o, charts: links }));
  }
  if (formats.includes('latex')) {
    await put('tables.tex', latexTables(report, o.paper, o.command));
    await put('report.tex', latexDocument(titleOf(report)));
  }
  if (formats.includes('html')) {
    const pictures = new Map<number, Uint8Array>();
    for (const arm of report.study.plan.arms.keys()) {
      const picture = await report.study.pictureOf(arm);
      if (picture) pictures.set(arm, picture);
    }
    await put('report.html', reportPage({ report, ...o, charts, pictures }));
  }
  return files;
}
