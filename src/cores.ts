// How many threads this process should start: physical cores that it may run on, within its CPU quota.
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, platform } from 'node:os';
import { join, posix } from 'node:path';

export interface CoreOptions {
  /** Folder that stands for `/`, for tests. */
  root?: string;
  /** Processors that the scheduler grants; Node's own count, which knows the affinity mask. */
  processors?: number;
}

/**
 * Cores to compute on, at least 1: distinct physical cores among the processors of the affinity mask (two hyper-threads
 * share the units that a matrix product needs), and no more than the quota of any cgroup that the process is in, rounded up.
 * Where the system shows neither (macOS, Windows), the processors that Node counts.
 */
export function usableCores(options: CoreOptions = {}): number {
  const { root = '/', processors = availableParallelism() } = options;
  if (options.root === undefined && platform() !== 'linux') return processors;
  const cores = Math.min(processors, physicalCores(root) ?? processors);
  return Math.max(1, Math.min(cores, Math.ceil(cpuQuota(root))));
}

/** Threads that decode images beside `threads` that compute: half as many, 1 to 8. Decoding needs less than a training step. */
export function decodingThreads(threads = usableCores()): number {
  return Math.min(8, Math.max(1, Math.floor(threads / 2)));
}

/** The text of a file, trimmed, or undefined. */
function textOf(root: string, ...path: string[]): string | undefined {
  try {
    return readFileSync(join(root, ...path), 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Physical cores with a processor of the affinity mask; undefined where /sys does not show the topology. */
function physicalCores(root: string): number | undefined {
  const mask = /^Cpus_allowed_list:\s*(\S+)/m.exec(textOf(root, 'proc/self/status') ?? '')?.[1];
  const folder = 'sys/devices/system/cpu';
  const processors = mask === undefined ? allProcessors(root, folder) : expand(mask);
  const cores = new Set<string>();
  for (const n of processors) {
    const siblings = textOf(root, folder, `cpu${n}/topology/thread_siblings_list`);
    if (siblings) cores.add(siblings);
  }
  return cores.size > 0 ? cores.size : undefined;
}

function allProcessors(root: string, folder: string): number[] {
  try {
    return readdirSync(join(root, folder))
      .flatMap((name) => /^cpu(\d+)$/.exec(name)?.[1] ?? [])
      .map(Number);
  } catch {
    return [];
  }
}

/** `0-2,8` as [0, 1, 2, 8]. */
function expand(list: string): number[] {
  return list.split(',').flatMap((part) => {
    const [first, last = first] = part.split('-').map(Number) as [number, number?];
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** CPUs' worth of time that the tightest cgroup around this process grants (versions 1 and 2); Infinity without a limit. */
function cpuQuota(root: string): number {
  let least = Number.POSITIVE_INFINITY;
  const mounts = (textOf(root, 'proc/self/mountinfo') ?? '').split('\n').map(mountOf);
  for (const line of (textOf(root, 'proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path === undefined || (controllers !== '' && !controllers!.split(',').includes('cpu'))) continue;
    const version2 = controllers === '';
    const mount = mounts.find((m) => (version2 ? m?.type === 'cgroup2' : m?.type === 'cgroup' && m.cpu));
    const place = mount?.place ?? (version2 ? '/sys/fs/cgroup' : `/sys/fs/cgroup/${controllers}`);
    // In a container the mount shows a part of the tree: what lies above it is not to be seen.
    const inside = mount && path.startsWith(mount.shown) ? path.slice(mount.shown.length) : path;
    for (let at = posix.join('/', inside); ; at = posix.dirname(at)) {
      least = Math.min(least, version2 ? quota2(root, place, at) : quota1(root, place, at));
      if (at === '/') break;
    }
  }
  return least;
}

/** One line of mountinfo: where it is mounted, which folder of the file system it shows, its type. */
function mountOf(line: string) {
  const [before, after] = line.split(' - ');
  const [, , , shown, place] = before!.split(' ');
  if (after === undefined || place === undefined) return undefined;
  const [type, , options = ''] = after.split(' ');
  return { place, shown: shown === '/' ? '' : shown!, type, cpu: options.split(',').includes('cpu') };
}

function quota2(root: string, place: string, at: string): number {
  const [quota, period] = (textOf(root, place, at, 'cpu.max') ?? 'max').split(/\s+/);
  return share(Number(quota), Number(period));
}

function quota1(root: string, place: string, at: string): number {
  const value = (name: string): number => Number(textOf(root, place, at, name) ?? Number.NaN);
  return share(value('cpu.cfs_quota_us'), value('cpu.cfs_period_us'));
}

const share = (quota: number, period: number): number =>
  quota > 0 && period > 0 ? quota / period : Number.POSITIVE_INFINITY;
