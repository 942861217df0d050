// What must be said beside a number reaches every format, and so does the command that makes the report again; intervals that cannot be known are blank.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import { renderSvg } from '../../src/images/index.js';
import { type WrittenReport, writeReport } from '../../src/report/write.js';
import { readCsv } from '../support/csv.js';
import { type MadeCell, type MadeStudy, makeStudy } from '../support/made_study.js';

const folder = mkdtempSync(join(tmpdir(), 'capi-caveats-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const IMAGES = 60;
const SEEDS = [0, 1, 2];
const hitsOf = (arm: string, seed: number): number[] => {
  const random = stream(seed, arm);
  return Array.from({ length: IMAGES }, () => Number(random.next() < 0.6));
};
const share = (hits: number[]): number => hits.reduce((a, b) => a + b, 0) / hits.length;

/** Top-1 of two heads: the headline, and one that is none. */
function cell(arm: string, seed: number, more: Partial<MadeCell> = {}): MadeCell {
  const scores = ['attentive', 'linear'].map((head) => {
    const hits = hitsOf(arm + head, seed);
    return {
      ...{
        head,
        source: 'patches',
        metric: 'top1',
        convention: 'any label',
        value: share(hits),
        images: IMAGES,
      },
      hits: { samples: hits.map((_, i) => i), hits },
    };
  });
  return { arm, seed, evaluation: 'cls', scores, ...more };
}

const study = (cells: MadeCell[], seeds: number[] = SEEDS): MadeStudy => ({
  design: 'named',
  seeds,
  cells,
  arms: [...new Set(cells.map(({ arm }) => arm))].map((name) => ({ name, axis: null, values: {} })),
});

interface ArmJson {
  arm: string;
  mean: number | null;
  best: boolean;
  low: number | null;
  high: number | null;
  p: number | null;
  images: { low: number; high: number } | null;
  caveats: { kind: string; text: string }[];
}

interface Made {
  json: Omit<WrittenReport, 'columns'> & { columns: { column: string; arms: ArmJson[] }[] };
  md: string;
  html: string;
  tex: string;
  chart: string;
  rows: Record<string, string>[];
  summary: Record<string, string>[];
}

async function report(name: string, made: MadeStudy, mixed = false): Promise<Made> {
  const out = join(folder, name);
  await makeStudy(out, made);
  const format = 'md,csv,latex,html';
  const { written } = await writeReport(out, { format, paper: false, mixed, png: renderSvg });
  const text = (file: string): string => readFileSync(join(out, file), 'utf8');
  const csv = (file: string): Record<string, string>[] => readCsv(text(file));
  return {
    json: written as Omit<WrittenReport, 'columns'> & Pick<Made['json'], 'columns'>,
    md: text('report.md'),
    html: text('report.html'),
    tex: text('tables.tex'),
    chart: existsSync(join(out, 'charts/scores-cls.attentive.svg'))
      ? text('charts/scores-cls.attentive.svg')
      : '',
    rows: csv('rows.csv'),
    summary: csv('summary.csv'),
  };
}

const armOf = ({ json }: Made, arm: string, column = 'cls.attentive'): ArmJson =>
  json.columns.find((c) => c.column === column)!.arms.find((a) => a.arm === arm)!;
const width = ({ low, high }: { low: number | null; high: number | null }): number => high! - low!;

describe('every caveat in every format', () => {
  let made: Made;
  beforeAll(async () => {
    const all = (arm: string, of: (seed: number) => Partial<MadeCell> = () => ({})): MadeCell[] =>
      SEEDS.map((seed) => cell(arm, seed, of(seed)));
    const reason = 'collapsed at step 25';
    made = await report(
      'all',
      study([
        ...all('base'),
        ...all('lacking', (seed) => (seed === 2 ? { absent: true } : {})),
        ...all('single', (seed) => (seed > 0 ? { absent: true } : {})),
        ...all('broken', (seed) => (seed === 1 ? { absent: 'no space' } : {})),
        ...all('fallen', (seed) => (seed === 1 ? { state: 'collapsed', reason } : {})),
        ...all('away', (seed) => (seed === 0 ? { state: 'diverged', reason: 'NaN', scores: [] } : {})),
        ...all('other', () => ({ protocol: 'another' })),
      ]),
      true,
    );
  });

  it.each([
    ['lacking', 'not run', '(2), 1 not run', /\(2\)\}\$\^\{\\ddagger\}\$/, '1 of 3 seeds not run', 'not run'],
    ['single', 'seeds', '(1), 2 not run', /\(1\)\}\$\^\{\\ddagger\}\$/, '1 of 3 seeds', 'not run'],
    [
      'broken',
      'failed',
      '(2), 1 failed',
      /\(2\)\}\$\^\{\\ddagger\}\$/,
      '1 of 3 seeds failed',
      'failed: no space',
    ],
    [
      'fallen',
      'collapsed',
      ', collapsed',
      /\$\^\{\\dagger\}\$/,
      'collapsed in 1 of 3 seeds',
      'collapsed at step 25',
    ],
    [
      'away',
      'collapsed',
      '(2), diverged',
      /\(2\)\}\$\^\{\\dagger\}\$/,
      'diverged in 1 of 3 seeds',
      'diverged: NaN',
    ],
    ['other', 'protocol', ', other protocol', /\$\^\{\\S\}\$/, 'different protocols', 'different protocols'],
  ])('%s: %s', (arm, kind, words, mark, text, row) => {
    expect(made.md.split('\n').find((line) => line.startsWith(`| ${arm} |`))).toContain(words);
    expect(made.html).toMatch(new RegExp(`<td>${arm}</td><td[^>]*>[^<]*${words.replace(/[()]/g, '\\$&')}`));
    expect(made.tex.split('\n').find((line) => line.startsWith(`${arm} &`))).toMatch(mark);
    expect(made.chart).toContain(`>${arm}${words.startsWith(',') ? '' : ' '}${words}<`);
    const summary = made.summary.filter((line) => line.arm === arm);
    expect(summary).toHaveLength(2);
    for (const line of summary) expect(line.caveats).toContain(text);
    expect(made.rows.filter((line) => line.arm === arm && line.caveats!.includes(row))).not.toHaveLength(0);
    expect(armOf(made, arm).caveats.map((c) => c.kind)).toContain(kind);
    expect(
      armOf(made, arm)
        .caveats.map((c) => c.text)
        .join(),
    ).toContain(text);
  });

  it('notes and marks are explained, and an arm without caveats has none', () => {
    for (const of of [made.md, made.html, made.tex]) {
      expect(of).toContain('different protocols');
      expect(of).toContain('not run yet: cls of seed 2: lacking');
    }
    expect(made.tex).toContain('$^{\\ddagger}$: not run, or failed');
    expect(armOf(made, 'base').caveats).toEqual([]);
    expect(made.summary.find((line) => line.arm === 'base')!.caveats).toBe('');
  });

  it('the command makes the same report again', () => {
    for (const of of [made.md, made.html, made.tex, made.json.command])
      expect(of).toContain(`capi report ${join(folder, 'all')} --mixed-protocols`);
  });

  it('an arm of another protocol is never best', () => {
    for (const column of made.json.columns) {
      expect(column.arms.find(({ arm }) => arm === 'other')!.best).toBe(false);
    }
  });

  it('one seed is not more certain than two', () => {
    expect(width(armOf(made, 'single'))).toBeGreaterThan(width(armOf(made, 'lacking')));
  });
});

describe('intervals', () => {
  it('are blank in a study of one seed; that over the images stands apart and is named', async () => {
    const made = await report('one', study([cell('base', 0), cell('arm', 0)], [0]));
    const arm = armOf(made, 'arm');
    expect([arm.low, arm.high, arm.p]).toEqual([null, null, null]);
    expect(arm.images!.high).toBeGreaterThan(arm.images!.low);
    expect(made.md).toMatch(/\| arm \| [^|]*\(1\)[^|]*\| [^|]*\(test images alone: \[[^|]*\]\) \|/);
    const line = made.summary.find((l) => l.arm === 'arm')!;
    expect([line.low, line.high, line.standard_error, line.p, line.p_holm]).toEqual(['', '', '', '', '']);
    expect(Number(line.standard_error_images)).toBeGreaterThan(0);
    expect(made.tex).not.toContain('$^{*}$');
  });

  it('of a score that is no headline count test images: no narrower than the images alone', async () => {
    const made = await report(
      'two',
      study(
        ['base', 'arm'].flatMap((arm) => [0, 1].map((s) => cell(arm, s))),
        [0, 1],
      ),
    );
    for (const line of made.summary.filter((l) => l.arm === 'arm')) {
      // Of hits the image variance is known: that of the seed-averaged differences over their number.
      const head = line.column!.includes('linear') ? 'linear' : 'attentive';
      const mean = (arm: string, i: number): number =>
        (hitsOf(arm + head, 0)[i]! + hitsOf(arm + head, 1)[i]!) / 2;
      const d = Array.from({ length: IMAGES }, (_, i) => mean('arm', i) - mean('base', i));
      const m = share(d);
      const images = d.reduce((sum, x) => sum + (x - m) ** 2, 0) / IMAGES ** 2;
      expect(Number(line.standard_error_images) ** 2).toBeCloseTo(images, 12);
      const spread = ['base', 'arm'].map((arm) => {
        const [a, b] = [share(hitsOf(arm + head, 0)), share(hitsOf(arm + head, 1))];
        return (a - b) ** 2 / 2;
      });
      const seeds = (spread[0]! + spread[1]!) / 2;
      expect(Number(line.standard_error) ** 2).toBeCloseTo(images + seeds, 12);
    }
  });

  it('are blank, and said to be, where a cell has no per-image counts', async () => {
    const cells = ['base', 'arm'].flatMap((arm) =>
      [0, 1].map((s) => cell(arm, s, { uncounted: arm !== 'base' && s === 1 })),
    );
    const made = await report('uncounted', study(cells, [0, 1]));
    const arm = armOf(made, 'arm');
    expect([arm.low, arm.high, arm.p, arm.images]).toEqual([null, null, null, null]);
    for (const of of [made.md, made.html, made.tex, made.json.notes.join()])
      expect(of).toMatch(/no interval of cls\.attentive for arm: there are no per-image counts/);
    expect(made.summary.find((l) => l.arm === 'arm')!.caveats).toContain('no interval');
  });

  it('every tie with the best as printed is bold, and only they', async () => {
    const tied = [0, 1, 2].flatMap((i) =>
      [0, 1].map((seed) => {
        const made = cell(`a${i}`, seed, { uncounted: true });
        for (const score of made.scores) score.value = [0.5, 0.50004, 0.4][i]!;
        return made;
      }),
    );
    const made = await report('ties', study(tied, [0, 1]));
    expect(['a0', 'a1', 'a2'].map((arm) => armOf(made, arm).best)).toEqual([true, true, false]);
    expect(made.md.match(/\*\*50\.0 ± 0\.0\*\*/g)).toHaveLength(2);
    expect(made.tex.match(/\\textbf\{50\.0/g)).toHaveLength(2);
    expect(made.html.match(/class="best">50\.0/g)!.length).toBe(4); // the headline, and the other score
    expect(made.summary.filter(({ best }) => best === '1').map(({ arm }) => arm)).toEqual([
      'a0',
      'a1',
      'a0',
      'a1',
    ]);
  });
});

describe('a score that is a number, and the better the lower', () => {
  const errors = (arm: string, seed: number): number[] =>
    Array.from({ length: IMAGES }, (_, i) => 2 + ((i * (arm.length + 1) + seed) % 9) / (2 + arm.length));
  const depth = (arm: string, seed: number): MadeCell => {
    const rmse = errors(arm, seed);
    const delta1 = rmse.map((x) => 1 / x);
    const counted = { samples: rmse.map((_, i) => i), scores: { rmse, delta1 } };
    const score = { head: 'bins', source: 'patches', convention: '-', images: IMAGES };
    const scores = [
      { ...score, metric: 'rmse', value: share(rmse), values: counted },
      { ...score, metric: 'delta1', value: share(delta1) },
    ];
    return { arm, seed, evaluation: 'depth', scores };
  };
  const arms = ['base', 'better'];
  let made: Made;
  beforeAll(async () => {
    made = await report('number', study(arms.flatMap((arm) => SEEDS.map((seed) => depth(arm, seed)))));
  });
  const means = arms.map((arm) => share(SEEDS.map((seed) => share(errors(arm, seed)))));

  it('is printed as it is beside shares in per cent, each headline in a column of its own', () => {
    expect(made.json.columns.map(({ column }) => column)).toEqual(['depth.bins', 'depth.bins.delta1']);
    const [base, better] = arms.map((arm) => made.md.split('\n').find((l) => l.startsWith(`| ${arm}`))!);
    expect(base).toContain(`| ${means[0]!.toFixed(3)} ± `);
    expect(better).toContain(`| **${means[1]!.toFixed(3)} ± `);
    expect(better).toContain(`| \u2212${(means[0]! - means[1]!).toFixed(3)} [`);
    expect(better).toMatch(/\| \*\*\d\d\.\d ± /); // of the share the highest is best
  });

  it('has the difference and the error over images that its values give', () => {
    const differences = errors('base', 0).map((_, i) =>
      share(SEEDS.map((seed) => errors('better', seed)[i]! - errors('base', seed)[i]!)),
    );
    const squares = differences.reduce((sum, x) => sum + (x - share(differences)) ** 2, 0);
    const line = made.summary.find(({ arm, column }) => arm === 'better' && column === 'depth.bins')!;
    expect(Number(line.standard_error_images)).toBeCloseTo(Math.sqrt(squares) / IMAGES, 12);
    expect(Number(line.difference)).toBeCloseTo(means[1]! - means[0]!, 12);
  });
});
