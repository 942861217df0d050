// Whether a model fits into this machine: asked before anything of its size is allocated.
import { totalmem } from 'node:os';
import { UsageError } from '../errors.js';

/** Bytes of this machine, or of what its container grants. */
export function machineMemory(): number {
  const granted = process.constrainedMemory();
  return granted > 0 ? Math.min(granted, totalmem()) : totalmem();
}

/** As "1,230 GiB". */
export const gib = (bytes: number): string =>
  `${Number((bytes / 2 ** 30).toPrecision(3)).toLocaleString('en-US')} GiB`;

/** Refuses tensors of these shapes, in float32, where they cannot fit. @throws UsageError naming `what`, its bytes and the machine's */
export function checkFits(
  shapes: Readonly<Record<string, readonly number[]>>,
  what: string,
  machine = machineMemory(),
): void {
  const bytes = 4 * Object.values(shapes).reduce((n, shape) => n + shape.reduce((a, b) => a * b, 1), 0);
  if (bytes <= machine) return;
  throw new UsageError(
    `${what} needs at least ${gib(bytes)} of memory for its parameters, and this machine has ${gib(machine)}: lower model.width or model.depth`,
  );
}
