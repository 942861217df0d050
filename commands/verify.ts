// capi verify: is everything that is stored here what was written?
import { Args } from '@oclif/core';
import { shown } from '../src/base/text.js';
import { BaseCommand } from '../src/cli/base.js';
import { interruptible } from '../src/cli/signals.js';
import { columns } from '../src/cli/table.js';
import { EXIT } from '../src/errors.js';
import type { Verification } from '../src/verify/folders.js';

export default class Verify extends BaseCommand<typeof Verify> {
  static override summary =
    'Check everything that capi stored below a folder, and say what to do about what is wrong.';
  static override description =
    'Compares every file with its digest, every record and cell with its id, its folder and its counts, and computes scores and intervals again. Takes folders of runs, ' +
    'evaluations, ablations, exports and the feature store. Files of older versions have no digest: they are counted as unsealed. Ends with exit code 4 where something is wrong.';
  static override examples = [
    '<%= config.bin %> verify runs/first',
    '<%= config.bin %> verify results evals ~/.cache/capi --json',
  ];
  static override strict = false;
  static override args = {
    folders: Args.string({ description: 'folders that capi wrote', required: true }),
  };

  async run(): Promise<Verification> {
    const { argv } = await this.parse(Verify);
    const { verifyFolders } = await import('../src/verify/folders.js');
    const progress = this.progress<{ files: number; bytes: number }>(
      ({ files, bytes }) => `${files} files, ${(bytes / 2 ** 20).toFixed(0)} MiB checked`,
      (report) => report,
    );
    const found = await interruptible((signal) =>
      verifyFolders(argv as string[], { signal, onFile: (done) => progress.report(done) }),
    ).finally(() => progress.end());
    this.log(textOf(found));
    if (!found.intact) {
      process.exitCode = EXIT.badData;
      this.logToStderr(`error: ${found.faults.length} of ${found.checked} files are not what was written`);
    }
    return found;
  }
}

const STATES = ['intact', 'unsealed', 'torn', 'changed', 'foreign', 'missing'];

function textOf({ kinds, faults, skipped, checked, others }: Verification): string {
  const rows = Object.entries(kinds).map(([kind, counts]) => [
    kind,
    ...STATES.map((state) => (counts[state] ? `${counts[state]}` : '-')),
  ]);
  const lines = rows.length > 0 ? [columns([['kind', ...STATES], ...rows])] : [];
  for (const { state, faults: own } of faults)
    for (const fault of own) lines.push(`${state}: ${shown(fault)}`);
  for (const { file, what } of skipped) lines.push(`not read: ${shown(file)} is ${what}`);
  if (Object.values(kinds).some((counts) => counts.unsealed))
    lines.push(
      'unsealed files are of an older version and have no digest; their scores were compared with their counts',
    );
  const end = faults.length === 0 ? 'nothing is wrong' : `${faults.length} of them wrong`;
  lines.push(`${checked} files checked, ${end}; ${others} of other kinds left alone`);
  return lines.join('\n');
}
