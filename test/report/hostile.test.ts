// Names that mean something to LaTeX, a browser, Markdown, a spreadsheet or a terminal are only shown by a report.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { csvText } from '../../src/base/csv.js';
import { renderSvg } from '../../src/images/index.js';
import { escapeLatex, escapeLong } from '../../src/report/formats/latex_text.js';
import { escapeMarkdown } from '../../src/report/formats/markdown.js';
import { writeReport } from '../../src/report/write.js';
import { BrowserPage } from '../support/chromium.js';
import { readCsv } from '../support/csv.js';
import { makeStudy } from '../support/made_study.js';
import { suiteNeeding } from '../support/suites.js';
import { python } from '../support/tools.js';

const NAMES = [
  '[0.5,2]',
  '*ours (µ=0.5, Größe 8×8)',
  'λ → 0 −− é',
  '漢字',
  '\\ & % $ # _ { } ~ ^ | " < >',
  '\\input{secret}',
  'two\nlines\r\x1b[31m',
  '<script>document.title = "run"</script>',
  '"><img src=x onerror="document.title = 1">',
  '=1+1',
  '-SUM(A1)',
  `long ${'x'.repeat(90)}`,
];
const folder = mkdtempSync(join(tmpdir(), 'capi-hostile-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const text = (file: string): string => readFileSync(join(folder, file), 'utf8');

beforeAll(async () => {
  const score = { head: 'attentive', source: 'patches', metric: 'top1', convention: 'any label', images: 40 };
  await makeStudy(folder, {
    title: `Names\nof ${NAMES.join(' ')}`,
    design: 'named',
    seeds: [0, 1],
    arms: NAMES.map((name) => ({ name, axis: null, values: {} })),
    cells: NAMES.flatMap((arm, a) =>
      [0, 1].map((seed) => {
        const hits = Array.from({ length: 40 }, (_, i) => Number((i * (a + 3) + seed) % 7 < 4));
        const value = hits.reduce((x, y) => x + y, 0) / 40;
        return {
          arm: `${arm}`,
          ...{ seed, evaluation: 'cls' as const },
          scores: [{ ...score, value, hits: { samples: hits.map((_, i) => i), hits } }],
        };
      }),
    ),
  });
  await writeReport(folder, {
    format: 'md,csv,latex,html',
    paper: false,
    mixed: false,
    png: renderSvg,
  });
});

describe('text', () => {
  it('for LaTeX', () => {
    expect(escapeLatex('[a')).toBe('{}[a');
    expect(escapeLatex('*a')).toBe('{}*a');
    expect(escapeLatex('µ é ç ñ ß Ø β')).toBe("$\\mu$ \\'{e} \\c{c} \\~{n} \\ss{} \\O{} $\\beta$");
    expect(escapeLatex('e\u0301 í')).toBe("\\'{e} \\'{\\i}");
    expect(escapeLatex('漢')).toBe('{}[U+6F22]');
    expect(escapeLatex('a--b')).toBe('a-{}-b');
    expect(escapeLong(`a ${'x'.repeat(45)}`)).toMatch(/^a x{20}\\hspace\{0pt\}x{20}\\hspace\{0pt\}x{5}$/);
  });

  it('for Markdown', () => {
    expect(escapeMarkdown('<b>*x* [y](z) a_b _c_\n| $m$ `d`')).toBe(
      '&lt;b>\\*x\\* \\[y\\](z) a_b \\_c\\_\\\\n| \\$m\\$ \\`d\\`',
    );
    expect(escapeMarkdown('# head')).toBe('\\# head');
    expect(escapeMarkdown('1. item')).toBe('1\\. item');
  });

  it('for spreadsheets: formulas are text, numbers stay numbers', () => {
    const values = [
      '=1',
      '+a',
      '-a',
      '@a',
      '\t=1',
      ' =1',
      '\uff1d1',
      '-0.5',
      '+1e3',
      '-',
      'a=b',
      -2,
      Number.NaN,
    ];
    const found = readCsv(csvText(values.map((value) => ({ value })))).map(({ value }) => value);
    const guarded = ["'=1", "'+a", "'-a", "'@a", '\\t=1', "' =1", "'\uff1d1"];
    expect(found).toEqual([...guarded, '-0.5', '+1e3', '-', 'a=b', '-2', '']);
  });
});

describe('a report of names that mean something', () => {
  it('holds no control character and no markup of theirs', () => {
    for (const file of ['report.md', 'report.html', 'tables.tex', 'rows.csv', 'summary.csv']) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that are looked for
      expect(text(file), file).not.toMatch(/[\0-\x09\x0b-\x1f]/);
    }
    expect(text('report.md')).not.toMatch(/<(script|img)/);
    expect(text('report.html').match(/<script/g)).toHaveLength(1);
    expect(text('tables.tex')).not.toMatch(/\\\\\n[[*]/);
    const arms = new Set(readCsv(text('summary.csv')).map(({ arm }) => arm));
    expect(arms).toContain("'=1+1");
    expect(arms.size).toBe(NAMES.length);
  });
});

suiteNeeding('latex')('names in LaTeX', () => {
  it('compile and are read again', () => {
    const run = spawnSync('pdflatex', ['-interaction=nonstopmode', '-halt-on-error', 'report.tex'], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect(run.status, run.stdout.slice(-2000)).toBe(0);
    expect(run.stdout).not.toMatch(/Missing character/);
  });
});

suiteNeeding('pandas')('names in pandas', () => {
  it('are the arms, one row each', () => {
    const code = 'import sys, json, pandas as pd; print(json.dumps(pd.read_csv(sys.argv[1]).arm.tolist()))';
    const arms = JSON.parse(
      execFileSync(python, ['-c', code, join(folder, 'summary.csv')], { encoding: 'utf8' }),
    );
    expect(arms).toHaveLength(NAMES.length);
    expect(arms[1]).toBe(NAMES[1]);
  });
});

suiteNeeding('chromium')('names in a browser', () => {
  it('run nothing, and the policy of the page stops what would', async () => {
    const page = await BrowserPage.open();
    try {
      await page.go(pathToFileURL(join(folder, 'report.html')).href);
      expect(page.complaints).toEqual([]);
      expect(await page.value<string>('document.title')).toContain('Names\\nof');
      const first = await page.value<string[]>(
        `[...document.querySelector('table').tBodies[0].rows].map((r) => r.children[0].textContent)`,
      );
      expect(first).toContain('<script>document.title = "run"</script>');
      await page.value(
        `document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="document.title = 1">')`,
      );
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(await page.value<string>('document.title')).not.toBe('1');
      expect(page.complaints.join()).toMatch(/Content Security Policy/);
    } finally {
      await page.close();
    }
  });
});
