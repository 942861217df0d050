// A report on made records: numbers against SciPy (test/golden/make/report.py), states that are no number, and files that TeX, pandas and a browser read.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capi } from '../cli/capi.js';
import { BrowserPage } from '../support/chromium.js';
import { type MadeCell, type MadeStudy, makeStudy } from '../support/made_study.js';
import { suiteNeeding } from '../support/suites.js';
import { python } from '../support/tools.js';

interface Row {
  difference: number;
  low: number;
  high: number;
  standard_error: number;
  degrees_of_freedom: number;
  p: number;
  p_holm: number;
  image_variance: number;
}
const golden = JSON.parse(readFileSync(join(import.meta.dirname, '../golden/report.json'), 'utf8')) as {
  arms: string[];
  seeds: number;
  classes: number;
  collapsed: string;
  paper: Record<string, number>;
  scores: Record<string, Record<string, number[]>>;
  cls: Record<string, string>;
  seg: Record<string, number[][]>;
  expected: Record<
    string,
    { means: number[]; deviations: number[]; rows: Record<string, Row>; spearman: number; kendall: number }
  >;
};

const folder = mkdtempSync(join(tmpdir(), 'capi-report-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const seeds = Array.from({ length: golden.seeds }, (_, s) => s);

/** Share of right pixels in the counts of an arm and seed: [class, hits, truth, predicted] one after another. */
function pixelAccuracyOf(key: string): number {
  const numbers = golden.seg[key]!.flat();
  const sum = (place: number): number =>
    numbers.filter((_, i) => i % 4 === place).reduce((total, pixels) => total + pixels, 0);
  return sum(1) / sum(2);
}

/** Every arm and seed of the golden study under both evaluations. */
function cellsOf(arm: string, seed: number): MadeCell[] {
  const key = `${arm}/${seed}`;
  const hits = [...golden.cls[key]!].map(Number);
  const state =
    arm === golden.collapsed ? { state: 'collapsed' as const, reason: `collapsed at step 25 of 100` } : {};
  const images = hits.length;
  const value = (column: string): number => golden.scores[column]![arm]![seed]!;
  return [
    {
      arm,
      seed,
      evaluation: 'cls',
      ...state,
      scores: [
        {
          ...{ head: 'attentive', source: 'patches', metric: 'top1', convention: 'any label' },
          ...{ value: value('cls.attentive'), images, hits: { samples: hits.map((_, i) => i), hits } },
        },
      ],
    },
    {
      arm,
      seed,
      evaluation: 'seg',
      ...state,
      scores: [
        {
          ...{
            head: 'knn',
            source: 'patches',
            metric: 'miou',
            convention: 'official',
            value: value('seg.knn'),
            images,
          },
          pixels: { classes: golden.classes, ignore: [], images: golden.seg[key]! },
        },
        {
          head: 'knn',
          source: 'patches',
          metric: 'accuracy',
          convention: '-',
          value: pixelAccuracyOf(key),
          images,
        },
      ],
    },
  ];
}

const made = (): MadeStudy => ({
  title: 'A made study: 100 % & <made>',
  arms: golden.arms.map((name) => {
    const [axis, value] = name.split('=') as [string, string | undefined];
    return {
      name,
      axis: value === undefined ? null : axis,
      values: { a: '0', b: 'z', ...(value ? { [axis]: value } : {}) },
    };
  }),
  seeds,
  cells: golden.arms.flatMap((arm) => seeds.flatMap((seed) => cellsOf(arm, seed))),
  paper: Object.fromEntries(
    golden.arms.map((arm) => [arm, { 'seg.knn': golden.paper[arm]!, 'cls.attentive': golden.paper[arm]! }]),
  ),
});

interface ArmJson extends Omit<Row, 'image_variance'> {
  arm: string;
  mean: number;
  deviation: number;
  n: number;
  states: string[];
}
interface ReportJson {
  reports: {
    files: string[];
    columns: {
      column: string;
      headline: boolean;
      agreement: { arms: number; spearman: number; kendall: number } | null;
      arms: ArmJson[];
    }[];
  }[];
}

/** The study's folder and what --json said of its report. */
const whole = join(folder, 'whole');
let said: ReportJson;
beforeAll(async () => {
  await makeStudy(whole, made());
  const run = capi(['report', whole, '--paper', '--json']);
  expect(run.stderr).toBe('');
  said = JSON.parse(run.stdout) as ReportJson;
});

describe('the numbers', () => {
  it.each(['cls.attentive', 'seg.knn'])(
    '%s: means, deviations and rank correlation are those of SciPy',
    (key) => {
      const column = said.reports[0]!.columns.find((c) => c.column === key)!;
      const wanted = golden.expected[key]!;
      expect(column.headline).toBe(true);
      for (const [i, arm] of column.arms.entries()) {
        expect(arm.mean).toBeCloseTo(wanted.means[i]!, 12);
        expect(arm.deviation).toBeCloseTo(wanted.deviations[i]!, 12);
        expect(arm.n).toBe(3);
      }
      expect(column.agreement!.spearman).toBeCloseTo(wanted.spearman, 10);
      expect(column.agreement!.kendall).toBeCloseTo(wanted.kendall, 10);
    },
  );

  it('cls: intervals and p values are those of SciPy, to 1e-6', () => {
    const column = said.reports[0]!.columns.find((c) => c.column === 'cls.attentive')!;
    for (const arm of column.arms.slice(1)) {
      const wanted = golden.expected['cls.attentive']!.rows[arm.arm]!;
      for (const key of ['difference', 'low', 'high', 'p', 'p_holm'] as const) {
        expect(Math.abs(arm[key] - wanted[key]), `${arm.arm} ${key}`).toBeLessThan(1e-6);
      }
    }
  });

  it('seg: the image bootstrap agrees within its Monte Carlo error', () => {
    // Variances from 1,000 and 4,000 resamples: relative standard error sqrt(2/1000 + 2/4000) = 5 %; four of them.
    const rows = csvOf('summary.csv').filter((row) => row.column === 'seg.knn' && row.difference !== '');
    expect(rows).toHaveLength(4);
    for (const row of rows) {
      const wanted = golden.expected['seg.knn']!.rows[row.arm!]!;
      const seedsPart = wanted.standard_error ** 2 - wanted.image_variance;
      const images = Number(row.standard_error) ** 2 - seedsPart;
      expect(Math.abs(images / wanted.image_variance - 1), row.arm).toBeLessThan(0.2);
      expect(Number(row.difference)).toBeCloseTo(wanted.difference, 12);
      const share = wanted.image_variance / wanted.standard_error ** 2; // of the variance that varies
      expect(Math.abs(Number(row.low) - wanted.low)).toBeLessThan(
        0.15 * share * Math.abs(wanted.high - wanted.low),
      );
    }
  });

  it('columns that are no headline have their differences over seeds alone', () => {
    const other = said.reports[0]!.columns.find((c) => !c.headline)!;
    expect(other.column).toBe('seg.knn.patches.accuracy');
    const mean = (arm: string): number =>
      seeds.reduce((sum, seed) => sum + pixelAccuracyOf(`${arm}/${seed}`), 0) / seeds.length;
    expect(other.arms[1]!.difference).toBeCloseTo(mean(golden.arms[1]!) - mean(golden.arms[0]!), 12);
  });
});

/** Lines of a CSV without quotes inside of what is read here. */
function csvOf(name: string, of = whole): Record<string, string>[] {
  const [head, ...lines] = readFileSync(join(of, name), 'utf8').trimEnd().split('\n');
  const names = head!.split(',');
  return lines.map((line) => Object.fromEntries(line.split(',').map((value, i) => [names[i]!, value])));
}

describe('what is no number', () => {
  const partial = join(folder, 'partial');
  let text: string;
  beforeAll(async () => {
    const study = made();
    const change = (arm: string, seed: number, to: Partial<MadeCell>): void => {
      for (const cell of study.cells) if (cell.arm === arm && cell.seed === seed) Object.assign(cell, to);
    };
    change('a=1', 1, { absent: true });
    change('a=2', 2, { absent: 'error: the disk | is full' });
    change('b=x', 0, { state: 'diverged', reason: 'training diverged: NaN', scores: [] });
    await makeStudy(partial, study);
    const run = capi(['report', partial, '--format', 'md,csv']);
    expect(run.code, run.stderr).toBe(0);
    text = readFileSync(join(partial, 'report.md'), 'utf8');
  });

  it('is said: collapsed, diverged, failed, missing, and how many seeds a mean has', () => {
    expect(text).toContain('b=y, seed 0: collapsed at step 25 of 100; evaluated as it stood then');
    expect(text).toContain('b=x, seed 0: training diverged: NaN');
    expect(text).toContain('a=2, seed 2: cls, seg failed: error: the disk | is full');
    expect(text).toContain('not run yet: cls, seg of seed 1: a=1');
    expect(text).toMatch(/\| 1 \| [\d.]+ ± [\d.]+ \(2\)/);
    expect(text).toMatch(/\| x \| .*\(2\), diverged/);
    const states = csvOf('summary.csv', partial).map(({ arm, states }) => `${arm}: ${states}`);
    expect(states).toContain('a=1: done missing done');
    expect(states).toContain('a=2: done done failed');
  });

  it('one seed: the words stand beside the interval', async () => {
    const single = join(folder, 'single');
    const study = made();
    await makeStudy(single, { ...study, seeds: [0], cells: study.cells.filter(({ seed }) => seed === 0) });
    const run = capi(['report', single, '--format', 'md']);
    expect(run.stdout).toContain('interval over test images only');
  });
});

describe('refusals', () => {
  it('other protocols among the rows, unless told to go on with a footnote', async () => {
    const mixed = join(folder, 'mixed');
    const study = made();
    for (const cell of study.cells) if (cell.arm === 'a=1') cell.protocol = 'another';
    await makeStudy(mixed, study);
    const refused = capi(['report', mixed]);
    expect(refused.code).toBe(4);
    expect(refused.stderr).toMatch(
      /a=1 and base, a=2.* were evaluated under different protocols \(settings differ\).*--mixed-protocols/,
    );
    const told = capi(['report', mixed, '--mixed-protocols', '--format', 'md']);
    expect(told.code).toBe(0);
    expect(told.stdout).toContain('were evaluated under different protocols');
  });

  it.each([
    [[folder], 2, /holds no ablation/],
    [['--format', 'pdf'], 2, /--format pdf: accepted: md, csv, latex, html/],
  ])('%j', (args, code, message) => {
    const run = capi(['report', ...(args[0] === folder ? args : [whole, ...args])]);
    expect(run.code).toBe(code);
    expect(run.stderr).toMatch(message);
  });

  it('a torn record is a cell that failed, by name; a changed one is refused', async () => {
    const damaged = join(folder, 'damaged');
    await makeStudy(damaged, made());
    writeFileSync(join(damaged, 'cells/base_0_seg/cell.json'), '{"schema": 1');
    const run = capi(['report', damaged, '--format', 'csv']);
    expect(run.code, run.stderr).toBe(0);
    expect(run.stdout).toMatch(/seg failed: .*base_0_seg\/cell\.json is torn/);
    expect(run.stdout).toContain('(2), 1 failed');
    const file = join(damaged, 'cells/base_1_seg/cell.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace('"seed": 1', '"seed": 2'));
    const changed = capi(['report', damaged, '--format', 'csv']);
    expect(changed.code).toBe(4);
    expect(changed.stderr).toMatch(/base_1_seg\/cell\.json was changed/);
  });
});

suiteNeeding('latex')('LaTeX', () => {
  it('compiles without complaint and shows every arm', () => {
    const run = spawnSync('pdflatex', ['-interaction=nonstopmode', '-halt-on-error', 'report.tex'], {
      cwd: whole,
      encoding: 'utf8',
    });
    expect(run.status, run.stdout.slice(-2000)).toBe(0);
    expect(run.stdout).toMatch(/Output written on report\.pdf/);
    expect(run.stdout).not.toMatch(/Overfull|Missing character|LaTeX Warning: (Reference|Citation)/);
    const text = readFileSync(join(whole, 'tables.tex'), 'utf8');
    expect(text).toContain('\\toprule');
    expect(text).toContain('collapsed');
  });
});

suiteNeeding('pandas')('CSV in pandas', () => {
  it('has the right types and values', () => {
    const code = `
import json, sys, pandas as pd
rows, summary = pd.read_csv(sys.argv[1] + "/rows.csv"), pd.read_csv(sys.argv[1] + "/summary.csv")
print(json.dumps({"types": {c: str(rows[c].dtype) for c in rows.columns}, "summary": {c: str(summary[c].dtype) for c in summary.columns},
  "n": len(rows), "means": rows[rows["head"].eq("attentive")].groupby("arm", sort=False)["value"].mean().to_dict(),
  "commands": rows["pretrain_command"].iloc[0]}))`;
    const out = JSON.parse(execFileSync(python, ['-c', code, whole], { encoding: 'utf8' }));
    expect(out.n).toBe(5 * 3 * 3);
    for (const column of ['value', 'low', 'high', 'seconds_training', 'flop_per_step'])
      expect(out.types[column], column).toMatch(/^(float|int)64$/);
    for (const column of ['seed', 'probe_seed', 'baseline', 'test_images', 'steps'])
      expect(out.types[column], column).toBe('int64');
    for (const column of ['arm', 'state', 'head', 'axis_a'])
      expect(out.types[column], column).toMatch(/^(object|str|string|int64)$/);
    for (const column of ['mean', 'difference', 'low', 'p_holm', 'paper_percent'])
      expect(out.summary[column], column).toBe('float64');
    for (const [i, arm] of golden.arms.entries())
      expect(out.means[arm]).toBeCloseTo(golden.expected['cls.attentive']!.means[i]!, 12);
    expect(out.commands).toBe('capi pretrain base & more');
  });
});

suiteNeeding('chromium')('the page in a browser', () => {
  it('opens without a complaint or a request, sorts by a click, and shows charts', async () => {
    const page = await BrowserPage.open();
    try {
      await page.go(pathToFileURL(join(whole, 'report.html')).href);
      const column = `[...document.querySelector('table').tBodies[0].rows].map((r) => Number(r.children[1].dataset.value))`;
      const first = await page.value<string>(`document.querySelector('table').tBodies[0].rows[0].className`);
      expect(first).toBe('baseline');
      const click = `document.querySelector('table').querySelectorAll('th button')[1].click()`;
      await page.value(click);
      const down = await page.value<number[]>(column);
      expect(down).toEqual([...down].sort((a, b) => b - a));
      await page.value(click);
      const up = await page.value<number[]>(column);
      expect(up).toEqual([...up].sort((a, b) => a - b));
      expect(
        await page.value<string>(`document.querySelector('th[aria-sort]').getAttribute('aria-sort')`),
      ).toBe('ascending');
      expect(await page.value<number>(`document.querySelectorAll('figure > svg').length`)).toBeGreaterThan(5);
      expect(await page.value<string>(`document.querySelector('h1').textContent`)).toBe(
        'A made study: 100 % & <made>',
      );
      const wide = await page.value<boolean>(`document.documentElement.scrollWidth <= window.innerWidth`);
      expect(wide).toBe(true);
      expect(page.complaints).toEqual([]);
      expect(page.requests.filter((url) => !url.startsWith('file:') && !url.startsWith('data:'))).toEqual([]);
    } finally {
      await page.close();
    }
  });
});

describe('charts', () => {
  it('are text that scales, and pictures of the same name', () => {
    const files = said.reports[0]!.files.filter((file) => file.startsWith('charts/'));
    const svgs = files.filter((file) => file.endsWith('.svg'));
    expect(svgs.map((file) => file.replace('.svg', '.png')).sort()).toEqual(
      files.filter((file) => file.endsWith('.png')).sort(),
    );
    for (const kind of [
      'scores-seg.knn',
      'scores-cls.attentive',
      'cost-seg.knn',
      'axis-seg.knn-a',
      'loss-a',
      'entropy-b',
    ]) {
      const svg = readFileSync(join(whole, `charts/${kind}.svg`), 'utf8');
      expect(svg).toMatch(/^<svg [^>]*viewBox/);
      expect(svg).toMatch(/<text /);
      expect(svg).not.toMatch(/NaN|Infinity|undefined/);
      const png = readFileSync(join(whole, `charts/${kind}.png`));
      expect(png.subarray(1, 4).toString()).toBe('PNG');
      expect(png.readUInt32BE(16)).toBeGreaterThan(800); // twice the size of the drawing
    }
  });
});
