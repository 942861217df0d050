// Ctrl-C and the signals of a scheduler as one AbortSignal.
import { EXIT } from '../errors.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGUSR2'] as const;

/** Runs `work` with a signal that the first Ctrl-C or SIGTERM sets; a second Ctrl-C ends the process at once. */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  let asked = 0;
  const onSignal = (name: NodeJS.Signals): void => {
    // One that comes right after the first is the same one, passed on by npm.
    if (stop.signal.aborted && name === 'SIGINT' && performance.now() - asked > 1000)
      process.exit(EXIT.interrupted);
    if (!stop.signal.aborted) asked = performance.now();
    stop.abort(name);
  };
  for (const s of SIGNALS) process.on(s, onSignal);
  try {
    return await work(stop.signal);
  } finally {
    for (const s of SIGNALS) process.off(s, onSignal);
  }
}
