// How the tests run: two files at a time, output as it comes, closing lines at the end.

import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    reporters: ['./test/support/reporter.ts'],
    disableConsoleIntercept: true,
    pool: 'forks', // native libraries do not like to be loaded in several threads of one process
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
