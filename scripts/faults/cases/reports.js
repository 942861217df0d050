// Shared folders of ablations whose names, titles, numbers and paths lie: what `capi report` makes of them, and what it refuses.

import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const part = 'reports';

/** An ablation as an older version left it (no digests, no counts): `arms` by name with one score a seed, undefined where it was not run. */
function study(
  dir,
  { title = null, arms = { base: [0.5, 0.52], other: [0.6, 0.61] }, cell = {}, plan = {} } = {},
) {
  const names = Object.keys(arms);
  const seeds = arms[names[0]].map((_, i) => i);
  const idOf = (a, s) => `c${a}s${s}`;
  const whole = {
    schema: 1,
    name: 'shared',
    title,
    command: 'capi ablate --grid g.yaml --out study',
    design: 'named',
    base: 'quickstart',
    axes: [],
    baseline: 0,
    seeds,
    probe_seeds: [0],
    threads: 1,
    scale: { steps: 10, batch: 8, data: 'made:train', width: 16, depth: 2 },
    arms: names.map((name, a) => ({
      ...{ name, axis: null, values: {}, settings: {} },
      cells: seeds.map((seed) => ({ id: idOf(a, seed), seed, probe_seed: 0, evaluation: 'cls' })),
    })),
    evaluations: [{ name: 'cls', task: 'cls' }],
    paper: {},
    ...plan,
  };
  const root = join(dir, 'study');
  mkdirSync(root, { recursive: true });
  writeFileSync(join(root, 'plan.json'), JSON.stringify(whole));
  for (const [a, name] of names.entries()) {
    for (const seed of seeds) {
      const value = arms[name][seed];
      if (value === undefined) continue;
      const folder = join(root, 'cells', idOf(a, seed));
      mkdirSync(folder, { recursive: true });
      const record = {
        ...{
          schema: 1,
          id: idOf(a, seed),
          task: 'cls',
          evaluation: 'cls',
          settings: {},
          seed,
          probe_seed: 0,
          threads: 1,
        },
        run: {
          ...{ id: `r${a}s${seed}`, state: 'done', reason: null, step: 10, images: 80, health: {} },
          ...{
            curve: [
              { step: 5, capi_loss: 5 },
              { step: 10, capi_loss: 4 },
            ],
            seconds: 1,
            parameters: 10,
            flop_per_step: 1e9,
          },
        },
        results: [
          {
            ...{ task: 'cls', test: 'made:test', source: 'patches', head: 'attentive', metric: 'top1' },
            ...{
              convention: 'any label',
              value,
              interval: { low: value, high: value },
              n: 40,
              selected: null,
            },
          },
        ],
        protocol: { name: 'made', hash: 'same', card: { settings: 'same' } },
        train: { source: 'made:train', identity: 'train', images: 10 },
        tests: [{ source: 'made:test', identity: 'test', images: 40 }],
        ...{ classes: ['a', 'b'], counts: null, pictures: null, config: {} },
        request: { train: 'made:train', tests: ['made:test'], protocol: 'made', weights: 'ema', limit: null },
        ...{
          notes: [],
          commands: ['capi pretrain x', 'capi eval cls x'],
          created: '2026-01-01',
          seconds: 1,
          environment: {},
        },
        ...(typeof cell === 'function' ? cell(a, seed) : cell),
      };
      writeFileSync(join(folder, 'cell.json'), JSON.stringify(record));
    }
  }
  return root;
}

const REPORT = ['report', 'study', '--mixed-protocols'];
const text = (dir, file) => readFileSync(join(dir, 'study', file), 'utf8');

/** What no report may hold, whatever the names are. */
function unsafe(dir) {
  const [md, html, tex] = ['report.md', 'report.html', 'tables.tex'].map((file) => text(dir, file));
  const csv = text(dir, 'rows.csv') + text(dir, 'summary.csv');
  const charts = readdirSync(join(dir, 'study', 'charts')).filter((f) => f.endsWith('.svg'));
  const all = [md, html, tex, csv, ...charts.map((f) => text(dir, `charts/${f}`))];
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that are looked for
  if (all.some((t) => /[\0-\x08\x0b-\x1f\x7f\u202e]/.test(t))) return 'a control character';
  if (/<(script|img|iframe|b|svg onload)\b/i.test(md)) return 'HTML in report.md';
  if ((html.match(/<script/g) ?? []).length !== 1 || /<(iframe|b)>/.test(html)) return 'HTML in report.html';
  if (!html.includes('Content-Security-Policy')) return 'no policy';
  if (/\\\\\n\s*[[*]/.test(tex)) return 'a row of LaTeX that begins with a bracket or a star';
  if (/[^\0-\x7f]/.test(tex.replace(/^%.*$/gm, ''))) return 'a character beyond ASCII in tables.tex';
  if (/(^|,)"?[=+@](?![\d.])/m.test(csv) || /(^|,)"?-(?=[A-Za-z(])/m.test(csv)) return 'a formula in a CSV';
  return all.some((t) => /\bNaN\b|\bInfinity\b/.test(t)) ? 'NaN' : undefined;
}

const NAMES = {
  'a name with a line break': 'two\nlines',
  'a name with a carriage return': 'over\rwritten',
  'a name with an escape sequence': '\x1b[31mred\x1b[0m',
  'a name with a bell and a zero byte': 'a\x07b\0c',
  'a name that turns the writing direction': 'abc\u202edef',
  'a name that is a script': '<script>alert(1)</script>',
  'a name that is an image with a handler': '<img src=x onerror=alert(1)>',
  'a name that leaves its attribute': '"><script>alert(1)</script>',
  'a name that ends its element': '</td></tr></table><b>x',
  'a name with an entity': 'a &lt;b&gt; &amp;',
  'a name that is a Markdown link': '[x](javascript:alert(1))',
  'a name that is a Markdown image': '![x](http://example.com/x.png)',
  'a name with bars': 'a | b || c',
  'a name with stars, underscores and backticks': '**a** _b_ `c` ~~d~~ *e*',
  'a name that begins with a bracket': '[0.5,2]',
  'a name that begins with a star': '*ours',
  'a name of every special character of LaTeX': '\\ & % $ # _ { } ~ ^ " < >',
  'a name that is a LaTeX command': '\\input{/etc/passwd}',
  'a name in Greek, with accents and signs': 'λ → 0 µ Größe é ñ ç ± 8×8',
  'a name in Chinese': '漢字',
  'a name with an emoji and joined marks': '👩‍🚀 e\u0301\u0323',
  'a name of a lone surrogate': 'a\ud800b',
  'a name that is a formula': '=HYPERLINK("http://example.com","x")',
  'a name that adds': '+cmd|calc',
  'a name that subtracts': '-SUM(A1:A9)',
  'a name that begins with an at sign': '@SUM(1)',
  'a name that begins with a tab': '\t=1+1',
  'a formula in wide characters': '\uff1d1+1',
  'a name of 5000 letters': 'x'.repeat(5000),
};

const hostile = Object.entries(NAMES).map(([name, arm], i) => ({
  name,
  ci: i % 6 === 0,
  make: ({ dir }) => study(dir, { title: `Study ${arm}`, arms: { base: [0.5, 0.52], [arm]: [0.6, 0.61] } }),
  run: REPORT,
  // biome-ignore lint/suspicious/noControlCharactersInRegex: no name may write to the terminal
  not: /[\0-\x08\x0b-\x1f]/,
  check: ({ dir }) => unsafe(dir),
}));

const secret = (dir) => writeFileSync(join(dir, 'secret.png'), 'a secret');
const pictures = (name, link) => ({
  make: ({ dir }) => {
    secret(dir);
    const root = study(dir, { cell: { pictures: name } });
    if (link)
      for (const id of readdirSync(join(root, 'cells'))) symlinkSync(link, join(root, 'cells', id, name));
  },
  run: REPORT,
  code: 4,
});

const score = (value) => ({
  ...{ task: 'cls', test: 'made:test', source: 'patches', head: 'attentive', metric: 'top1' },
  ...{ convention: 'any label', value, interval: { low: value, high: value }, n: 40, selected: null },
});
const summaryOf = (dir) => text(dir, 'summary.csv').trim().split('\n');

export const cases = [
  ...hostile,
  {
    name: 'pictures that lead out of the folder',
    ci: true,
    ...pictures('../../../secret.png'),
    says: /pictures/,
  },
  { name: 'pictures by an absolute path', ...pictures('/etc/hostname'), says: /pictures/ },
  {
    name: 'pictures that are a link out of the folder',
    ...pictures('features.png', '../../../secret.png'),
    says: /features\.png/,
  },
  { name: 'pictures that are a device', ...pictures('features.png', '/dev/zero'), says: /features\.png/ },
  {
    name: 'pictures that are no PNG',
    make: ({ dir }) => {
      const root = study(dir, { cell: { pictures: 'features.png' } });
      for (const id of readdirSync(join(root, 'cells')))
        writeFileSync(join(root, 'cells', id, 'features.png'), 'GIF89a');
    },
    run: REPORT,
    code: 4,
    says: /features\.png/,
  },
  {
    name: 'counts that lead out of the folder',
    make: ({ dir }) => study(dir, { cell: { counts: { file: '../../../secret', sha256: 'x' } } }),
    run: REPORT,
    code: 4,
    says: /counts/,
  },
  {
    name: 'a cell of the plan that leads out of the folder',
    ci: true,
    make: ({ dir }) =>
      study(dir, {
        plan: {
          arms: [
            {
              name: 'base',
              axis: null,
              values: {},
              settings: {},
              cells: [{ id: '../../x', seed: 0, probe_seed: 0, evaluation: 'cls' }],
            },
          ],
        },
      }),
    run: REPORT,
    code: 4,
    says: /plan\.json/,
  },
  {
    name: 'a score of 700 %',
    ci: true,
    make: ({ dir }) => study(dir, { arms: { base: [0.5, 0.5], other: [7, 0.5] } }),
    run: REPORT,
    code: 4,
    says: /c1s0.*7/,
  },
  {
    name: 'a plan whose baseline is no arm',
    ci: true,
    make: ({ dir }) => study(dir, { plan: { baseline: 7 } }),
    run: REPORT,
    code: 4,
    says: /plan\.json .*baseline is 7/,
  },
  {
    name: 'a plan with one seed twice',
    ci: true,
    make: ({ dir }) => study(dir, { plan: { seeds: [0, 0] } }),
    run: REPORT,
    code: 4,
    says: /plan\.json .*0 twice among its seeds/,
  },
  {
    name: 'a score that a cell has twice',
    make: ({ dir }) => study(dir, { cell: { results: [score(0.5), score(0.9)] } }),
    run: REPORT,
    code: 4,
    says: /cell\.json: top1 of attentive on made:test is there twice/,
  },
  {
    name: 'a score of no image',
    make: ({ dir }) => study(dir, { cell: { results: [{ ...score(0.5), n: 0 }] } }),
    run: REPORT,
    code: 4,
    says: /of 0 test images/,
  },
  {
    name: 'an interval whose bounds are swapped',
    make: ({ dir }) =>
      study(dir, { cell: { results: [{ ...score(0.5), interval: { low: 0.9, high: 0.1 } }] } }),
    run: REPORT,
    code: 4,
    says: /the interval of top1 of attentive is \[0\.9, 0\.1\]/,
  },
  {
    name: 'arms whose heads learnt from other images',
    make: ({ dir }) =>
      study(dir, {
        cell: (a) => ({ train: { source: 'made:train', identity: `train ${a}`, images: 10 } }),
      }),
    run: ['report', 'study'],
    code: 4,
    says: /different protocols \(train differ/,
  },
  {
    name: 'what a record says stands in summary.csv too',
    ci: true,
    make: ({ dir }) =>
      study(dir, { cell: (a) => ({ notes: a ? ['30 % of the pixels are not counted'] : [] }) }),
    run: REPORT,
    check: ({ dir }) =>
      summaryOf(dir).at(-1).includes('30 % of the pixels are not counted') ? undefined : 'not in summary.csv',
  },
  {
    name: 'a negative score',
    make: ({ dir }) => study(dir, { arms: { base: [0.5, 0.5], other: [-0.5, 0.5] } }),
    run: REPORT,
    code: 4,
    says: /-0\.5/,
  },
  {
    name: 'a score that is null in every cell',
    make: ({ dir }) => study(dir, { arms: { base: [null, null], other: [null, null] } }),
    run: REPORT,
    code: [0, 4],
    not: /NaN|Infinity|\*\*/,
  },
  {
    name: 'scores of 100 % alone: no interval without width',
    ci: true,
    make: ({ dir }) => study(dir, { arms: { base: [1, 1], other: [1, 1] } }),
    run: REPORT,
    not: /\[100\.0, 100\.0\]|\[0\.0, 0\.0\]|NaN/,
    check: ({ dir }) =>
      /,1,1,1,40,/.test(text(dir, 'rows.csv')) ? 'an interval without width' : unsafe(dir),
  },
  {
    name: 'no per-image counts: no interval, and that is said',
    ci: true,
    make: ({ dir }) => study(dir),
    run: REPORT,
    says: /no interval of cls\.attentive for other/,
    not: /p [=<] /,
  },
  {
    name: 'an arm that was not run to the end',
    ci: true,
    make: ({ dir }) => study(dir, { arms: { base: [0.5, 0.52, 0.51], other: [0.6, undefined, undefined] } }),
    run: REPORT,
    says: /\(1\), 2 not run/,
    check: ({ dir }) =>
      summaryOf(dir).at(-1).includes('2 of 3 seeds not run') ? undefined : 'not in summary.csv',
  },
  {
    name: 'a study of one seed',
    make: ({ dir }) => study(dir, { arms: { base: [0.5], other: [0.6] } }),
    run: REPORT,
    says: /one pretraining seed/,
    not: /p [=<] /,
  },
  {
    name: 'ties with the best are all bold',
    make: ({ dir }) => study(dir, { arms: { base: [0.5, 0.5], other: [0.50001, 0.50001] } }),
    run: REPORT,
    check: ({ result }) =>
      (result.stdout.match(/\*\*50\.0/g) ?? []).length === 2 ? undefined : 'not both are bold',
  },
  {
    name: 'names that differ in signs alone keep charts of their own',
    make: ({ dir }) => study(dir, { plan: { axes: ['漢', '字'] } }),
    run: REPORT,
    check: ({ dir }) => unsafe(dir),
  },
];
