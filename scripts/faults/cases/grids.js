// Grids whose labels would lie, that are too large, or whose file is not one.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

export const part = 'grids';

const QUICK = 25;
const HEAD =
  'base: tiny.yaml\nset: { train.steps: 4 }\nseeds: 1\nevals: [{ task: seg, protocol: quickstart, limit: 12 }]\n';

const refused = (name, text, says, more = {}) => ({
  name,
  make: ({ dir, make }) => {
    make.file(join(dir, 'tiny.yaml'), make.TINY);
    make.file(join(dir, 'grid.yaml'), text);
  },
  run: ['ablate', '--grid', 'grid.yaml', '--out', 'a'],
  code: 2,
  says,
  within: QUICK,
  megabytes: 700,
  check: ({ dir }) => (existsSync(join(dir, 'a')) ? 'the ablation was begun' : undefined),
  ...more,
});

const inline = (name, words, says, more = {}) => ({
  name,
  make: ({ dir, make }) => make.file(join(dir, 'tiny.yaml'), make.TINY),
  run: ['ablate', '--base', 'tiny.yaml', '--evals', 'seg', '--out', 'a', ...words],
  code: 2,
  says,
  within: QUICK,
  megabytes: 700,
  ...more,
});

const arms = (names) =>
  `${HEAD}arms:\n${names.map((n, i) => `  ${JSON.stringify(n)}: { registers: ${8 + 4 * i} }`).join('\n')}\n`;

export const cases = [
  refused(
    'two axes that set one key, keys of the grid in set, and look-alike arms: all in one line',
    `${HEAD.replace('train.steps: 4', 'train.steps: 4, seed: 7, engine.threads: 2')}design: crossed\naxes: { masking: [random@0.9, block], masking.ratio: [0.5, 0.75] }\narms: { wide: { registers: 8 }, Wide: { registers: 12 } }\n`,
    /^error: 4 faults: .*set has seed.*set has engine\.threads.*both set masking\.ratio.*look alike/,
    { ci: true },
  ),
  refused(
    'an axis under two names',
    `${HEAD}design: one-factor\naxes: { registers: [0, 8], model.registers: [4, 12] }\n`,
    /both set model\.registers/,
  ),
  refused(
    'axes of the masking type under two names',
    `${HEAD}design: crossed\naxes: { masking: [random, block], masking.type: [inverse, random] }\n`,
    /both set masking\.type/,
  ),
  refused(
    'an arm that sets a key twice',
    `${HEAD}arms: { a: { masking: random@0.9, masking.ratio: 0.5 } }\n`,
    /the arm a sets masking\.ratio twice/,
    { ci: true },
  ),
  refused(
    'an arm that sets registers under two names',
    `${HEAD}arms: { a: { registers: 8, model.registers: 4 } }\n`,
    /sets model\.registers twice/,
  ),
  refused(
    'an arm whose name says another value',
    `${HEAD}arms: { registers=0: { registers: 8 } }\n`,
    /its name says registers=0/,
  ),
  refused(
    'evals in set',
    `${HEAD.replace('train.steps: 4', 'evals: []')}arms: { a: { registers: 8 } }\n`,
    /set has evals/,
  ),
  refused('a seed as an arm', `${HEAD}arms: { a: { seed: 3 } }\n`, /seed cannot be an axis/),
  refused(
    'threads as an axis',
    `${HEAD}design: crossed\naxes: { engine.threads: [1, 2] }\n`,
    /engine\.threads cannot be an axis/,
  ),
  refused(
    'a key nested and dotted in set',
    `${HEAD.replace('train.steps: 4', 'train.steps: 4, train: { steps: 5 }')}arms: { a: { registers: 8 } }\n`,
    /set has train\.steps twice/,
  ),
  refused(
    'a change that an axis overrides in every arm',
    `${HEAD.replace('train.steps: 4', 'model.registers: 8')}design: crossed\naxes: { registers: [0, 4] }\n`,
    /the axis registers sets in every arm/,
  ),
  refused('an arm named base', arms(['base']), /two arms have the name "base"/),
  refused('an arm named Base', arms(['Base']), /look alike/),
  refused('an empty name', arms(['']), /an arm has the name ""/, { ci: true }),
  refused('a name of white space', arms([' \u00a0 ']), /give it one that can be read/),
  refused('a name that ends in white space', arms(['a ']), /begins or ends with white space/),
  refused('names that differ in white space', arms(['a b', 'a  b']), /look alike/),
  refused('names that differ in case', arms(['wide', 'WIDE']), /look alike/),
  refused('a Cyrillic letter', arms(['wide a', 'wide \u0430']), /look alike/, { ci: true }),
  refused('full-width letters', arms(['wide', '\uff57\uff49\uff44\uff45']), /look alike/),
  refused('composed and decomposed letters', arms(['caf\u00e9', 'cafe\u0301']), /look alike/),
  refused('two kinds of dash', arms(['a-b', 'a\u2013b']), /look alike/),
  refused('a name with a zero-width space', arms(['wi\u200bde']), /control or invisible character/),
  refused('a name that changes the direction', arms(['a\u202eb']), /control or invisible character/),
  refused('a name with a newline', arms(['a\nb']), /control or invisible character/),
  refused('a name with an escape sequence', arms(['a\u001b[31mb']), /control or invisible character/),
  refused('a name of 500 characters', arms(['x'.repeat(500)]), /500 characters/),
  refused('an arm named __proto__', `${HEAD}arms: { __proto__: { registers: 8 } }\n`, /__proto__/),
  refused(
    'an axis twice the same value',
    `${HEAD}design: crossed\naxes: { registers: [0, 0] }\n`,
    /two arms have the name "registers=0"/,
  ),
  refused(
    'one value written two ways',
    `${HEAD}design: crossed\naxes: { masking: [random@0.65, random] }\n`,
    /are the same: no setting that counts differs/,
  ),
  refused(
    'evaluations whose names look alike',
    `${HEAD.replace(/evals.*/, 'evals: [{ name: a, task: seg }, { name: A, task: seg }]')}arms: { a: { registers: 8 } }\n`,
    /two evaluations are named A/,
  ),
  refused(
    'a hundred million seeds',
    `${HEAD.replace('seeds: 1', 'seeds: 100000000')}arms: { a: { registers: 8 } }\n`,
    /seeds: is 100000000; accepted: how many \(1 to 10,000\)/,
    { ci: true },
  ),
  refused(
    'a hundred million probe seeds',
    `${HEAD}probe_seeds: 100000000\narms: { a: { registers: 8 } }\n`,
    /probe_seeds: is 100000000/,
  ),
  ...['0', '-1', '1.5', '[]', '[-1]', '[0.5]', '[1e30]', '.nan', '.inf', 'many', '"3"'].map((seeds) =>
    refused(
      `seeds: ${seeds}`,
      `${HEAD.replace('seeds: 1', `seeds: ${seeds}`)}arms: { a: { registers: 8 } }\n`,
      /seeds: is .*; accepted: how many/,
    ),
  ),
  refused(
    'a seed twice',
    `${HEAD.replace('seeds: 1', 'seeds: [3, 1, 3]')}arms: { a: { registers: 8 } }\n`,
    /a seed stands twice/,
  ),
  refused(
    'a product of sixteen million arms',
    `${HEAD}design: crossed\naxes:\n${['optim.lr', 'optim.eps', 'optim.weight_decay', 'optim.beta1', 'optim.beta2', 'optim.momentum'].map((k) => `  ${k}: [${Array.from({ length: 16 }, (_, i) => (i + 1) / 100).join(', ')}]`).join('\n')}\n`,
    /has 16,777,216 arms; accepted: at most 4,096/,
    { ci: true },
  ),
  refused(
    'a million cells',
    `${HEAD.replace('seeds: 1', 'seeds: 1000')}probe_seeds: 1000\narms: { a: { registers: 8 } }\n`,
    /has 2,000,000 cells/,
  ),
  refused(
    'threads beyond any machine',
    `${HEAD}threads: 1000000000\narms: { a: { registers: 8 } }\n`,
    /threads/,
  ),
  refused(
    'a batch that cannot learn, and another fault of an arm',
    `${HEAD}arms: { one: { train.batch: 1 }, odd: { registers: 6 } }\n`,
    /2 faults.*arm one: .*uniform.*arm odd/,
  ),
  refused(
    'an absurd depth in an arm',
    `${HEAD}arms: { deep: { model.depth: 10000000 } }\n`,
    /arm deep: model\.depth is 10000000/,
  ),
  refused('an empty file', '', /holds no grid/),
  refused('a list', '- a\n', /holds no grid/),
  refused('nothing but evaluations of an unknown task', 'evals: [{ task: dance }]\n', /evals\.0\.task/),
  refused(
    'an alias bomb',
    `a: &a [x, x, x, x, x, x, x, x, x]\n${[...'bcdefghi'].map((c, i) => `${c}: &${c} [${Array(9).fill(`*${'abcdefghi'[i]}`).join(', ')}]`).join('\n')}\n`,
    /aliases/,
  ),
  refused('a file of 100 MB', `# ${'x'.repeat(100_000_000)}\n`, /larger than 1 MiB/),
  {
    name: 'a grid that is a device',
    ci: true,
    run: ['ablate', '--grid', '/dev/zero'],
    code: 2,
    says: /no regular file/,
    within: QUICK,
  },
  {
    name: 'a grid that is a FIFO',
    make: ({ dir }) => execFileSync('mkfifo', [join(dir, 'grid.yaml')]),
    run: ['ablate', '--grid', 'grid.yaml'],
    code: 2,
    says: /no regular file/,
    within: QUICK,
  },
  inline(
    'overlapping axes on the command line',
    ['--grid', 'masking=random@0.9,block', '--grid', 'masking.ratio=0.5,0.75'],
    /both set masking\.ratio/,
    { ci: true },
  ),
  inline('a seed in --set', ['--grid', 'registers=0,4', '--set', 'seed=7'], /set has seed.*--seeds/),
  inline(
    'threads in --set',
    ['--grid', 'registers=0,4', '--set', 'engine.threads=2'],
    /set has engine\.threads/,
  ),
  inline(
    '--set of what an axis sets',
    ['--grid', 'registers=0,4', '--set', 'model.registers=8'],
    /the axis registers sets in every arm/,
  ),
  inline(
    'a hundred million seeds on the command line',
    ['--grid', 'registers=0,4', '--seeds', '100000000'],
    /--seeds is 100000000; accepted: 1 to 10,000/,
  ),
  inline('an axis that is a section', ['--grid', 'model=3'], /unknown axis "model"/),
  inline('a value that is a tag', ['--grid', 'optim.lr=!!x 3,1'], /not YAML/),
  inline('not a number', ['--grid', 'optim.lr=.nan,0.1'], /optim\.lr has the value NaN/),
  ...[1, 2, 3, 4].map((steps) => ({
    ...inline(
      `the dry run of ${steps} steps`,
      ['--grid', 'predictor=cross,fused', '--set', `train.steps=${steps}`, '--seeds', '1', '--dry-run'],
      /times from the baseline's own step: \d+ ms/,
    ),
    code: 0,
    ci: steps === 1,
    not: /NaN|Infinity|[ |]-\d/,
    within: 60,
    megabytes: 1500,
  })),
];
