// capi report: the records of an ablation as tables and charts for a paper.
import { Args, Flags } from '@oclif/core';
import { shown } from '../src/base/text.js';
import { BaseCommand } from '../src/cli/base.js';
import { UsageError } from '../src/errors.js';
import type { WrittenReport } from '../src/report/write.js';

export default class Report extends BaseCommand<typeof Report> {
  static override summary = 'Tables, charts and a page from the records of an ablation.';
  static override description =
    'Reads records alone: runs and checkpoints may be gone. Writes rows.csv and summary.csv, report.md, tables.tex with report.tex, charts as SVG ' +
    'and PNG, and report.html, which opens without a server. Every difference to the baseline has a 95 % interval over seeds and test images.';
  static override examples = [
    '<%= config.bin %> report results/table1-small --paper',
    '<%= config.bin %> report runs/ablate-mine --format csv,latex --out paper/tables',
  ];
  static override strict = false;
  static override args = {
    results: Args.string({ description: 'folders that capi ablate wrote', required: true }),
  };
  static override flags = {
    format: Flags.string({
      description: 'which of md, csv, latex, html',
      default: 'md,csv,latex,html',
      helpValue: 'LIST',
    }),
    out: Flags.string({ description: 'where to (default: into the folder itself)', helpValue: 'DIR' }),
    paper: Flags.boolean({
      description: "put the paper's numbers beside ours, with the rank correlation of the two orderings",
    }),
    'mixed-protocols': Flags.boolean({
      description: 'go on where rows were made under different protocols, with a footnote',
    }),
  };

  async run(): Promise<object> {
    const { argv, flags } = await this.parse(Report);
    const folders = argv as string[];
    const { renderSvg } = await import('../src/images/index.js');
    const { formatsOf, writeReport } = await import('../src/report/write.js');
    formatsOf(flags.format); // before anything is read
    if (flags.out !== undefined && folders.length > 1)
      throw new UsageError('--out is for one ablation: several are reported each in its own folder');
    const reports: WrittenReport[] = [];
    for (const folder of folders) {
      const { written, text } = await writeReport(folder, {
        ...flags,
        mixed: flags['mixed-protocols'],
        png: renderSvg,
        onWait: (line) => this.logToStderr(line),
      });
      this.log(`${text}\nwritten to ${shown(written.out)}: ${written.files.join(', ')}`);
      reports.push(written);
    }
    return { reports };
  }
}
