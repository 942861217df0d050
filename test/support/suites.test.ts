// The registry of tools: CAPI_REQUIRE is checked, and a missing tool skips or fails its suite (seen in a run of its own).

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { requiredTools, tools } from './tools.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

describe('requiredTools', () => {
  it('reads names and refuses unknown ones', () => {
    expect(requiredTools('python, tfjs-node,')).toEqual(['python', 'tfjs-node']);
    expect(requiredTools('')).toEqual([]);
    expect(() => requiredTools('pyhton')).toThrow(
      `CAPI_REQUIRE names "pyhton"; accepted: ${Object.keys(tools).join(', ')}`,
    );
  });
});

describe('a suite whose tool is missing', () => {
  function run(env: Record<string, string>) {
    const vitest = join(root, 'node_modules/vitest/vitest.mjs');
    const clean = Object.fromEntries(
      Object.entries(process.env).filter(([key]) => !/^(VITEST|CAPI_|NODE_ENV)/.test(key)),
    );
    const result = spawnSync(
      process.execPath,
      [vitest, 'run', '--root', root, '--config', join(root, 'test/support/needy/vitest.config.ts')],
      {
        cwd: root,
        encoding: 'utf8',
        env: { ...clean, CAPI_PYTHON: '/no/such/python', ...env },
      },
    );
    return {
      code: result.status,
      lines: result.stdout.trimEnd().split('\n'),
      text: result.stdout + result.stderr,
    };
  }

  it('is skipped, named with the reason, and the last line counts', () => {
    const { code, lines } = run({});
    expect(lines.at(-1)).toBe('1 passed, 0 failed, 1 skipped');
    expect(lines.at(-2)).toMatch(
      /needy\.ts > compares with PyTorch: needs python: \/no\/such\/python does not start \(python3 -m venv/,
    );
    expect(lines.at(-3)).toBe('Skipped suites:');
    expect(code).toBe(0);
  });

  it('fails where CAPI_REQUIRE demands it', () => {
    const { code, lines, text } = run({ CAPI_REQUIRE: 'python' });
    expect(lines.at(-1)).toBe('1 passed, 1 failed, 0 skipped');
    expect(text).toContain('CAPI_REQUIRE demands python: /no/such/python does not start');
    expect(code).toBe(1);
  });

  it('a misspelt name in CAPI_REQUIRE fails the run', () => {
    const { code, text } = run({ CAPI_REQUIRE: 'pyhton' });
    expect(text).toContain('CAPI_REQUIRE names "pyhton"');
    expect(code).not.toBe(0);
  });
});
