// The built command, killed at random moments and started again: scripts/kill-and-resume.js at a small scale.
import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { root } from '../cli/capi.js';

it('killed within a step, within a checkpoint and while it starts, then stopped by signals: the same bytes in the end', () => {
  const signals = 'SIGKILL,SIGKILL,SIGKILL,SIGTERM,SIGUSR2';
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [
      `${root}scripts/kill-and-resume.js`,
      '--kills',
      '5',
      '--steps',
      '30',
      '--seed',
      '2',
      '--signals',
      signals,
    ],
    { encoding: 'utf8' },
  );
  const last = stdout.trimEnd().split('\n').at(-1)!;
  expect(last, stdout + stderr).toMatch(/^\{/);
  const outcome = JSON.parse(last);
  expect(outcome, stdout).toMatchObject({ kills: 5, same: { checkpoint: true, metrics: true } });
  for (const kind of ['start', 'step', 'write']) expect(outcome[kind]).toBeGreaterThan(0);
  expect(outcome.checkpointed).toBeGreaterThan(0); // SIGTERM and SIGUSR2: a checkpoint of the very step, exit code 130
}, 600_000); // seven processes one after the other, some 20 s on an idle machine
