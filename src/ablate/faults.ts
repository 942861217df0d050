// Faults of a grid are collected and refused together, so that one run of the command names them all.
import { UsageError } from '../errors.js';

/** Runs `work`; what it refuses is noted. */
export function attempt(faults: string[], work: () => void, origin = ''): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    faults.push(`${origin}${error.message}`);
  }
}

/** What `work` gives; undefined where it refuses, which is noted. */
export function attempted<T>(faults: string[], work: () => T): T | undefined {
  let value: T | undefined;
  attempt(faults, () => {
    value = work();
  });
  return value;
}

/** @throws UsageError with all faults, if there are any */
export function refuse(faults: readonly string[]): void {
  if (faults.length === 0) return;
  const distinct = [...new Set(faults)];
  const count = distinct.length === 1 ? '' : `${distinct.length} faults: `;
  throw new UsageError(
    count + distinct.map((text, i) => (distinct.length === 1 ? text : `(${i + 1}) ${text}`)).join('; '),
    {
      faults: distinct,
    },
  );
}
