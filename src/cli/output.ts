// Output whose reader is gone, or whose disk is full: it ends, and the work goes on.

import { EXIT } from '../errors.js';

/** The system's errors where nobody reads any more: a closed pipe, a terminal that is gone. */
const NO_READER = new Set([
  'EPIPE',
  'EIO',
  'ECONNRESET',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
]);

/**
 * From now on an error of standard output or standard error silences that stream and ends nothing. A reader that is gone wanted no more
 * (`capi ... | head -1`): the exit code is that of the work. Output that was lost to a full disk is said once, and is exit code 4.
 */
export function guardOutput(): void {
  for (const stream of [process.stdout, process.stderr]) {
    const emit = stream.emit.bind(stream);
    // Before every listener: oclif's own throws what is no closed pipe.
    stream.emit = (event: string | symbol, ...args: unknown[]): boolean => {
      if (event !== 'error') return emit(event, ...args);
      silence(stream, args[0] as NodeJS.ErrnoException);
      return true;
    };
  }
}

function silence(stream: NodeJS.WriteStream, error: NodeJS.ErrnoException): void {
  stream.write = (_: unknown, encoding?: unknown, done?: unknown): boolean => {
    const then = typeof encoding === 'function' ? encoding : done;
    if (typeof then === 'function') process.nextTick(then as () => void);
    return true;
  };
  stream.emit('drain'); // for whoever waits for it
  if (stream !== process.stdout || NO_READER.has(error.code ?? '')) return;
  process.exitCode ||= EXIT.badData;
  process.stderr.write(
    `error: standard output cannot be written (${error.code ?? error.message}): what was printed is not whole\n`,
  );
}

/** Waits until what was printed has left this process, for at most some seconds: a reader may have stopped reading. */
export async function flushOutput(): Promise<void> {
  const left = [process.stdout, process.stderr].map(
    (stream) => new Promise<void>((resolve) => stream.write('', () => resolve())),
  );
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, 10_000);
  });
  await Promise.race([Promise.all(left), patience]);
  clearTimeout(timer);
}
