// Suites that need a tool: run where it is present, skipped by name where it is not, failed where CAPI_REQUIRE demands it.

import { describe, it } from 'vitest';
import { reasonMark } from './marks.js';
import { requiredTools, tools } from './tools.js';

const missing = new Map<string, string | undefined>();

/**
 * `suiteNeeding('fashion-mnist')('loads garments', () => { it(...) })` is a `describe` that runs only where the tool is present.
 * @param tool a name of test/support/tools.ts
 */
export function suiteNeeding(tool: string): (name: string, body: () => void) => void {
  const found = tools[tool];
  if (found === undefined) throw new Error(`no tool "${tool}" in test/support/tools.ts`);
  if (!missing.has(tool)) missing.set(tool, found.missing());
  const lack = missing.get(tool);
  return (name, body) => {
    if (lack === undefined) {
      describe(name, body);
      return;
    }
    const reason = `${tool}: ${lack} (${found.install})`;
    if (requiredTools().includes(tool)) {
      describe(name, () => {
        it(`has what CAPI_REQUIRE demands`, () => {
          throw new Error(`CAPI_REQUIRE demands ${reason}`);
        });
      });
    } else {
      describe.skip(name + reasonMark + reason, () => {
        it('is skipped', () => {});
      });
    }
  };
}
