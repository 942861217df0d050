// `capi inspect graph`: costs that add up to what the sizes say, the text of a graph, files that are not overwritten.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { presetNames } from '../../src/config/index.js';
import type { GraphReport } from '../../src/inspect/graph.js';
import { capi } from './capi.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-inspect-'));
afterAll(() => rmSync(folder, { recursive: true }));

const small = join(folder, 'small.yaml');
writeFileSync(
  small,
  `model: { image_size: 32, patch_size: 4, width: 64, heads: 4, depth: 4, registers: 4, drop_path: 0, predictor: { depth: 2 } }
clustering: { prototypes: 128 }
train: { batch: 32 }
`,
);

const inspect = (...args: string[]) => capi(['inspect', 'graph', ...args]);
const whole = ['--set', 'engine.teacher_micro_batches=1', '--set', 'engine.student_micro_batches=1'];

function report(...args: string[]): GraphReport {
  const { code, stdout, stderr } = inspect(...args, '--json');
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout) as GraphReport;
}

describe('capi inspect graph', () => {
  it('counts the matrix products that the encoder consists of', () => {
    // 32 px in patches of 4, width 64, 4 blocks, 4 registers; one image.
    const [n, registers, d, depth, patch] = [64, 4, 64, 4, 3 * 4 * 4];
    const t = n + registers;
    const mlp = (rows: number): number => 2 * (2 * rows * d * 4 * d);
    const block = 4 * (2 * t * d * d) + 2 * (2 * t * t * d) + mlp(t);
    const predictor = 2 * (2 * n * d * d) + 2 * (2 * t * d * d) + 2 * (2 * n * t * d) + mlp(n);
    const total = 2 * n * patch * d + depth * block + predictor;
    const { product_gflop: gflop, batch } = report(small, '--program', 'encoder');
    expect(batch).toBe(1);
    expect(gflop * 1e9).toBeGreaterThanOrEqual(total);
    expect(gflop * 1e9).toBeLessThan(1.002 * total); // and the rotary angles, from two coordinates each
    const two = report(small, '--program', 'encoder', '--batch', '2');
    expect(two.product_gflop / gflop).toBeCloseTo(2, 2);
  });

  it('adds up, and a step costs the same in micro-batches', () => {
    const one = report(small, ...whole);
    const sum = (key: 'nodes' | 'gflop' | 'mb'): number => one.kernels.reduce((s, k) => s + k[key], 0);
    expect(sum('nodes')).toBe(one.nodes);
    expect(sum('gflop')).toBeCloseTo(one.gflop, 9);
    expect(sum('mb')).toBeCloseTo(one.mb, 6);
    const parts = report(small, ...whole.map((word) => word.replace(/=1$/, '=4')));
    expect(parts.micro_batches!.shown).toEqual({ teacher: 4, student: 4 });
    expect(parts.nodes).toBeGreaterThan(1.5 * one.nodes);
    expect(parts.activations_mb).toBeLessThan(0.5 * one.activations_mb);
    expect(report(small, '--micro-batch', '8').activations_mb).toBe(parts.activations_mb);
    expect(parts.product_gflop / one.product_gflop).toBeCloseTo(1, 3);
  });

  it('is smaller after the passes', () => {
    const [raw, passed] = [report(small, ...whole, '--raw'), report(small, ...whole)];
    expect(passed.nodes).toBeLessThan(0.8 * raw.nodes);
    expect(passed.mb).toBeLessThan(raw.mb);
    expect([raw.passes, passed.passes]).toEqual([false, true]);
  });

  it('prints a table and the totals', () => {
    const { code, stdout } = inspect(small, '--batch', '64');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^capi_step_64x4 of \S+small\.yaml, 64 images at once$/m);
    expect(stdout).toMatch(/ MB of state, [\d.]+ MB of activations at their peak; after the passes/);
    expect(stdout).toMatch(/^│ kernel +│ nodes +│ +GFLOP +│ +% +│ +MB +│$/m);
    expect(stdout).toMatch(/^│ Product +│ +[\d,]+ +│/m);
    expect(stdout).toMatch(/^│ total +│ +[\d,]+ │/m);
    expect(stdout).toMatch(/^[\d.]+ GFLOP an image, 9\d\.\d % of them in matrix products$/m);
  });

  it('prints the program as text, to the terminal or into a file that it does not overwrite', () => {
    const args = [small, '--program', 'encoder', '--ir'];
    const { stdout } = inspect(...args);
    expect(stdout).toMatch(/^program capi_encoder_64x4_32x32\n {2}input %backbone\.patch_embed\.weight: f32/);
    expect(stdout).toMatch(/^ {2}output global = %\d+\n/m);
    const file = join(folder, 'graph.txt');
    const written = inspect(...args, '--out', file);
    expect(readFileSync(file, 'utf8')).toBe(stdout);
    expect(written.stdout).toContain(`graph written to ${file}`);
    writeFileSync(file, 'mine');
    const refused = inspect(...args, '--out', file);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toBe(
      `error: ${file} exists: name another file with --out, or overwrite it with --force\n`,
    );
    expect(readFileSync(file, 'utf8')).toBe('mine');
    expect(inspect(...args, '--out', file, '--force').code).toBe(0);
    expect(readFileSync(file, 'utf8')).toBe(stdout);
  });

  it.each([
    [['quickstrat'], /no preset "quickstrat"; did you mean quickstart\?/],
    [[small, '--out', 'x'], /--ir/],
    [
      [small, '--set', 'model.patch_size=5'],
      /image_size: the height 32 is not divisible by model.patch_size 5/,
    ],
    [[small, '--set', 'loss.type=dino'], /loss.type is "dino".*; accepted: capi \| capi-mlp \| ibot/],
    [[small, '--program', 'teacher'], /--program/],
  ])('%j is a usage error in one line', (args, expected) => {
    const { code, stdout, stderr } = inspect(...args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(expected);
    expect(stderr.trimEnd()).not.toContain('\n');
  });
});

describe('every preset has a cost', () => {
  it.each(presetNames().filter((name) => name !== 'vit-l-14'))('%s', (preset) => {
    const r = report(preset, ...whole);
    expect(r.product_gflop / r.gflop).toBeGreaterThan(0.9);
  });

  it('vit-l-14 at its published batch, in little memory', () => {
    const { code, stdout, stderr } = capi(['inspect', 'graph', 'vit-l-14', '--json'], {
      // A trace that held the zeros and ones of a step as constants took 1.2 GB; the symbols alone take a fifth.
      NODE_OPTIONS: '--max-old-space-size=400',
    });
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const r = JSON.parse(stdout) as GraphReport;
    expect(r.batch).toBe(16384);
    expect(r.micro_batches!.run.teacher).toBeGreaterThan(r.micro_batches!.shown.teacher);
    const block = 12 * 1024 ** 2 + 2 * 1024; // four projections, an MLP four times as wide, two gains
    const ends = 1024 * 3 * 14 ** 2 + 1024 + 16 * 1024 + 1024; // patch embedding, registers, mask token
    expect(r.parameters).toBe(36 * block + ends + 16384 * 1024 + 16384);
  });
});
