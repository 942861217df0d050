// The PyTorch baseline of the speed comparison computes the same step: it agrees with the official code's reference values.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { referenceDir } from '../support/golden.js';
import { suiteNeeding } from '../support/suites.js';
import { python } from '../support/tools.js';

const folder = join(import.meta.dirname, '../../benchmarks/speed/pytorch');

/** Runs a script of the baseline without leaving compiled files behind. */
function run(script: string, args: string[], input?: string) {
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' };
  const result = spawnSync(python, [join(folder, script), ...args], { encoding: 'utf8', input, env });
  return { ...result, text: result.stdout + result.stderr };
}

suiteNeeding('python')('the PyTorch baseline', () => {
  // check.py holds the tolerances: those that our own engines have to meet (float32 against float64 references).
  // Ten seconds on a quiet machine; the limit allows for a busy one.
  it.each([['float32'], ['float64', '--double']])(
    'agrees with the reference in %s',
    (_, ...flags) => {
      const { status, text } = run('check.py', [referenceDir, ...flags]);
      expect(status, text).toBe(0);
      const groups = text.match(/^(\w.*?) {2,}\d+ /gm)?.map((line) => line.replace(/ {2,}\d+ $/, ''));
      expect(groups, text).toEqual(
        expect.arrayContaining(['forward', 'targets and Sinkhorn', 'losses', 'gradients', 'drop path']),
      );
      expect(groups, text).toEqual(expect.arrayContaining(['loss curve', 'parameters after 3 steps']));
    },
    240_000,
  );

  it('names a folder without reference values', () => {
    const { status, text } = run('check.py', [folder]);
    expect(status).toBe(1);
    expect(text.trim()).toBe(`${folder}: no reference.json; give the folder that holds the reference values`);
  });

  it('answers each request for a round with that many step times', () => {
    const small = [
      '--width',
      '32',
      '--heads',
      '2',
      '--depth',
      '1',
      '--predictor-depth',
      '1',
      '--registers',
      '4',
    ];
    const size = [
      ...small,
      '--prototypes',
      '16',
      '--batch',
      '4',
      '--threads',
      '1',
      '--warmup',
      '1',
      '--serve',
    ];
    const { status, stdout, text } = run('bench.py', size, 'run 2\nrun 3\nwalk\n');
    expect(status, text).toBe(0);
    const [ready, two, three, refused] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(ready.ready).toBe(true);
    expect(two.ms).toHaveLength(2);
    expect(three.ms).toHaveLength(3);
    expect([...three.ms].sort((a, b) => a - b)[1]).toBe(three.median_ms);
    expect(three.images_per_second).toBeCloseTo(4e3 / three.median_ms, 0);
    expect(refused.error).toContain('write `run N`');
  }, 240_000);
});
