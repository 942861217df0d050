// Configurations that cannot run, cannot learn or would take the machine down: numbers, YAML, presets, where a run writes.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

export const part = 'configs';

const QUICK = 25; // seconds that a refusal may take on a busy machine; it allocates nothing

/** A preset that is refused. */
const preset = (name, text, says, more = {}) => ({
  name,
  make: ({ dir, make }) => {
    make.file(join(dir, 'tiny.yaml'), make.TINY);
    make.file(join(dir, 'x.yaml'), text);
  },
  run: ['pretrain', 'x.yaml', '--out', 'r'],
  code: 2,
  says,
  within: QUICK,
  megabytes: 700,
  check: ({ dir }) => (existsSync(join(dir, 'r')) ? 'a run folder was made' : undefined),
  ...more,
});

/** A setting of a tiny preset that is refused. */
const set = (word, says, more = {}) => ({
  name: `--set ${word}`,
  make: ({ dir, make }) => make.file(join(dir, 'tiny.yaml'), make.TINY),
  run: ['pretrain', 'tiny.yaml', '--out', 'r', ...[word].flat().flatMap((w) => ['--set', w])],
  code: 2,
  says,
  within: QUICK,
  megabytes: 700,
  ...more,
});

const tiny = ({ dir, make }) => make.file(join(dir, 'tiny.yaml'), make.TINY);

export const cases = [
  preset('an empty file', '', /sets nothing.*write "extends: quickstart"/, { ci: true }),
  preset('a file of comments', '# a\n# b\n', /sets nothing.*extends/),
  preset('a file with null', 'null\n', /sets nothing/),
  preset(
    'a file that forgets extends',
    'train: { steps: 5 }\n',
    /extends nothing and does not set model\.width/,
    {
      ci: true,
    },
  ),
  preset('extends without a value', 'extends:\nseed: 1\n', /extends .* is null/),
  preset('extends itself', 'extends: x.yaml\n', /extends itself/),
  preset(
    'a dotted key',
    'extends: tiny.yaml\noptim.lr: 1e-3\n',
    /with a dot.*write optim: \{ lr: 0\.001 \}/,
    {
      ci: true,
    },
  ),
  preset(
    'a dotted key two deep',
    'extends: tiny.yaml\nmodel.predictor.depth: 2\n',
    /write model: \{ predictor: \{ depth: 2 \} \}/,
  ),
  preset('a dotted key in a section', 'extends: tiny.yaml\nmodel: { predictor.depth: 2 }\n', /with a dot/),
  preset('a key twice', 'extends: tiny.yaml\nseed: 1\nseed: 2\n', /not YAML: Map keys must be unique/),
  preset('a tag', 'extends: tiny.yaml\nseed: !!js/function "x"\n', /not YAML/),
  preset('two documents', 'extends: tiny.yaml\n---\nseed: 2\n', /not YAML/),
  preset('a merge key', 'a: &a { seed: 1 }\n<<: *a\nextends: tiny.yaml\n', /unknown config key/),
  preset('__proto__', 'extends: tiny.yaml\n__proto__: { seed: 1 }\n', /__proto__/),
  preset(
    'an alias bomb',
    `a: &a [x, x, x, x, x, x, x, x, x]\n${[...'bcdefghi']
      .map((c, i) => `${c}: &${c} [${Array(9).fill(`*${'abcdefghi'[i]}`).join(', ')}]`)
      .join('\n')}\n`,
    /aliases/,
    { ci: true },
  ),
  preset('an alias of itself', 'extends: tiny.yaml\nmodel: &m { predictor: *m }\n', /x\.yaml|model/),
  preset('brackets a million deep', '['.repeat(200_000), /nested too deeply|not YAML/),
  preset('a file of 100 MB', `# ${'x'.repeat(100_000_000)}\n`, /larger than 1 MiB/, { ci: true }),
  preset('a list', '- a\n- b\n', /holds no settings/),
  preset('a section that is a number', 'extends: tiny.yaml\nmodel: 3\n', /model is 3.*accepted: the keys/),
  preset('a control character in a key', 'extends: tiny.yaml\n"a\\e[31mb": 1\n', /unknown config key/),
  preset(
    'a value of a megabyte',
    `extends: tiny.yaml\nseed: "${'x'.repeat(1_000_000)}"\n`,
    /seed is "xxx.{60,90}\.\.\. /,
  ),
  {
    name: 'a preset that is a FIFO',
    ci: true,
    make: ({ dir }) => execFileSync('mkfifo', [join(dir, 'x.yaml')]),
    run: ['pretrain', 'x.yaml', '--out', 'r'],
    code: 2,
    says: /no regular file/,
    within: QUICK,
  },
  {
    name: 'a preset that is a device',
    make: ({ dir }) => execFileSync('ln', ['-s', '/dev/zero', join(dir, 'x.yaml')]),
    run: ['pretrain', 'x.yaml', '--out', 'r'],
    code: 2,
    says: /no regular file/,
    within: QUICK,
  },
  {
    name: 'a preset that is a folder',
    make: ({ dir }) => mkdirSync(join(dir, 'x.yaml')),
    run: ['pretrain', 'x.yaml', '--out', 'r'],
    code: 2,
    says: /it is a folder/,
    within: QUICK,
  },
  set('model.depth=10000000', /model\.depth is 10000000.*at most 1,000/, { ci: true }),
  set('model.depth=1e7', /at most 1,000/),
  set('model.predictor.depth=1000000', /at most 1,000/),
  set('model.width=1000000', /at most 65,536/),
  set('model.heads=1000000', /at most 4,096/),
  set('model.registers=1000000', /at most 4,096/),
  set('model.mlp_ratio=1e9', /up to 64/),
  set('model.mlp_ratio=1e-9', /leaves no hidden channel/),
  set('clustering.prototypes=1000000000', /at most 4,194,304/),
  set('model.image_size=1000000', /at most 8,192 a side/),
  set('train.batch=1000000000', /at most 1,048,576/),
  set('train.steps=1000000000000', /at most 1,000,000,000/),
  set('clustering.iterations=1000000000', /at most 1,000/),
  set('seed=.nan', /seed is NaN/),
  set('optim.lr=.inf', /optim\.lr is Infinity/),
  set('optim.lr=1e400', /optim\.lr is Infinity/),
  set('optim.lr=-0.1', /a number of at least 0/),
  set('optim.momentum=1.1', /a number from 0 to 1/),
  set('clustering.target_temperature=0', /a number above 0/),
  set('masking.ratio=0', /between 0 and 1/),
  set('masking.ratio=1', /between 0 and 1/),
  set('optim.warmup=2', /a number from 0 to 1/),
  set('checkpoint.every=0', /at least 1/),
  set('checkpoint.keep=0', /at least 1/),
  set('seed=12345678901234567890', /seed is 12345678901234567000/),
  set('seed=1.5', /a whole number/),
  set('model.heads=5', /not divisible by model\.heads 5/),
  set('model.patch_size=5', /not divisible by model\.patch_size 5/),
  set('model.patch_size=32', /as large as the image.*such as 16/, { ci: true }),
  set('model.patch_size=64', /larger than the image/),
  set(['model.image_size=8192', 'model.patch_size=1'], /has 67,108,864 patches/),
  set(['model.width=65536', 'model.depth=1000', 'model.heads=64'], /needs at least .* GiB of memory/, {
    ci: true,
  }),
  set(
    ['train.batch=1000000', 'model.image_size=4096', 'model.patch_size=32'],
    /needs at least .* GiB of memory/,
  ),
  set('train.batch=1', /all targets are uniform.*nothing is learnt.*at least 2/, { ci: true }),
  {
    name: 'position-wise Sinkhorn on one image under the loss ibot',
    make: tiny,
    run: ['pretrain', 'tiny.yaml', '--out', 'r', '--set', 'train.batch=1', '--set', 'loss.type=ibot'],
    code: 2,
    says: /all targets are uniform/,
    within: QUICK,
  },
  {
    name: 'a batch far below the prototypes is a warning that says what helps',
    make: tiny,
    run: [
      'pretrain',
      'tiny.yaml',
      '--out',
      'r',
      '--set',
      'train.batch=2',
      '--set',
      'clustering.prototypes=64',
    ],
    says: /far below clustering\.prototypes 64.*what helps/,
  },
  {
    name: 'a run that ends among steps of NaN has diverged',
    ci: true,
    make: tiny,
    run: ['pretrain', 'tiny.yaml', '--out', 'r', '--steps', '6', '--set', 'optim.lr=1e20'],
    code: 3,
    says: /training diverged: NaN or infinity in \d+ steps in a row/,
  },
  {
    name: 'a teacher that does not move is a warning',
    ci: true,
    make: tiny,
    run: ['pretrain', 'tiny.yaml', '--out', 'r', '--set', 'optim.momentum=1'],
    says: /the teacher stays as it began/,
  },
  {
    name: 'targets that are near uniform are a warning, in the summary too',
    make: tiny,
    run: [
      'pretrain',
      'tiny.yaml',
      '--out',
      'r',
      '--set',
      'clustering.target_temperature=1000',
      '--set',
      'clustering.sinkhorn=none',
      '--json',
    ],
    says: /"warnings": \[\s*"the targets are near uniform/,
  },
  ...[
    ['pretrain', ['pretrain', 'tiny.yaml']],
    [
      'eval',
      [
        'eval',
        'seg',
        'pixels:8?size=32',
        '--train',
        'synthetic:scenes?size=32',
        '--test',
        'synthetic:scenes?size=32',
        '--protocol',
        'quick',
      ],
    ],
    [
      'ablate',
      ['ablate', '--grid', 'registers=0,4', '--base', 'tiny.yaml', '--seeds', '1', '--evals', 'seg'],
    ],
    ['viz', ['eval', 'viz', 'pixels:8?size=32', '--data', 'synthetic:scenes?size=32']],
    ['export', ['export', 'random:tiny.yaml']],
  ].flatMap(([name, args]) =>
    [
      ['a file in the way', 'taken/below'],
      ['a folder where nothing can be made', '/proc/1/below'],
    ].map(([what, out]) => ({
      name: `${name}: ${what} of --out is noticed before any work`,
      ci: name === 'eval',
      make: ({ dir, make }) => {
        tiny({ dir, make });
        make.file(join(dir, 'taken'), 'text');
      },
      run: [...args, '--out', name === 'export' ? `${out}/encoder.onnx` : out],
      code: [2, 4],
      says: /cannot write|cannot be/,
      not: /"step"|features|trained/,
      within: QUICK,
      check: ({ dir }) =>
        readdirSync(dir).some((entry) => !['taken', 'tiny.yaml', 'cache'].includes(entry))
          ? 'something was written'
          : undefined,
    })),
  ),
];
