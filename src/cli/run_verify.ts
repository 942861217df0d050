// What `capi verify` does: checks everything that is stored below folders and says, a line each, what is wrong and what to do.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { shown } from '../base/text.js';
import { EXIT, InterruptedError, UsageError } from '../errors.js';
import { checkFile, type Found } from '../verify/files.js';
import { filesBelow } from '../verify/walk.js';
import { Progress } from './progress.js';
import { interruptible } from './signals.js';
import { columns } from './table.js';

const STATES = ['intact', 'unsealed', 'torn', 'changed', 'foreign', 'missing'] as const;

export interface VerifyFlags {
  readonly folders: readonly string[];
  readonly quiet: boolean;
}

/** Returns what --json prints; ends with exit code 4 where anything is wrong. @throws UsageError for a folder that is not there */
export async function runVerify(flags: VerifyFlags): Promise<object> {
  for (const folder of flags.folders) {
    if (!existsSync(folder)) throw new UsageError(`${folder} does not exist: name a folder that capi wrote`);
  }
  const progress = new Progress<{ files: number; bytes: number }>(
    process.stderr,
    ({ files, bytes }) => `${files} files, ${(bytes / 2 ** 20).toFixed(0)} MiB checked`,
    (report) => report,
  );
  const kinds = new Map<string, Record<string, number>>();
  const faults: { file: string; kind: string; state: string; faults: readonly string[] }[] = [];
  const skipped: { file: string; what: string }[] = [];
  let [files, bytes, others] = [0, 0, 0];
  const add = (found: Found): void => {
    if (found.state === 'other') {
      others++;
      return;
    }
    const counts = kinds.get(found.kind) ?? {};
    counts[found.state] = (counts[found.state] ?? 0) + 1;
    kinds.set(found.kind, counts);
    if (found.faults.length > 0) faults.push(found);
  };
  await interruptible(async (signal) => {
    const seen = new Set<string>();
    for (const folder of flags.folders) {
      for await (const place of filesBelow(folder)) {
        if (signal.aborted) throw new InterruptedError(`interrupted after ${files} files`);
        if (seen.has(resolve(place.file))) continue;
        seen.add(resolve(place.file));
        if (place.skipped) skipped.push({ file: place.file, what: place.skipped });
        else add(await checkFile(place.file));
        files++;
        bytes += place.bytes;
        if (!flags.quiet) progress.report({ files, bytes });
      }
    }
  }).finally(() => progress.end());
  if (faults.length > 0) process.exitCode = EXIT.badData;
  const checked = [...kinds.values()].flatMap((counts) => Object.values(counts)).reduce((a, b) => a + b, 0);
  const result = {
    folders: flags.folders,
    intact: faults.length === 0,
    checked,
    kinds: Object.fromEntries([...kinds].sort(([a], [b]) => (a < b ? -1 : 1))),
    faults,
    skipped,
    others,
  };
  if (!flags.quiet) {
    process.stdout.write(textOf(result));
    if (faults.length > 0)
      process.stderr.write(`error: ${faults.length} of ${checked} files are not what was written\n`);
  }
  return result;
}

function textOf(result: {
  kinds: Record<string, Record<string, number>>;
  faults: readonly { state: string; faults: readonly string[] }[];
  skipped: readonly { file: string; what: string }[];
  checked: number;
  others: number;
}): string {
  const rows = Object.entries(result.kinds).map(([kind, counts]) => [
    kind,
    ...STATES.map((state) => (counts[state] ? `${counts[state]}` : '-')),
  ]);
  const lines = rows.length > 0 ? [columns([['kind', ...STATES], ...rows])] : [];
  for (const { state, faults } of result.faults) {
    for (const fault of faults) lines.push(`${state}: ${shown(fault)}`);
  }
  for (const { file, what } of result.skipped) lines.push(`not read: ${shown(file)} is ${what}`);
  if (Object.values(result.kinds).some((counts) => counts.unsealed))
    lines.push(
      'unsealed files are of an older version and have no digest; their scores were compared with their counts',
    );
  const wrong = result.faults.length;
  const end = wrong === 0 ? 'nothing is wrong' : `${wrong} of them wrong`;
  lines.push(`${result.checked} files checked, ${end}; ${result.others} of other kinds left alone`);
  return `${lines.join('\n')}\n`;
}
