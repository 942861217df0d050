// What an error means to the person at the terminal: its exit code, its one line, its JSON.

import { Errors } from '@oclif/core';
import { shown } from '../base/text.js';
import { CapiError, EXIT, isTooManyFiles, tooFewFiles, UsageError } from '../errors.js';

/** An error as it is shown: `text` for stderr, `json` for --json. */
export interface Failure {
  exitCode: number;
  text: string;
  json: { error: { message: string; code: number; details: Record<string, unknown> } };
}

/** True for an exit that needs no words (`this.exit(0)`). */
export function isSilent(error: unknown): boolean {
  return error instanceof Errors.ExitError;
}

/**
 * Exit code of an error: a CapiError's own; 2 for arguments that oclif cannot parse; the code of an oclif exit;
 * 1 for everything that nobody expected.
 */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CapiError) return error.exitCode;
  if (error instanceof Errors.CLIError) return error.oclif.exit ?? EXIT.usage;
  return EXIT.unexpected;
}

/** What the system, V8 and the libraries say where no more address space is to be had. */
const NO_MEMORY =
  /failed to map segment|cannot allocate memory|ENOMEM|WebAssembly[\w.()]*: Out of memory|Array buffer allocation failed|ERR_WORKER_OUT_OF_MEMORY/i;

/** What a limit of this shell refused, in words: it may meet any file, also one of the program. */
function limitError(error: unknown): CapiError | undefined {
  const code = error instanceof CapiError ? error.details.code : (error as NodeJS.ErrnoException).code;
  if (isTooManyFiles(code)) {
    return new UsageError(tooFewFiles(code));
  }
  const found = NO_MEMORY.exec(error instanceof Error ? error.message : String(error));
  return found && !(error instanceof CapiError && error.details.outOfMemory)
    ? new UsageError(
        `too little memory or address space (${found[0]}): raise the limit, as with ulimit -v unlimited, and run the same command again`,
      )
    : undefined;
}

/** Warnings of oclif about commands that a limit did not let it read say nothing that the error does not say. */
export function withoutLimitWarnings(): void {
  const listeners = process.listeners('warning');
  process.removeAllListeners('warning');
  process.on('warning', (warning: Error & { code?: string }) => {
    if (isTooManyFiles(warning.code)) return;
    for (const listener of listeners) listener.call(process, warning);
  });
}

/** The error as one line (with the stack below it when DEBUG is set) and as JSON. */
export function describeError(thrown: unknown): Failure {
  const error = limitError(thrown) ?? thrown;
  const exitCode = exitCodeOf(error);
  const said = error instanceof Error ? error.message || error.name : String(error);
  // Ours are one line: a break in one is in the name of a file, a class or an arm. Others' messages may have several.
  const message = shown(error instanceof CapiError ? said : oneLine(said));
  const details = error instanceof CapiError ? error.details : {};
  const stack = process.env.DEBUG && error instanceof Error && error.stack ? `\n${error.stack}` : '';
  const hint = exitCode === EXIT.unexpected && !stack ? ' (unexpected; DEBUG=1 shows where)' : '';
  return {
    exitCode,
    text: `error: ${message}${hint}${stack}`,
    json: { error: { message, code: exitCode, details } },
  };
}

/** Joins the lines of a message; oclif's hint to look at --help is kept, as a sentence of its own. */
function oneLine(message: string): string {
  return message
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join('; ')
    .replace(/:; /g, ': ')
    .replace(/^Parsing (--[\w-]+); Expected/, '$1: expected') // oclif's two lines about a number out of bounds
    .replace(/\.?; See more help with --help$/, '; see --help');
}
