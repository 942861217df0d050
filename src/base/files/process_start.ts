// When a process started, so that a number that was given to another process later is not taken for it.

import { readFileSync } from 'node:fs';

/** Boot and start time of a running process on this machine; empty where the system does not tell, undefined where none runs. */
export function startOf(pid: number): string {
  return startIfRunning(pid) ?? '';
}

/** The same, but undefined where no such process runs. */
export function startIfRunning(pid: number): string | undefined {
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  if (process.platform !== 'linux') return isRunning(pid) ? '' : undefined;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // Field 22, counted behind the name, which stands in brackets and may hold anything (proc(5)).
    const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]!;
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()} ${ticks}`;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' && !isRunning(pid) ? undefined : '';
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
