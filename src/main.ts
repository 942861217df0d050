#!/usr/bin/env node
// Entry of the `capi` command: prints the plain help from the build's copy, else hands the arguments to oclif.

import { guardOutput } from './cli/output.js';
import { quickHelp } from './cli/quick_help.js';

guardOutput();
const argv = process.argv.slice(2);
const help = quickHelp(argv);
if (help !== undefined) {
  process.stdout.write(help);
} else {
  const cli = await import('./cli/main.js').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EMFILE' && error.code !== 'ENFILE') throw error;
    console.error(
      `error: too few file descriptors (${error.code}): raise the limit, as with ulimit -n 1024, and run the same command again`,
    );
    process.exitCode = 2;
  });
  await cli?.main(argv, import.meta.url);
}
