// Who holds a lock: what a process writes of itself into the file, and what others read of it.

import { hostname } from 'node:os';
import { shown } from '../text.js';
import { startOf } from './process_start.js';

/** Who holds a lock. A process that has not said its name yet has pid 0. */
export interface Holder {
  pid: number;
  host: string;
  /** When its process started, as the system tells it; empty where it does not. */
  start: string;
  /** What it does, for people. */
  doing: string;
  /** When it took the lock, in UTC; empty where it does not say. */
  since: string;
}

export interface HeldLock {
  release(): Promise<void>;
}

/** A lock that was asked for: held, or who has it. */
export type LockAnswer = HeldLock | { holder: Holder };

/** In words: `process 12 on host (capi pretrain), since 2026-11-27 20:45:10 UTC`. */
export function holderText({ pid, host, doing, since }: Holder): string {
  if (pid === 0) return 'another process';
  const time = since.replace('T', ' ').replace(/(\.\d+)?Z$/, '');
  return shown(`process ${pid} on ${host}${doing && ` (${doing})`}${time && `, since ${time} UTC`}`);
}

/** What this process tells others of itself. */
export const ownHolder = (doing: string): Holder => ({
  pid: process.pid,
  host: hostname(),
  start: startOf(process.pid),
  doing,
  since: new Date().toISOString(),
});

/** A holder from a lock file's text, or undefined where it is none. */
export function parseHolder(text: string): Holder | undefined {
  try {
    const { pid, host, start, doing, since } = JSON.parse(text) as Partial<Holder>;
    if (!Number.isInteger(pid) || pid! <= 0 || typeof host !== 'string') return undefined;
    return { pid: pid!, host, start: `${start ?? ''}`, doing: `${doing ?? ''}`, since: `${since ?? ''}` };
  } catch {
    return undefined;
  }
}
