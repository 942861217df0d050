// What our contenders share: the shape of their requests, timing with processor time, and peak memory.
import { readFileSync } from 'node:fs';
import type { Engine } from '../../engine/program.js';
import type { ContenderFacts, Timed } from '../contender.js';
import { median } from '../statistics.js';

export type Handlers = Record<string, (values: never) => Promise<object> | object>;
export type Prepare = (setup: never) => Promise<{ facts: ContenderFacts; handlers: Handlers }>;

/** Runs `work` `count` times: milliseconds of each, and of processor time altogether. */
export async function timed(work: () => Promise<unknown>, count = 1): Promise<Timed> {
  const ms: number[] = [];
  const before = process.cpuUsage();
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await work();
    ms.push(Number((performance.now() - start).toFixed(4)));
  }
  const used = process.cpuUsage(before);
  return { ms, median_ms: median(ms), cpu_ms: (used.user + used.system) / 1000 };
}

/** What a record says of the engine that a contender of ours runs on. */
export const engineFacts = (engine: Engine): ContenderFacts => ({
  threads: engine.threads ?? 1,
  versions: { [engine.name]: engine.version },
  engine: engine.name,
  device: engine.device,
});

/** Largest resident memory of this process so far; what it inherited from the one that started it does not count. */
export function peakBytes(): number {
  try {
    const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
    if (line) return Number(line[1]) * 1024;
  } catch {
    // not Linux
  }
  return process.resourceUsage().maxRSS * 1024;
}
