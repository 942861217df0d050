// Runs oclif and is the last place that an error can reach: one line on stderr (or one JSON object), then the exit code.

import { run, settings } from '@oclif/core';
import { EXIT } from '../errors.js';
import { endNow } from '../stops.js';
import { describeError, isSilent, withoutLimitWarnings } from './failure.js';
import { flushOutput } from './output.js';

/**
 * Runs one command line to its end.
 * @param argv arguments after `capi`
 * @param here URL of the entry file, from which oclif finds package.json
 */
export async function main(argv: string[], here: string): Promise<void> {
  withoutLimitWarnings();
  settings.enableAutoTranspile = false; // always run what was built, whatever NODE_ENV says
  try {
    await run(argv, here);
    await flushOutput();
    if (process.exitCode === EXIT.interrupted) endNow(EXIT.interrupted); // an error that --json printed
  } catch (error) {
    const failure = describeError(error);
    if (!isSilent(error)) {
      if (asksForJson(argv)) console.log(JSON.stringify(failure.json, null, 2));
      else console.error(failure.text);
    }
    await flushOutput();
    if (failure.exitCode === EXIT.interrupted) endNow(EXIT.interrupted); // native code that was given up may go on for minutes
    process.exit(failure.exitCode || Number(process.exitCode ?? 0));
  }
}

/** True when `--json` stands before a `--`: then even an unknown command is answered in JSON. */
function asksForJson(argv: string[]): boolean {
  const end = argv.indexOf('--');
  return (end < 0 ? argv : argv.slice(0, end)).includes('--json');
}
