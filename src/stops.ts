// How a process ends while its event loop or native code is busy: signals at once where nothing could hear them, and an end without waiting.

import { createRequire } from 'node:module';

const SIGNALS = [1, 2, 12, 15]; // SIGHUP, SIGINT, SIGUSR2, SIGTERM on Linux
const STRUCT = 256; // bytes, more than struct sigaction has anywhere
const PATIENCE_MS = 1000;

type Libc = { func(declaration: string): (...args: unknown[]) => unknown };
const libc = (): Libc => {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  return koffi.load(null) as unknown as Libc;
};

const last: (() => void)[] = [];

/** Quick work that is done however this process ends, but by SIGKILL: what only this process needs is removed. */
export function atEnd(work: () => void): void {
  last.push(work);
  process.once('exit', work);
}

/** Ends with `code` now, without cleaning up (a normal exit waits for native threads): only where all files are whole, as between two writes. */
export function endNow(code: number): never {
  for (const work of last) {
    try {
      work();
    } catch {
      // it ends all the same
    }
  }
  try {
    libc().func('void _exit(int)')(code);
  } catch {
    // a system without it: below
  }
  process.kill(process.pid, 'SIGKILL');
  throw new Error('unreachable');
}

let sigaction: ((...args: unknown[]) => unknown) | undefined;
let begin: number | undefined;
let kept: Uint8Array[] = [];

/**
 * Runs work in which the event loop cannot turn. Once that takes longer than a second (see `stillBusy`), or at once with `long`, signals end
 * the process as if nobody listened: nothing that has to be saved may be made in it.
 */
export function withDefaultSignals<T>(work: () => T, long = false): { value: T; long: boolean } {
  if (begin !== undefined || process.platform !== 'linux') return { value: work(), long };
  begin = long ? Number.NEGATIVE_INFINITY : performance.now();
  try {
    stillBusy();
    const value = work();
    stillBusy();
    return { value, long: kept.length > 0 };
  } finally {
    SIGNALS.slice(0, kept.length).forEach((signal, i) => {
      sigaction?.(signal, kept[i], null);
    });
    kept = [];
    begin = undefined;
  }
}

/** Says that `withDefaultSignals` work goes on; to be called now and then in it. Cheap. */
export function stillBusy(): void {
  if (begin === undefined || kept.length > 0 || performance.now() - begin < PATIENCE_MS) return;
  try {
    sigaction ??= libc().func('int sigaction(int, const void *, void *)');
    // All bytes zero: the default action, no flags, no mask. libuv's own is kept, so that a signal that came before is still heard after.
    for (const signal of SIGNALS) {
      const old = new Uint8Array(STRUCT);
      sigaction(signal, new Uint8Array(STRUCT), old);
      kept.push(old);
    }
  } catch {
    begin = Number.POSITIVE_INFINITY; // without it signals wait
  }
}
