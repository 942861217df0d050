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

  it('answers a set-up and then each request, and refuses what it does not know', () => {
    const flags = { transA: false, transB: true, batchA: true, batchB: true };
    const product = { do: 'product', a: [5, 2, 3], b: [4, 2, 3], flags, repeat: 2, times: 3 };
    const lines = [{ threads: 1 }, product, { do: 'memory' }, { do: 'walk' }];
    const input = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    const { status, stdout, text } = run('products.py', [], input);
    expect(status, text).toBe(0);
    const [setup, times, memory, refused] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(setup.ready.versions.torch).toMatch(/^2\.13/);
    expect(times.ok.ms).toHaveLength(3);
    expect(memory.ok.peak_bytes).toBeGreaterThan(2 ** 20);
    expect(refused.error).toContain("no request 'walk'; accepted: memory, product");
  }, 240_000);
});
