// Runs needy.ts, which no other run includes, with the project's reporter.

import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { include: ['test/support/needy/needy.ts'], reporters: ['./test/support/reporter.ts'] },
});
