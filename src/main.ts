#!/usr/bin/env node
// Entry of the `capi` command: prints the plain help from the build's copy, else hands the arguments to oclif.

import { guardOutput } from './cli/output.js';
import { quickHelp } from './cli/quick_help.js';
import { EXIT, isTooManyFiles, tooFewFiles } from './errors.js';

guardOutput();
const argv = process.argv.slice(2);
const help = quickHelp(argv);
if (help !== undefined) {
  process.stdout.write(help);
} else {
  const cli = await import('./cli/main.js').catch((error: NodeJS.ErrnoException) => {
    if (!isTooManyFiles(error.code)) throw error;
    console.error(`error: ${tooFewFiles(error.code)}`);
    process.exitCode = EXIT.usage;
  });
  await cli?.main(argv, import.meta.url);
}
