// Ctrl-C and the signals of a scheduler or a terminal as one AbortSignal.
import { EXIT, InterruptedError } from '../errors.js';
import { endNow } from '../stops.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'] as const;

/** A second Ctrl-C that comes sooner is the first one, passed on by npm. */
const SAME_MS = 400;

export interface Stops {
  /**
   * Milliseconds after which the work is given up where it does not stop by itself: for work that loses nothing by it. Without, it is
   * waited for, as for a checkpoint that is written.
   */
  readonly grace?: number;
  /** The sentence of the error then. */
  readonly after?: string;
}

/**
 * Runs `work` with a signal that the first Ctrl-C, SIGTERM, SIGHUP or SIGUSR2 sets; a second Ctrl-C ends the process at once.
 * @throws what `work` throws; InterruptedError where it is given up
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  { grace, after = 'what was finished is kept' }: Stops = {},
): Promise<T> {
  const stop = new AbortController();
  let asked = 0;
  let timer: NodeJS.Timeout | undefined;
  let giveUp: (error: Error) => void = () => {};
  const givenUp = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  givenUp.catch(() => {}); // the work may end first
  const onSignal = (name: NodeJS.Signals): void => {
    if (stop.signal.aborted) {
      if (name !== 'SIGINT' || performance.now() - asked < SAME_MS) return;
      process.stderr.write('error: interrupted again: ended at once\n');
      endNow(EXIT.interrupted);
    }
    asked = performance.now();
    if (grace !== undefined)
      timer = setTimeout(() => giveUp(new InterruptedError(`interrupted by ${name}; ${after}`)), grace);
    stop.abort(name);
  };
  for (const s of SIGNALS) process.on(s, onSignal);
  try {
    return await Promise.race([work(stop.signal), givenUp]);
  } finally {
    clearTimeout(timer);
    for (const s of SIGNALS) process.off(s, onSignal);
  }
}

/**
 * What `work` gives, unless a signal comes first: looking through a large folder of images takes minutes.
 * @throws what `work` throws; InterruptedError
 */
export async function beforeSignal<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const stopped = new Promise<never>((_, reject) => {
    const stop = (): void =>
      reject(
        new InterruptedError(`interrupted by ${signal.reason} before the run began; nothing was written`),
      );
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  stopped.catch(() => {}); // after the work is done nobody waits for it
  return Promise.race([work, stopped]);
}
