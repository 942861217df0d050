// One error class a meaning; each carries the exit code that the command line ends with.

/** Exit codes of the `capi` command. */
export const EXIT = { ok: 0, unexpected: 1, usage: 2, diverged: 3, badData: 4, interrupted: 130 } as const;

/** Base of every error whose message is written for the user: names the thing, the value and what to do. */
export class CapiError extends Error {
  readonly exitCode: number = EXIT.unexpected;
  /** Machine-readable facts, printed under `error` with --json. */
  readonly details: Record<string, unknown>;
  constructor(message: string, details: Record<string, unknown> = {}) {
    super(message);
    this.name = new.target.name;
    this.details = details;
  }
}

/** A flag, config key or combination of settings that cannot be used (exit 2). */
export class UsageError extends CapiError {
  override readonly exitCode = EXIT.usage;
}

/** An image, data folder, label file or checkpoint that cannot be used (exit 4). */
export class DataError extends CapiError {
  override readonly exitCode = EXIT.badData;
}

/** An engine that does not load or cannot run a program (exit 2: another engine or an install mends it). */
export class EngineError extends CapiError {
  override readonly exitCode = EXIT.usage;
}

/** Training diverged: NaN or infinity for more steps than the config allows (exit 3). */
export class DivergedError extends CapiError {
  override readonly exitCode = EXIT.diverged;
}

/** Stopped by a signal after a checkpoint was written (exit 130). */
export class InterruptedError extends CapiError {
  override readonly exitCode = EXIT.interrupted;
}

/** Whether an error's code says that this process can open no more files. */
export const isTooManyFiles = (code: unknown): boolean => code === 'EMFILE' || code === 'ENFILE';

/** What to say of it. It stands here because no other file may open where it is said. */
export const tooFewFiles = (code: unknown): string =>
  `too few file descriptors (${code}): raise the limit, as with ulimit -n 1024, and run the same command again`;
