// Vitest's own report, then the suites that were skipped and why, then the closing line `N passed, N failed, N skipped`.

import type { SerializedError } from 'vitest';
import { DefaultReporter, type TestModule, type TestRunEndReason } from 'vitest/node';
import { reasonMark } from './marks.js';
import { requiredTools } from './tools.js';

export default class ClosingReporter extends DefaultReporter {
  override onTestRunStart(specifications: Parameters<DefaultReporter['onTestRunStart']>[0]): void {
    requiredTools(); // a misspelt tool must not pass unnoticed
    super.onTestRunStart(specifications);
  }

  override onTestRunEnd(
    modules: readonly TestModule[],
    errors: readonly SerializedError[],
    reason: TestRunEndReason,
  ): void {
    super.onTestRunEnd(modules, errors, reason);
    const skipped = modules.flatMap(skippedSuites);
    if (skipped.length > 0) console.log(`Skipped suites:\n${skipped.map((line) => `  ${line}`).join('\n')}`);
    console.log(closingLine(modules, errors));
  }
}

/** `N passed, N failed, N skipped`: tests, where a file that does not load and an error outside any test count as failed. */
function closingLine(modules: readonly TestModule[], errors: readonly SerializedError[]): string {
  const counts = { passed: 0, failed: errors.length, skipped: 0, pending: 0 };
  for (const module of modules) {
    const tests = [...module.children.allTests()];
    for (const test of tests) counts[test.result().state]++;
    if (module.state() === 'failed' && !tests.some((test) => test.result().state === 'failed'))
      counts.failed++;
  }
  return `${counts.passed} passed, ${counts.failed + counts.pending} failed, ${counts.skipped} skipped`;
}

/** One line for each suite that was skipped: its name, its file, what it needs. */
function skippedSuites(module: TestModule): string[] {
  const lines: string[] = [];
  for (const suite of module.children.allSuites()) {
    const [name, need] = suite.name.split(reasonMark);
    if (need !== undefined && suite.state() === 'skipped')
      lines.push(`${module.relativeModuleId} > ${name}: needs ${need}`);
  }
  return lines;
}
