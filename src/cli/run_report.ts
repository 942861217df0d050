// What `capi report` does: reads the records of ablations and writes tables, charts and a page.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { takeLock } from '../base/files/lock.js';
import { checkWritable } from '../base/files/writable.js';
import { writeFailure, writeText, writeWhole } from '../base/files/write.js';
import { shown } from '../base/text.js';
import { UsageError } from '../errors.js';
import { renderSvg } from '../images/index.js';
import { checkProtocols } from '../report/ablation/protocols.js';
import { Study } from '../report/ablation/study.js';
import { type Report, reportOf } from '../report/ablation/tables.js';
import { type Chart, chartsOf } from '../report/charts/charts.js';
import { latexDocument, latexTables } from '../report/formats/latex.js';
import { markdown } from '../report/formats/markdown.js';
import { titleOf } from '../report/formats/prose.js';
import { rowsCsv, summaryCsv } from '../report/formats/rows.js';
import { reportPage } from '../report/html/ablation.js';
import { CELL, cellFolder } from '../results/cell.js';
import { checkCell } from '../scores/counted.js';
import { commandLine } from '../shell.js';

export interface ReportFlags {
  results: readonly string[];
  format: string;
  out?: string;
  paper: boolean;
  mixed: boolean;
  quiet: boolean;
}

const FORMATS = ['md', 'csv', 'latex', 'html'];
const DEFAULT_FORMATS = FORMATS.join(',');

/** Returns the files that were written, and the numbers. @throws UsageError, DataError */
export async function runReport(flags: ReportFlags): Promise<object> {
  const formats = flags.format.split(',').map((f) => f.trim());
  for (const format of formats) {
    if (!FORMATS.includes(format))
      throw new UsageError(`--format ${flags.format}: accepted: ${FORMATS.join(', ')}, separated by commas`);
  }
  if (flags.out !== undefined && flags.results.length > 1)
    throw new UsageError('--out is for one ablation: several are reported each in its own folder');
  const reports = [];
  for (const folder of flags.results) {
    if (flags.out !== undefined) await checkWritable(flags.out);
    const study = await Study.open(folder);
    await checkCells(study);
    const report = await reportOf(study, checkProtocols(study, flags.mixed));
    const out = flags.out ?? folder;
    const options = { paper: flags.paper, command: commandOf(folder, flags) };
    const files = await written(report, formats, out, options);
    if (!flags.quiet)
      process.stdout.write(
        `${markdown(report, { ...options, charts: [] })}\nwritten to ${shown(out)}: ${files.join(', ')}\n`,
      );
    reports.push({
      ablation: study.plan.name,
      out,
      files,
      notes: report.notes,
      command: options.command,
      columns: jsonOf(report),
    });
  }
  return { reports };
}

/** Compares every score with the counts beside its cell. @throws DataError naming the cell's file, the score and both values */
async function checkCells(study: Study): Promise<void> {
  for (const cell of study.cells) {
    const counts = await study.countsOf(cell);
    if (counts) checkCell(join(cellFolder(study.folder, cell.id), CELL), cell.record!, counts);
  }
}

/** The command that makes a report again, of one folder. */
const commandOf = (folder: string, { format, out, paper, mixed }: ReportFlags): string =>
  commandLine([
    ...['report', folder],
    ...(paper ? ['--paper'] : []),
    ...(mixed ? ['--mixed-protocols'] : []),
    ...(format === DEFAULT_FORMATS ? [] : ['--format', format]),
    ...(out === undefined ? [] : ['--out', out]),
  ]);
/** Writes as the only process on the folder. */
async function written(...of: Parameters<typeof write>): Promise<string[]> {
  const lock = await takeLock(join(of[2], 'report.lock'), {
    doing: 'capi report',
    onWait: (line) => process.stderr.write(`${line}\n`),
  });
  try {
    return await write(...of);
  } finally {
    await lock.release();
  }
}

async function write(
  report: Report,
  formats: readonly string[],
  out: string,
  o: { paper: boolean; command: string },
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
    await put(`charts/${name}.png`, await renderSvg(svg, 2));
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

const finite = (x: number | undefined): number | null => (x !== undefined && Number.isFinite(x) ? x : null);

const jsonOf = ({ study, headline, others }: Report) =>
  [...headline, ...others].map(({ column, entries, agreement }) => ({
    column: column.key,
    headline: column.headline,
    agreement: agreement
      ? { ...agreement, spearman: finite(agreement.spearman), kendall: finite(agreement.kendall) }
      : null,
    arms: entries.map((e, arm) => ({
      arm: study.plan.arms[arm]!.name,
      mean: finite(e.mean),
      deviation: finite(e.deviation),
      n: e.n,
      planned: e.seeds.length,
      best: e.best,
      states: e.seeds.map(({ state }) => state),
      difference: finite(e.difference?.value),
      low: finite(e.difference?.low),
      high: finite(e.difference?.high),
      p: finite(e.difference?.p),
      p_holm: finite(e.difference?.adjusted),
      images: e.difference?.images ?? null,
      paper: finite(e.paper),
      caveats: e.caveats.map(({ kind, text }) => ({ kind, text })),
    })),
  }));
