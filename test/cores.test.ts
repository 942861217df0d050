// Threads by default: physical cores, affinity and cgroup quotas, on made /proc and /sys trees.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { decodingThreads, usableCores } from '../src/cores.js';

const made: string[] = [];
afterEach(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true });
});

/** Counts on a tree of these files. */
function cores(files: Record<string, string>, processors = 64): number {
  const root = mkdtempSync(join(tmpdir(), 'capi-cores-'));
  made.push(root);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), `${text}\n`);
  }
  return usableCores({ root, processors });
}

/** `count` processors, of which n and n + count / 2 are threads of one core, or each a core of its own. */
const topology = (count: number, threads: 1 | 2): Record<string, string> =>
  Object.fromEntries(
    Array.from({ length: count }, (_, n) => [
      `sys/devices/system/cpu/cpu${n}/topology/thread_siblings_list`,
      threads === 1 ? `${n}` : `${n % (count / 2)},${(n % (count / 2)) + count / 2}`,
    ]),
  );
const allowed = (list: string) => ({ 'proc/self/status': `Name:\tnode\nCpus_allowed_list:\t${list}` });
const v2mount = '30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw';
const v1mount = (shown = '/') =>
  `31 24 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n32 31 0:28 ${shown} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct`;

describe('usable cores', () => {
  it('are physical ones', () => {
    expect(cores(topology(8, 2))).toBe(4);
    expect(cores(topology(8, 1))).toBe(8);
  });

  it('lie in the affinity mask', () => {
    expect(cores({ ...topology(8, 2), ...allowed('0-1,4') })).toBe(2); // 4 is the other thread of core 0
    expect(cores({ ...topology(8, 2), ...allowed('0-7') })).toBe(4);
    expect(cores({ ...topology(8, 1), ...allowed('3') })).toBe(1);
  });

  it('are what Node counts where /sys says nothing, and never more', () => {
    expect(cores({}, 6)).toBe(6);
    expect(cores(topology(8, 1), 3)).toBe(3);
  });

  it.each([
    ['max 100000', 8],
    ['250000 100000', 3], // two and a half: rounded up
    ['50000 100000', 1],
  ])('keep to cpu.max of %s', (text, expected) => {
    const files = { 'proc/self/cgroup': '0::/job', 'proc/self/mountinfo': v2mount };
    expect(cores({ ...topology(8, 1), ...files, 'sys/fs/cgroup/job/cpu.max': text })).toBe(expected);
  });

  it('keep to the tightest group above theirs', () => {
    const files = {
      'proc/self/cgroup': '0::/slice/job/step',
      'proc/self/mountinfo': v2mount,
      'sys/fs/cgroup/slice/cpu.max': '200000 100000',
      'sys/fs/cgroup/slice/job/cpu.max': '500000 100000',
      'sys/fs/cgroup/slice/job/step/cpu.max': 'max 100000',
    };
    expect(cores({ ...topology(8, 1), ...files })).toBe(2);
  });

  it('keep to the quota of version 1, nested and with the CPU beside another controller', () => {
    const files = {
      'proc/self/cgroup': '5:memory:/job\n4:cpu,cpuacct:/slice/job\n0::/',
      'proc/self/mountinfo': v1mount(),
      'sys/fs/cgroup/cpu,cpuacct/slice/cpu.cfs_quota_us': '300000',
      'sys/fs/cgroup/cpu,cpuacct/slice/cpu.cfs_period_us': '100000',
      'sys/fs/cgroup/cpu,cpuacct/slice/job/cpu.cfs_quota_us': '-1',
      'sys/fs/cgroup/cpu,cpuacct/slice/job/cpu.cfs_period_us': '100000',
    };
    expect(cores({ ...topology(8, 1), ...files })).toBe(3);
  });

  it('find the group of a container, which sees its own part of the tree as the root', () => {
    const files = {
      'proc/self/cgroup': '4:cpu,cpuacct:/docker/abc/inner',
      'proc/self/mountinfo': v1mount('/docker/abc'),
      'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '400000',
      'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000',
      'sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us': '150000',
      'sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_period_us': '100000',
    };
    expect(cores({ ...topology(8, 1), ...files })).toBe(2);
    expect(cores({ ...topology(8, 1), ...files, 'proc/self/cgroup': '4:cpu,cpuacct:/docker/abc' })).toBe(4);
  });

  it('are found on this machine', () => {
    expect(usableCores()).toBeGreaterThanOrEqual(1);
    expect(usableCores()).toBeLessThanOrEqual(availableParallelism());
  });

  it('leave half as many threads to decoding, one at least and eight at most', () => {
    expect([1, 2, 3, 8, 64].map((n) => decodingThreads(n))).toEqual([1, 1, 1, 4, 8]);
  });
});
