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
  const { main } = await import('./cli/main.js');
  await main(argv, import.meta.url);
}
