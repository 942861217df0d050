// The base of every command: --json, exit codes, errors as one line.

import { Command } from '@oclif/core';
import { shown } from '../base/text.js';
import { describeError, isSilent } from './failure.js';
import { Progress } from './progress.js';

/**
 * A command parses with `const { args, flags } = await this.parse(Name)`, calls one function of src (imported with
 * `await import` inside `run`, so that `capi --help` stays quick) and returns an object, which --json prints.
 * Errors are thrown; their class decides the exit code (src/errors.ts).
 */
export abstract class BaseCommand<T extends typeof Command> extends Command {
  static override enableJsonFlag = true;
  declare readonly typed?: T;

  /** Prints lines: names in them are shown, whatever characters they hold. */
  override log(message = ''): void {
    super.log('%s', message.split('\n').map(shown).join('\n'));
  }

  /** A line of progress on standard error, shown likewise; silent under --json. */
  override logToStderr(message = ''): void {
    super.logToStderr('%s', message.split('\n').map(shown).join('\n'));
  }

  /** Progress of long work on standard error, as src/cli/progress.ts shows it; silent under --json. */
  protected progress<R>(
    line: (report: R) => string,
    json: (report: R) => object,
    everyMs?: number,
  ): Progress<R> {
    const sink = this.jsonEnabled() ? { write() {} } : process.stderr;
    return new Progress(sink, line, json, everyMs);
  }

  /**
   * Under --json prints `{error: {message, code, details}}` and sets the exit code, which oclif would lose;
   * otherwise hands the error on to src/cli/main.ts, which prints its one line.
   */
  protected override async catch(error: Error & { exitCode?: number }): Promise<void> {
    const failure = describeError(error);
    process.exitCode = failure.exitCode;
    if (!this.jsonEnabled() || isSilent(error)) throw error;
    this.logJson(failure.json);
  }
}
