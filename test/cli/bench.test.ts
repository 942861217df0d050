// capi bench: every benchmark runs at small sizes, its record says what was timed, its ratios are what the times say, and both sides compute the same. Nothing here looks at speed.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { hasBfloat16, instructionSets } from '../../src/bench/machine.js';
import {
  type BenchRecord,
  benchRecordSchema,
  type Comparison,
  type Row,
  writeBenchRecord,
} from '../../src/bench/record.js';
import { suiteNeeding } from '../support/suites.js';
import { python } from '../support/tools.js';
import { capi, root } from './capi.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-bench-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Loading torch takes a few seconds in each contender, a minute on a busy machine. */
const PATIENCE = 600_000;

/** Runs `capi bench ARGS --quick` in an empty folder of records, and reads what it wrote. */
function bench(args: string[], pythonFlag = python): BenchRecord {
  const out = mkdtempSync(join(folder, 'records-'));
  const common = ['--quick', '--threads', '1', '--json', '--out', out, '--pytorch', pythonFlag];
  const { code, stdout, stderr } = capi(['bench', ...args, ...common]);
  expect(code, stderr + stdout).toBe(0);
  const { file, ...printed } = JSON.parse(stdout);
  expect(readdirSync(out)).toEqual([file.slice(out.length + 1)]);
  const record = benchRecordSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  expect(printed).toEqual(record);
  checkRecord(record);
  return record;
}

const median = (values: number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
};
/** Records are rounded to five digits. */
const near = (x: number, y: number): void => expect(Math.abs(x - y)).toBeLessThanOrEqual(2e-4 * Math.abs(y));

function checkRecord(record: BenchRecord): void {
  expect(record.quick).toBe(true);
  expect(record.rounds).toBe(2);
  expect(record.threads).toBe(1);
  expect(record.machine).toMatchObject({ cpu: expect.any(String), flags: expect.any(Array) });
  expect(record.machine.memory_gib).toBeGreaterThan(0);
  expect(record.environment).toMatchObject({
    node: process.version,
    command: expect.stringContaining('bench'),
  });
  for (const c of record.comparisons) checkComparison(c);
}

function checkComparison(c: Comparison): void {
  const [own, ...rivals] = c.rows as [Row, ...Row[]];
  expect(own.ratio).toBeNull();
  for (const row of c.rows) {
    expect(row.rounds).toHaveLength(2);
    near(row.ms.median, median(row.rounds));
    expect(row.ms.range).toEqual([Math.min(...row.rounds), Math.max(...row.rounds)]);
    if (c.gflop !== null) near(row.gflops!, c.gflop / (row.ms.median / 1000));
    if (c.gemm && row.gflops !== null) near(row.share_of_gemm!, row.gflops / c.gemm.best_gflops);
  }
  for (const row of rivals) {
    for (const [i, ratio] of row.ratio!.rounds.entries()) near(ratio, row.rounds[i]! / own.rounds[i]!);
    near(row.ratio!.median, median(row.ratio!.rounds));
  }
  if (c.best_rival) {
    const named = rivals.filter(({ name }) => c.best_rival!.of.includes(name));
    expect(named).toHaveLength(c.best_rival.of.length);
    for (const [i, ratio] of c.best_rival.rounds.entries()) {
      near(ratio, Math.min(...named.map((row) => row.rounds[i]!)) / own.rounds[i]!);
    }
    near(c.best_rival.median, median(c.best_rival.rounds));
  }
  for (const { value, tolerance } of c.agreement) {
    if (tolerance !== null) expect(value).toBeLessThanOrEqual(tolerance);
  }
}

const namesOf = (c: Comparison): string[] => c.rows.map(({ name }) => name);

suiteNeeding('python')('capi bench beside Python', () => {
  it(
    'pretrain: times, T*, memory, the same losses, bfloat16 marked where it is emulated',
    () => {
      const { comparisons } = bench([
        'pretrain',
        'vit-s',
        '--no-compile',
        '--set',
        'engine.student_micro_batches=2',
      ]);
      const c = comparisons[0]!;
      expect(namesOf(c)).toEqual(['capi', 'PyTorch eager', 'PyTorch eager, bfloat16 autocast']);
      expect(c.best_rival!.of).toEqual(['PyTorch eager']);
      expect(c.sizes['drop path']).toBe(0.2);
      // Both sides drop the same paths and update alike: rounding alone.
      expect(c.agreement[0]!.value).toBeLessThan(1e-4);
      expect(c.rows[2]!.note).toMatch(hasBfloat16(instructionSets()) ? /^other precision$/ : /^emulated/);
      const eager = c.rows[1]!.peak_mib!;
      for (const row of c.rows) near(row.peak_ratio!, row.peak_mib! / eager);
      const { bound } = c;
      near(bound!.ratio, bound!.best_products_ms / bound!.step_ms);
      expect(bound!.step_ms).toBe(c.rows[0]!.ms.median);
      near(
        bound!.best_products_ms,
        bound!.shapes.reduce((ms, s) => ms + s.count * s.best_ms, 0),
      );
      let flop = 0;
      for (const s of bound!.shapes) {
        near(s.best_ms, Math.min(s.capi_ms, s.pytorch_ms!));
        near(s.capi_gflops, (2 * s.m * s.k * s.n * s.batch) / s.capi_ms / 1e6);
        flop += 2 * s.m * s.k * s.n * s.batch * s.count;
      }
      // The record's operations count the additions of a product that adds, too.
      expect(flop / 1e9 / c.gflop!).toBeGreaterThan(0.98);
      expect(flop / 1e9 / c.gflop!).toBeLessThanOrEqual(1);
    },
    PATIENCE,
  );

  it(
    'extract: the same features',
    () => {
      const [c] = bench(['extract', 'step']).comparisons;
      expect(namesOf(c!)).toEqual(['capi', 'PyTorch eager, inference_mode']);
      expect(c!.agreement).toHaveLength(1);
      expect(c!.agreement[0]!.tolerance).toBe(1e-4);
      near(c!.rows[0]!.per_second!, (1000 * Number(c!.sizes.batch)) / c!.rows[0]!.ms.median);
    },
    PATIENCE,
  );

  it(
    'probes: the same losses of every head, stacked and as modules, on stored features and behind the encoder',
    () => {
      for (const kind of ['stored', 'encoder']) {
        const [c] = bench(['probes', kind]).comparisons;
        expect(c!.rows).toHaveLength(4);
        expect(c!.agreement).toHaveLength(2);
        for (const { value } of c!.agreement) expect(value).toBeLessThan(1e-4);
      }
    },
    PATIENCE,
  );

  it(
    'knn: the same neighbours',
    () => {
      const [c] = bench(['knn']).comparisons;
      expect(namesOf(c!)).toEqual(['capi', 'PyTorch', 'scikit-learn']);
      expect(c!.agreement).toHaveLength(2);
    },
    PATIENCE,
  );

  it(
    'logreg: objectives within 0.1 % of the minimum',
    () => {
      const [c] = bench(['logreg']).comparisons;
      expect(namesOf(c!)).toEqual(['capi', 'PyTorch', 'scikit-learn']);
      expect(c!.agreement.map((a) => a.tolerance)).toEqual([1e-3, 1e-3, 1e-3]);
    },
    PATIENCE,
  );

  it(
    'decode: the same pixels, as bytes and as floats',
    () => {
      const { comparisons } = bench(['decode']);
      expect(comparisons).toHaveLength(4);
      for (const c of comparisons) {
        expect(c.rows.map(({ threads }) => threads)).toEqual([1, 1, 1]);
        expect(c.agreement[0]!.value).toBeLessThan(1);
      }
    },
    PATIENCE,
  );

  it(
    'startup: help beside importing torch, the first step beside building the model there',
    () => {
      const { comparisons } = bench(['startup']);
      expect(comparisons.map(namesOf)).toEqual([
        ['capi --help', 'python -c "import torch"'],
        ['capi pretrain', 'PyTorch eager'],
      ]);
    },
    PATIENCE,
  );

  it(
    'names a python that does not start, and writes no record',
    () => {
      const out = join(folder, 'none');
      const { code, stderr } = capi(['bench', 'extract', '--quick', '--out', out, '--pytorch', '/no/python']);
      expect(code).toBe(2);
      expect(stderr).toMatch(
        /inference_mode did not run with \/no\/python \(.*ENOENT.*\): install benchmarks\/speed\/pytorch\/requirements\.txt there/,
      );
      expect(existsSync(out)).toBe(false);
    },
    PATIENCE,
  );
});

describe('capi bench without Python', () => {
  it(
    'times capi alone along an axis, and says so',
    () => {
      const { comparisons } = bench(['pretrain', '--scan', 'batch', '--values', '2,4'], 'none');
      expect(comparisons.map((c) => c.sizes.batch)).toEqual([2, 4]);
      for (const c of comparisons) {
        expect(namesOf(c)).toEqual(['capi']);
        expect(c.best_rival).toBeNull();
        expect(c.notes.join()).toContain('only capi was timed');
        near(c.gemm!.best_gflops, c.gemm!.capi_gflops);
      }
    },
    PATIENCE,
  );

  it('refuses values that are no sizes', () => {
    const { code, stderr } = capi(['bench', 'pretrain', '--scan', 'width', '--values', '64,many']);
    expect(code).toBe(2);
    expect(stderr).toContain('--values 64,many: accepted: whole numbers above 0');
  });
});

describe('records', () => {
  it('are never replaced', async () => {
    const record: BenchRecord = {
      ...{ schema: 1, benchmark: 'none', created: '2026-01-02T03:04:05.678Z', seconds: 1, quick: true },
      ...{ rounds: 1, threads: 1, machine: {}, environment: {}, comparisons: [] },
    };
    const out = mkdtempSync(join(folder, 'twice-'));
    await writeBenchRecord(out, record);
    await writeBenchRecord(out, { ...record, seconds: 2 });
    const names = ['none-2026-01-02T03-04-05-2.json', 'none-2026-01-02T03-04-05.json'];
    expect(readdirSync(out).sort()).toEqual(names.sort());
    expect(JSON.parse(readFileSync(join(out, 'none-2026-01-02T03-04-05.json'), 'utf8')).seconds).toBe(1);
  });

  it('know the processors that multiply bfloat16', () => {
    const flags = (line: string) => instructionSets(`processor\t: 0\nflags\t\t: ${line}\nbugs\t\t:\n`);
    expect(flags('fpu avx2 fma avx512f')).toEqual(['fma', 'avx2', 'avx512f']);
    expect(hasBfloat16(flags('fpu avx2 avx512_bf16'))).toBe(true);
    expect(hasBfloat16(flags('amx_bf16 amx_tile'))).toBe(true);
    expect(hasBfloat16(flags('fpu avx2 avx512_vnni'))).toBe(false);
    expect(instructionSets('')).toEqual([]);
  });
});

it('the sizes of the benchmark are files of the checkout', () => {
  for (const name of ['step', 'vit-s'])
    expect(existsSync(join(root, `benchmarks/speed/${name}.yaml`))).toBe(true);
});
