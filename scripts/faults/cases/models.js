// Encoders that are not what they seem, and files of weights and models that are bombs or traps.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as m from '../models.js';

export const part = 'models';

const VIZ = (model = 'm.onnx') => [
  'eval',
  'viz',
  model,
  '--data',
  'folder:data',
  '--out',
  'v',
  '--threads',
  '1',
];
const images = async (dir, make) => {
  for (let i = 0; i < 3; i++) await make.image(join(dir, 'data', `${i}.png`), { seed: i });
};

/** Pictures by an ONNX encoder; `parts` as models.js takes them. */
const onnx = (name, parts, rest) => ({
  name,
  make: async ({ dir, make }) => {
    await images(dir, make);
    m.encoder(join(dir, 'm.onnx'), typeof parts === 'function' ? parts(dir) : parts);
  },
  run: VIZ(),
  code: 4,
  ...rest,
});

const scaled = (tensor) => ({ nodes: [m.node('Mul', ['means', 'w'], 'maps')], initializer: [tensor] });
const good = { location: 'w.bin', offset: '0', length: '4' };
const beside =
  (entries, prepare = () => {}) =>
  (dir) => {
    writeFileSync(join(dir, 'w.bin'), new Uint8Array(Float32Array.of(2).buffer));
    prepare(dir);
    return scaled(m.external('w', [1], { ...good, ...entries }));
  };
const inConstant = (t) => ({
  nodes: [
    m.node('Constant', [], 'w', [{ name: 'value', type: 4, t }]),
    m.node('Mul', ['means', 'w'], 'maps'),
  ],
});
const inBranch = (t) => {
  const branch = (name, tensor) =>
    m.graphOf(name, {
      name,
      node: [m.node('Mul', ['means', 's'], `${name}_out`)],
      initializer: [tensor],
      output: [m.value(`${name}_out`, 1, ['a', 'b', 'c', 'd'])],
    });
  return {
    nodes: [
      m.node('If', ['yes'], 'maps', [branch('then_branch', t), branch('else_branch', m.floats('s', [1]))]),
    ],
    initializer: [m.yes('yes')],
  };
};
const endless = {
  nodes: [
    m.node('Loop', ['', 'yes', 'means'], 'maps', [
      m.graphOf('body', {
        name: 'body',
        node: [m.node('Identity', ['on'], 'still'), m.node('Identity', ['v'], 'w')],
        input: [m.value('i', 7, []), m.value('on', 9, []), m.value('v', 1, ['a', 'b', 'c', 'd'])],
        output: [m.value('still', 9, []), m.value('w', 1, ['a', 'b', 'c', 'd'])],
      }),
    ]),
  ],
  initializer: [m.yes('yes')],
};
const divided = {
  nodes: [m.node('Sub', ['means', 'means'], 'zero'), m.node('Div', ['means', 'zero'], 'maps')],
};
const norm = {
  nodes: [
    {
      ...m.node('BatchNormalization', ['means', 'ones', 'zeros', 'zeros', 'ones'], 'maps', [
        { name: 'training_mode', type: 2, i: 1 },
      ]),
      output: ['maps', 'mean', 'var'],
    },
  ],
  initializer: [m.floats('ones', [1, 1, 1]), m.floats('zeros', [0, 0, 0])],
};
const dropout = (ratio) => ({
  nodes: [m.node('Dropout', ['means', 'ratio', 'train'], 'maps')],
  initializer: [m.floats('ratio', [ratio], []), m.yes('train')],
});

/** A file of weights that `export` reads under a tiny preset. */
const weights = (name, file, bytes, rest) => ({
  name,
  make: async (tools) => {
    tools.make.file(join(tools.dir, 'tiny.yaml'), tools.make.TINY);
    writeFileSync(join(tools.dir, file), await (typeof bytes === 'function' ? bytes(tools) : bytes));
  },
  run: ['export', `${file}?preset=tiny.yaml`, '--out', 'o.safetensors'],
  code: 4,
  within: 30,
  megabytes: 1200,
  ...rest,
});

/** Weights of the tiny preset, each tensor changed; names may change too. */
const changed = (name, change, rest) => ({
  name,
  run: async ({ dir, capi, make }) => {
    make.file(join(dir, 'tiny.yaml'), make.TINY);
    const first = await capi(['export', 'random:tiny.yaml?seed=1', '--out', 'r.safetensors']);
    if (first.code !== 0) return first;
    const tensors = m.tensorsOf(readFileSync(join(dir, 'r.safetensors')));
    writeFileSync(join(dir, 'w.safetensors'), m.filled(new Map(change([...tensors]))));
    return capi(['export', 'w.safetensors?preset=tiny.yaml', '--out', 'o.safetensors']);
  },
  code: 4,
  ...rest,
});
const zero = (t) => ({ ...t, data: Buffer.alloc(t.data.length) });
const under = (prefix, list) => list.map(([name, t]) => [`${prefix}${name}`, t]);
const same = async ({ dir }) => {
  const [a, b] = ['r', 'o'].map((f) => m.tensorsOf(readFileSync(join(dir, `${f}.safetensors`))));
  for (const [name, { data }] of a)
    if (!b.get(name)?.data.equals(data)) return `${name} is not what the EMA holds`;
  return undefined;
};

const entry = (shape, from, to, dtype = 'F32') => JSON.stringify({ dtype, shape, data_offsets: [from, to] });
const many = (count, byte) => Buffer.alloc(count, byte);
const adapter = (text) => ({ adapter: text });

export const cases = [
  onnx('a good ONNX encoder draws', {}, { code: 0, ci: true, says: /pictures of 3 images/ }),
  onnx('features of NaN', divided, { ci: true, says: /gives (NaN|infinity) for image .*0\.png/ }),
  onnx('dropout in training mode', dropout(0.4), {
    ci: true,
    says: /disagrees with itself: .*\d+ %.*Dropout/,
  }),
  onnx('dropout of a tenth', dropout(0.1), { says: /disagrees with itself/ }),
  onnx('dropout of nothing', dropout(0), { code: 0 }),
  onnx('batch statistics', norm, { says: /disagrees with itself: .*BatchNormalization in training mode/ }),
  onnx(
    'noise',
    { nodes: [m.node('RandomNormalLike', ['means'], 'n'), m.node('Add', ['means', 'n'], 'maps')] },
    { says: /disagrees with itself/ },
  ),
  onnx(
    'features minus the mean of the batch',
    {
      nodes: [
        m.node('ReduceMean', ['means'], 'mean', [{ name: 'axes', type: 7, ints: [0] }]),
        m.node('Sub', ['means', 'mean'], 'maps'),
      ],
    },
    { says: /beside three others/ },
  ),
  onnx(
    'features minus those of the image opposite in the batch',
    {
      nodes: [
        m.node('Slice', ['means', 'last', 'first', 'axis', 'back'], 'mirrored'),
        m.node('Sub', ['means', 'mirrored'], 'apart'),
        m.node('Add', ['means', 'apart'], 'maps'),
      ],
      initializer: [
        m.whole('last', [-1]),
        m.whole('first', [-1000]),
        m.whole('axis', [0]),
        m.whole('back', [-1]),
      ],
    },
    { ci: true, says: /beside three others/ },
  ),
  onnx(
    'features whose squares overflow',
    { nodes: [m.node('Mul', ['means', 'much'], 'maps')], initializer: [m.floats('much', [1e30], [])] },
    { says: /squares of such values overflow/ },
  ),
  onnx('a fixed batch', { batch: 2 }, { code: 0 }),
  onnx(
    'constant features',
    { nodes: [m.node('Sub', ['means', 'means'], 'maps')] },
    { code: 0, says: /are equal: they have no principal components|the same for three images/ },
  ),
  onnx('a loop without end', endless, {
    ci: true,
    run: async ({ capi }) => capi(VIZ(), { env: { CAPI_MODEL_SECONDS: '2' } }),
    says: /gave no answer within 2 s .*CAPI_MODEL_SECONDS/,
    within: 20,
  }),
  onnx('Ctrl-C during a loop without end', endless, {
    run: async ({ capi }) => capi(VIZ(), { signal: 'SIGINT', after: 4000 }),
    code: [null, 130],
    within: 15,
  }),
  onnx(
    'sixteen terabytes of zeros',
    {
      nodes: [
        m.node('ConstantOfShape', ['much'], 'all'),
        m.node('ReduceMax', ['all'], 'one', [{ name: 'keepdims', type: 2, i: 0 }]),
        m.node('Add', ['means', 'one'], 'maps'),
      ],
      initializer: [m.whole('much', [2 ** 42])],
    },
    { code: [2, 4], says: /m\.onnx/ },
  ),
  onnx('negative sizes of a constant', scaled({ ...m.floats('w', [1]), dims: [-1] }), {
    ci: true,
    says: /sizes \[-1\]/,
  }),
  onnx('sizes beyond counting', scaled({ ...m.floats('w', [1]), dims: [2 ** 40, 2 ** 40] }), {
    says: /is damaged: tensor w has the sizes/,
  }),
  onnx('fewer values than its sizes say', scaled({ ...m.floats('w', [1]), dims: [3] }), {
    code: [2, 4],
    says: /m\.onnx/,
  }),
  onnx('weights in a file', beside({}), { code: 0 }),
  onnx(
    'weights in a pipe',
    beside({ location: 'pipe' }, (dir) => execFileSync('mkfifo', [join(dir, 'pipe')])),
    { ci: true, says: /no plain file/ },
  ),
  onnx(
    'weights in /dev/zero by a link',
    beside({ location: 'zero' }, (dir) => symlinkSync('/dev/zero', join(dir, 'zero'))),
    { says: /no plain file/ },
  ),
  onnx('weights in /dev/zero', beside({ location: '/dev/zero' }), { says: /not beside it/ }),
  onnx(
    'weights in a folder',
    beside({ location: 'f' }, (dir) => mkdirSync(join(dir, 'f'))),
    { says: /no plain file/ },
  ),
  onnx('weights above the folder', beside({ location: '../w.bin' }), { says: /not beside it/ }),
  onnx('weights that are not there', beside({ location: 'absent' }), { says: /which is not there/ }),
  onnx('weights beyond the end of their file', beside({ offset: '4' }), {
    says: /at bytes 4 to 8; the file has 4/,
  }),
  onnx('weights of another length', beside({ length: '400' }), {
    says: /takes 4 bytes, its external data has 400/,
  }),
  onnx('weights at a negative place', beside({ offset: '-1' }), { says: /the offset '-1'/ }),
  onnx('weights whose file has a line break in its name', beside({ location: 'a\nb' }), { says: /a\\nb/ }),
  onnx(
    'a constant in a pipe',
    (dir) => {
      execFileSync('mkfifo', [join(dir, 'pipe')]);
      return inConstant(m.external('w', [1], { ...good, location: 'pipe' }));
    },
    { says: /no plain file/ },
  ),
  onnx(
    'a branch in a pipe',
    (dir) => {
      execFileSync('mkfifo', [join(dir, 'pipe')]);
      return inBranch(m.external('s', [1], { ...good, location: 'pipe' }));
    },
    { says: /no plain file/ },
  ),
  onnx(
    'a second input',
    { input: [m.value('x', 1, ['n', 3, 'h', 'w']), m.value('mask', 1, ['n'])] },
    { says: /also needs mask/ },
  ),
  onnx(
    'an operator that does not exist',
    { nodes: [m.node('Nonsense', ['means'], 'maps')] },
    { code: [2, 4], says: /cannot run m\.onnx/ },
  ),
  onnx(
    'outputs of no width',
    {
      nodes: [m.node('Slice', ['means', 'a', 'a', 'axis'], 'maps')],
      initializer: [m.whole('a', [0]), m.whole('axis', [1])],
    },
    { says: /holds nothing/ },
  ),
  ...[
    ['that is empty', '', /adapter/],
    ['of another input', m.ADAPTER.replace('name: x', 'name: y'), /it has no input y; it has x/],
    [
      'of another output',
      m.ADAPTER.replace('output: maps', 'output: map'),
      /it has no output map; it has maps/,
    ],
    ['with a key twice', `${m.ADAPTER}size: 32\n`, /is not YAML: .*unique/],
    ['with an unknown key', `${m.ADAPTER}scale: 2\n`, /unknown key scale/],
    ['of layout nhwc', m.ADAPTER.replace('layout: nchw}}', 'layout: nhwc}}'), /no nhwc map/],
    ['with patches of zero', m.ADAPTER.replace('patch: 8', 'patch: 0'), /patch is 0/],
    ['with a negative size', m.ADAPTER.replace('size: 16', 'size: -16'), /size is -16/],
    ['with an input name of a terminal', m.ADAPTER.replace('name: x', 'name: "\\e[31mx"'), /\\x1b/],
  ].map(([what, text, says]) => onnx(`an adapter ${what}`, adapter(text), { says })),
  {
    name: 'an ONNX file that is a pipe',
    make: async ({ dir, make }) => {
      await images(dir, make);
      execFileSync('mkfifo', [join(dir, 'm.onnx')]);
      make.file(join(dir, 'm.onnx.yaml'), m.ADAPTER);
    },
    run: VIZ(),
    code: 4,
    says: /no plain file/,
  },
  {
    name: 'an ONNX file of text',
    make: async ({ dir, make }) => {
      await images(dir, make);
      make.file(join(dir, 'm.onnx'), 'not a model');
      make.file(join(dir, 'm.onnx.yaml'), m.ADAPTER);
    },
    run: VIZ(),
    code: [2, 4],
    says: /m\.onnx/,
  },
  {
    name: 'encoders of two sizes have a table without paired differences',
    ci: true,
    make: async ({ dir, make }) => {
      make.file(join(dir, 'logreg.yaml'), make.LOGREG);
      await make.pairs(join(dir, 'data'));
    },
    run: [
      'eval',
      'seg',
      'pixels:8?size=16',
      'pixels:8?size=32',
      '--train',
      'pairs:data/images,data/labels?classes=4',
      '--test',
      'pairs:data/images,data/labels?classes=4',
      '--protocol',
      'logreg.yaml',
      '--out',
      'evals',
    ],
    says: /unpaired .*label maps of 16 x 16 and 32 x 32 px/,
    not: /first [+−]/,
  },

  weights('250 MB of one opcode', 'w.pth', () => m.pth(m.pickle(many(250e6, 0x4e))), {
    ci: true,
    says: /its pickle has 250000002 bytes/,
  }),
  ...[
    ['dicts', 0x7d],
    ['lists', 0x5d],
    ['empty tuples', 0x29],
    ['groups', 0x28],
    ['nothing', 0x4e],
    ['copies', 0x32],
    ['memos', 0x94],
  ].map(([what, op]) =>
    weights(`a pickle of 40 million ${what}`, 'w.pth', () => m.pth(m.pickle('N', many(40e6, op))), {
      says: /which no file of this kind needs/,
    }),
  ),
  weights('a pickle that packs 200 MB into 200 KB', 'w.pth', () => m.pth(m.pickle(many(200e6, 0x4e)), true), {
    says: /would fill 200000002 bytes/,
  }),
  weights(
    'a pickle that runs a command',
    'w.pth',
    () => m.pth(m.pickle('cos\nsystem\n(X\x04\0\0\0echotR.')),
    { ci: true, says: /asks for os\.system/ },
  ),
  weights('a pickle that holds itself', 'w.pth', () => m.pth(m.pickle('}q\0X\x05\0\0\0modelh\0s.')), {
    says: /holds no CAPI backbone/,
  }),
  weights('an archive without a pickle', 'w.pth', () => m.zip([{ name: 'a', bytes: Buffer.from('b') }]), {
    says: /no PyTorch checkpoint/,
  }),
  weights(
    'an archive that lies about sizes',
    'w.pth',
    () => m.zip([{ name: 'x/data.pkl', bytes: m.pickle('N.'), size: 2 ** 31 }]),
    { says: /claims 2147483648 bytes/ },
  ),
  weights('an archive that is cut off', 'w.pth', () => m.pth(m.pickle('N.')).subarray(0, 40), {
    says: /truncated/,
  }),
  weights('an empty .pth', 'w.pth', Buffer.alloc(0), { says: /truncated or no zip archive/ }),
  weights(
    'a .pth of the old format',
    'w.pth',
    Buffer.from('\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.', 'latin1'),
    { says: /save it anew/ },
  ),
  ...[
    ['names a tensor twice', `{"w":${entry([1], 0, 4)},"w":${entry([1], 0, 4)}}`, 4, /names w twice/],
    [
      'names metadata twice',
      `{"__metadata__":{"a":"1","a":"2"},"w":${entry([1], 0, 4)}}`,
      4,
      /names a twice/,
    ],
    ['overlaps', `{"a":${entry([2], 0, 8)},"b":${entry([2], 4, 12)}}`, 12, /overlaps/],
    ['has a hole', `{"a":${entry([1], 0, 4)},"b":${entry([1], 8, 12)}}`, 12, /belong to none/],
    ['has a tail', `{"a":${entry([1], 0, 4)}}`, 9, /follow its last tensor/],
    ['ends early', `{"a":${entry([9], 0, 36)}}`, 4, /truncated/],
    ['has negative sizes', `{"a":${entry([-1], 0, 4)}}`, 4, /has shape \[-1\]/],
    ['has sizes beyond counting', `{"a":${entry([2 ** 40, 2 ** 40], 0, 4)}}`, 4, /needs .* bytes/],
    ['has an unknown type', `{"a":${entry([1], 0, 4, 'F31')}}`, 4, /element type "F31"/],
    ['is nested a million times', `{"a":${'['.repeat(1e6)}`, 0, /not JSON/],
    ['has a name of a terminal', `{"\\u001b[31m":${entry([-1], 0, 4)}}`, 4, /\\x1b/],
    ['has no tensors', '{}', 0, /holds no CAPI backbone/],
  ].map(([what, header, bytes, says]) =>
    weights(`a safetensors file that ${what}`, 'w.safetensors', () => m.safetensors(header, bytes), {
      says,
      ci: what.includes('twice'),
    }),
  ),
  weights(
    'a safetensors header of 95 MB',
    'w.safetensors',
    () => m.safetensors(`{"a":"${'x'.repeat(95e6)}"}`),
    { says: /has no description|w\.safetensors/ },
  ),
  weights('a safetensors prefix of 2^60', 'w.safetensors', Buffer.from([0, 0, 0, 0, 0, 0, 0, 16, 123, 125]), {
    says: /the limit is/,
  }),
  weights(
    'an export whose config asks for ten million blocks',
    'w.safetensors',
    () =>
      m.filled(new Map([['backbone.mask_token', { dtype: 'F32', shape: [1], data: Buffer.alloc(4) }]]), {
        format: 'capi-encoder-1',
        config: JSON.stringify({ model: { depth: 1e7 } }),
      }),
    {
      ci: true,
      run: ['export', 'w.safetensors', '--out', 'o.safetensors'],
      code: [2, 4],
      within: 15,
      says: /10000000|10000012/,
    },
  ),
  weights(
    'an export whose config is no JSON',
    'w.safetensors',
    () =>
      m.filled(new Map([['a', { dtype: 'F32', shape: [1], data: Buffer.alloc(4) }]]), {
        format: 'capi-encoder-1',
        config: '{',
      }),
    { run: ['export', 'w.safetensors', '--out', 'o.safetensors'], says: /no JSON object/ },
  ),

  changed('weights as they were', (list) => list, { code: 0, check: same }),
  changed('weights of zeros', (list) => list.map(([n, t]) => [n, zero(t)]), {
    ci: true,
    says: /was never filled with weights: \d+ of its/,
  }),
  changed('one matrix of zeros', (list) => list.map(([n, t]) => [n, /q_proj/.test(n) ? zero(t) : t]), {
    says: /q_proj\.weight: 0/,
  }),
  changed(
    'weights with NaN',
    (list) => list.map(([n, t]) => [n, /fc1/.test(n) ? { ...t, data: Buffer.alloc(t.data.length, 255) } : t]),
    { says: /fc1\.weight holds NaN/ },
  ),
  changed('a missing tensor', (list) => list.filter(([n]) => !/encoder.*fc2/.test(n)), {
    says: /1 missing \(.*fc2/,
  }),
  changed('one tensor too many', (list) => [...list, ['backbone.extra.weight', list[0][1]]], {
    says: /1 unexpected \(backbone\.extra\.weight/,
  }),
  changed(
    'a tensor of another shape',
    (list) =>
      list.map(([n, t]) => [n, /patch_embed\.weight/.test(n) ? { ...t, shape: [...t.shape].reverse() } : t]),
    { says: /1 of another shape \(backbone\.patch_embed\.weight/ },
  ),
  changed(
    'an EMA beside zeros',
    (list) => [
      ...under('model_ema.', list),
      ...under(
        'model.',
        list.map(([n, t]) => [n, zero(t)]),
      ),
    ],
    {
      code: 0,
      ci: true,
      says: /model_ema\.\* of the file were taken \(the EMA\); not model\.\*/,
      check: same,
    },
  ),
  changed(
    'a teacher beside zeros',
    (list) => [
      ...under(
        'student.',
        list.map(([n, t]) => [n, zero(t)]),
      ),
      ...under('teacher.', list),
    ],
    { code: 0, says: /teacher\.\* of the file were taken/, check: same },
  ),
  changed(
    'two models that could be meant',
    (list) => [...under('ema.', list), ...under('model_ema.', list)],
    { says: /several models that could be the EMA/ },
  ),
  changed(
    'an optimiser beside the weights',
    (list) => [...under('model.', list), ['optimizer.state.0.exp_avg', list[0][1]]],
    { code: 0, check: same },
  ),
  changed('weights of integers', (list) => list.map(([n, t]) => [n, { ...t, dtype: 'I32' }]), {
    says: /is I32; read are/,
  }),
];
