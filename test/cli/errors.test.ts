// Errors: one line and the right exit code in a terminal, one object and the same exit code under --json.

import { Flags } from '@oclif/core';
import { captureOutput } from '@oclif/test';
import { afterEach, describe, expect, it } from 'vitest';
import { BaseCommand } from '../../src/cli/base.js';
import { describeError } from '../../src/cli/failure.js';
import { DataError, DivergedError, EngineError, InterruptedError, UsageError } from '../../src/errors.js';
import { capi, root } from './capi.js';

/** A command that throws whatever it is told to, or returns an object. */
class Failing extends BaseCommand<typeof Failing> {
  static override flags = { kind: Flags.string() };
  static thrown: unknown;

  async run(): Promise<unknown> {
    await this.parse(Failing);
    if (Failing.thrown !== undefined) throw Failing.thrown;
    this.log('words');
    return { answer: 42 };
  }
}

async function run(thrown: unknown, argv: string[]) {
  Failing.thrown = thrown;
  process.exitCode = undefined;
  const output = await captureOutput(() => Failing.run(argv, root));
  return { ...output, code: process.exitCode as number | undefined };
}

afterEach(() => {
  process.exitCode = undefined;
});

const cases: [Error, number][] = [
  [new UsageError('a'), 2],
  [new EngineError('b'), 2],
  [new DivergedError('c', { step: 7 }), 3],
  [new DataError('d'), 4],
  [new InterruptedError('e'), 130],
  [new TypeError('f'), 1],
];

describe('a command that fails', () => {
  it.each(cases)('%s ends with exit code %i, with and without --json', async (error, code) => {
    const json = await run(error, ['--json']);
    expect(json.code).toBe(code);
    expect(json.error).toBeUndefined();
    const details = (error as { details?: object }).details ?? {};
    expect(JSON.parse(json.stdout)).toEqual({ error: { message: error.message, code, details } });
    const plain = await run(error, []);
    expect(plain.code).toBe(code);
    expect(plain.error).toBe(error); // src/cli/main.ts prints it
    expect(plain.stdout).toBe('');
  });

  it('prints its words without --json and its object with it', async () => {
    expect((await run(undefined, [])).stdout).toBe('words\n');
    const json = await run(undefined, ['--json']);
    expect(JSON.parse(json.stdout)).toEqual({ answer: 42 });
    expect(json.code).toBeUndefined();
  });
});

describe('the line of an error', () => {
  it('is one line, with a hint to DEBUG only where nobody expected it', () => {
    expect(describeError(new UsageError('no preset "x"')).text).toBe('error: no preset "x"');
    expect(describeError(new Error('one\n  two\n')).text).toBe(
      'error: one; two (unexpected; DEBUG=1 shows where)',
    );
    expect(describeError('words').text).toBe('error: words (unexpected; DEBUG=1 shows where)');
    expect(describeError(new TypeError()).json.error.message).toBe('TypeError');
  });
});

describe('capi as a process', () => {
  it.each([
    [
      ['docter'],
      'error: unknown command "capi docter"; did you mean "capi doctor"? (capi --help lists all)\n',
    ],
    [['inspct', 'graph'], /^error: unknown command "capi inspct graph"/],
    [['xyzzy'], 'error: unknown command "capi xyzzy" (capi --help lists all)\n'],
    [['doctor', '--nope'], 'error: Nonexistent flag: --nope; see --help\n'],
  ])('%j is a usage error in one line', (args, expected) => {
    const { code, stdout, stderr } = capi(args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(expected);
    expect(stderr.trimEnd()).not.toContain('\n');
  });

  it.each([[['docter', '--json']], [['doctor', '--nope', '--json']]])(
    '%j answers with one object and the same code',
    (args) => {
      const { code, stdout, stderr } = capi(args);
      expect(code).toBe(2);
      expect(stderr).toBe('');
      expect(JSON.parse(stdout).error.code).toBe(2);
    },
  );

  it('shows the stack when DEBUG is set', () => {
    expect(capi(['docter'], { DEBUG: '1' }).stderr).toMatch(
      /^error: unknown command.*\nUsageError: .*\n +at /m,
    );
  });
});
