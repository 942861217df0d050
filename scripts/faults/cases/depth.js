// Depth maps: a scale of other units, arrays that are no depth maps, and maps that measure nothing.

import { join } from 'node:path';

export const part = 'depth';

const PROTOCOL = `depth:
  transform: { image_size: null }
  validation_share: 0.2
  split_seed: 0
  min_depth: 0.001
  max_depth: 10
  crop: none
  metric: rmse
  bins: { count: 8, upsample: 1, warmup_steps: 2, training: { learning_rates: [1e-2], weight_decays: [0], batch: 4, steps: 10, warmup_steps: 2, betas: [0.9, 0.999], eps: 1e-8, init_std: 0.01 } }
  regression: null
`;
const SIDE = 32;

/** A .npy file of a map: `type` as NumPy writes it, `values` the array behind it. */
function npy(type, values, shape = `(${SIDE}, ${SIDE})`) {
  const header = `{'descr': '${type}', 'fortran_order': False, 'shape': ${shape}, }`.padEnd(117);
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return Buffer.concat([Buffer.from(`\x93NUMPY\x01\x00v\x00${header}\n`, 'latin1'), bytes]);
}
const metres = (i) => Float32Array.from({ length: SIDE * SIDE }, (_, p) => 1 + ((p + 7 * i) % 50) / 10);

/** Ten training and four test images with a map each, the maps of `bad` in place of those of training image 3. */
const pairs =
  (bad) =>
  async ({ dir, make }) => {
    make.file(join(dir, 'depth.yaml'), PROTOCOL);
    for (const [split, count] of [
      ['train', 10],
      ['test', 4],
    ]) {
      for (let i = 0; i < count; i++) {
        const seed = i + (split === 'test' ? 100 : 0);
        await make.image(join(dir, `images/${split}/${i}.png`), { width: SIDE, height: SIDE, seed });
        const map = split === 'train' && i === 3 && bad ? bad() : npy('<f4', metres(i));
        make.file(join(dir, `maps/${split}/${i}.npy`), map);
      }
    }
  };
const evaluate = (options) => [
  ...['eval', 'depth', 'pixels:8?size=32', '--protocol', 'depth.yaml', '--out', 'evals'],
  ...[
    '--train',
    `pairs:images/train,maps/train?${options}`,
    '--test',
    `pairs:images/test,maps/test?${options}`,
  ],
];
const refused = (name, bad, says, more = {}) => ({
  name,
  make: pairs(bad),
  run: evaluate('depth=1'),
  code: 4,
  says,
  ...more,
});

export const cases = [
  {
    name: 'arrays of metres are learnt',
    ci: true,
    make: pairs(),
    run: evaluate('depth=1'),
    says: /bins .* rmse/,
    not: /NaN/,
  },
  {
    name: 'a scale of other units, which leaves nothing to count',
    ci: true,
    make: pairs(),
    run: evaluate('depth=1000'),
    code: 4,
    says: /no pixel of the training images of pairs:.* has a depth above 0 and up to 10 m: check its scale/,
  },
  {
    name: 'a scale that is no number',
    make: pairs(),
    run: evaluate('depth=millimetres'),
    code: 2,
    says: /depth.*millimetres/,
  },
  {
    name: 'maps without a scale',
    make: pairs(),
    run: evaluate('ignore=255'),
    code: 2,
    says: /must say which labels there are: .* or depth=METRES for depth maps/,
  },
  refused(
    'an array of whole numbers of 32 bits',
    () => npy('<i4', new Int32Array(SIDE * SIDE).fill(2)),
    /3\.npy holds <i4; little-endian float32, float64 and uint16 are read/,
    { ci: true },
  ),
  refused(
    'an array with a channel too many',
    () => npy('<f4', new Float32Array(3 * SIDE * SIDE), `(${SIDE}, ${SIDE}, 3)`),
    /3\.npy has the shape \(32, 32, 3\); expected height and width/,
  ),
  refused(
    'a map of another size than its image',
    () => npy('<f4', new Float32Array(SIDE * SIDE).fill(2), `(${SIDE / 2}, ${SIDE * 2})`),
    /3\.npy is 64 x 16 pixels but its image .*3\.png is 32 x 32/,
  ),
  refused(
    'a map that measures nothing',
    () => npy('<f4', new Float32Array(SIDE * SIDE)),
    /3\.npy measures no depth: no pixel is above 0/,
    { ci: true },
  ),
  refused(
    'a map that holds no numbers',
    () => npy('<f4', new Float32Array(SIDE * SIDE).fill(Number.NaN)),
    /3\.npy measures no depth/,
  ),
  {
    name: 'a source without depth',
    ci: true,
    make: pairs(),
    run: [
      'eval',
      'depth',
      'pixels:8?size=32',
      '--protocol',
      'depth.yaml',
      '--train',
      'folder:images',
      '--test',
      'folder:images',
    ],
    code: 4,
    says: /has no depth maps: depth needs a source that has/,
  },
  {
    name: 'a protocol whose least depth is not below its greatest',
    make: async (t) => {
      await pairs()(t);
      t.make.file(join(t.dir, 'depth.yaml'), PROTOCOL.replace('min_depth: 0.001', 'min_depth: 10'));
    },
    run: evaluate('depth=1'),
    code: 2,
    says: /min_depth lies below max_depth/,
  },
];
