// The studies that are committed under results/, and their reports made again from their cells.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { writeReport } from '../../src/report/write.js';
import { root } from './imports.js';

export const results = join(root, 'results');

/** Names of the folders of results/ that hold an ablation. */
export const studies = readdirSync(results).filter((name) => existsSync(join(results, name, 'plan.json')));

/** JSON files of results/ with their path below it, of all folders. */
export const committedJson = (): string[] =>
  readdirSync(results, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.json'))
    .sort();

/** What a report consists of, by path below its folder, apart from the charts' pixels, which come from the fonts of the machine. */
export function reportFiles(folder: string): Record<string, string> {
  const names = ['report.md', 'report.tex', 'tables.tex', 'report.html', 'rows.csv', 'summary.csv'];
  const charts = readdirSync(join(folder, 'charts')).filter((name) => name.endsWith('.svg'));
  return Object.fromEntries(
    [...names, ...charts.sort().map((name) => join('charts', name))]
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
  );
}

/** Makes the report of a committed study again in `folder`, from a copy of its plan and cells alone; returns its files and its numbers. */
export async function reportAgain(
  name: string,
  folder: string,
): Promise<{ files: Record<string, string>; json: object }> {
  const path = join('results', name); // as the command named it, which stands in the report
  mkdirSync(join(folder, path), { recursive: true });
  for (const part of ['plan.json', 'grid.yaml', 'cells'])
    cpSync(join(results, name, part), join(folder, path, part), { recursive: true });
  const before = process.cwd();
  process.chdir(folder);
  try {
    const { written } = await writeReport(path, {
      format: 'md,csv,latex,html',
      paper: true,
      mixed: false,
      png: async () => new Uint8Array(), // the charts are compared as SVG
    });
    return { files: reportFiles(path), json: { reports: [written] } };
  } finally {
    process.chdir(before);
  }
}
