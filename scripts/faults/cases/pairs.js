// Images with label maps, and lists of them: halves that are missing, names of two systems, pixels and classes that no score counts.

import { join } from 'node:path';

export const part = 'pairs';

const show = (source) => ['data', 'show', source, '--out', 'sheet.png'];
const evaluate = (task, train, test = train) => [
  ...['eval', task, 'pixels:8?size=16', '--train', train, '--test', test],
  ...['--protocol', task === 'cls' ? 'knn.yaml' : 'logreg.yaml', '--out', 'evals'],
];

/** Pairs, changed by `change`. */
const pairs =
  (change = () => {}) =>
  async (t) => {
    t.make.file(join(t.dir, 'logreg.yaml'), t.make.LOGREG);
    await t.make.pairs(join(t.dir, 'data'));
    await change({ ...t, data: join(t.dir, 'data') });
  };
const PAIRS = 'pairs:data/images,data/labels?classes=4';
const pairing = (name, change, says, more = {}) => ({
  name,
  make: pairs(change),
  run: show(PAIRS),
  code: 4,
  says,
  ...more,
});
const flatMap = (make, path, label) => make.labelMap(path, new Uint8Array(32 * 32).fill(label), 32, 32);

const LIST = 'data/ImageSets/Segmentation/train.txt';
const voc =
  (list, extra = []) =>
  async ({ dir, make }) => {
    for (const name of ['one', 'two', ...extra]) {
      await make.image(join(dir, 'data/JPEGImages', `${name}.jpg`), {
        width: 32,
        height: 32,
        seed: name.length,
      });
      await flatMap(make, join(dir, 'data/SegmentationClass', `${name}.png`), 3);
    }
    make.file(join(dir, LIST), list);
  };

export const cases = [
  { name: 'pairs', ci: true, make: pairs(), run: show(PAIRS), says: /label map +4 classes/ },
  pairing(
    'an image without a label map',
    ({ make, data }) => make.image(join(data, 'images/train/x.png')),
    /1 images without a label map/,
  ),
  pairing(
    'a label map without an image',
    ({ make, data }) => flatMap(make, join(data, 'labels/train/x.png'), 1),
    /1 label maps without an image/,
  ),
  pairing(
    'two images of one name',
    ({ make, data }) => make.image(join(data, 'images/train/train0.jpg')),
    /images that differ by their ending or Unicode form only/,
  ),
  pairing(
    'a label map as JPEG',
    ({ make, data }) => make.image(join(data, 'labels/train/train0.jpg')),
    /no PNG \(train0\.jpg\)/,
  ),
  {
    name: 'pairs in two Unicode forms',
    make: async ({ dir, make }) => {
      await make.image(join(dir, 'i/caf\u00e9.png'), { width: 32, height: 32 });
      await flatMap(make, join(dir, 'm/cafe\u0301.png'), 1);
    },
    run: show('pairs:i,m?classes=4'),
    says: /images +1\n/,
  },
  {
    name: 'pairs with thumbnails',
    make: pairs(({ make, data }) => make.file(join(data, 'images/train/@eaDir/t.png'), '')),
    run: show(PAIRS),
    says: /@eaDir/,
  },
  {
    name: 'pairs on both sides',
    make: async ({ dir, make }) => {
      make.file(join(dir, 'logreg.yaml'), make.LOGREG);
      for (let i = 0; i < 6; i++) {
        await make.image(join(dir, 'i', `${i}.png`), { width: 32, height: 32, seed: i });
        await flatMap(make, join(dir, 'm', `${i}.png`), i % 2);
      }
    },
    run: evaluate('seg', 'pairs:i,m?classes=2'),
    code: 4,
    says: /the same 6 images .*&holdout=0\.2/,
  },
  {
    name: 'pixels that no score counts',
    ci: true,
    make: pairs(),
    run: evaluate('seg', `${PAIRS}&ignore=3`),
    says: /6\.[23] % of their pixels count for no score/,
  },
  {
    name: 'one class has all counted pixels',
    make: pairs(async ({ make, data }) => {
      for (let i = 0; i < 4; i++) await flatMap(make, join(data, 'labels/test', `test${i}.png`), 2);
    }),
    run: evaluate('seg', PAIRS),
    says: /all counted pixels of .* are of one class \(2\)/,
  },
  {
    name: 'no pixel counts',
    make: pairs(async ({ make, data }) => {
      for (let i = 0; i < 4; i++) await flatMap(make, join(data, 'labels/test', `test${i}.png`), 255);
    }),
    run: evaluate('seg', PAIRS),
    code: 4,
    says: /no pixel of .* counts/,
  },
  {
    name: 'names of the test labels in another order',
    ci: true,
    make: pairs(({ dir, make }) => {
      make.file(join(dir, 'a.txt'), 'ground\nred\ngreen\nblue\n');
      make.file(join(dir, 'b.txt'), 'ground\nblue\ngreen\nred\n');
    }),
    run: evaluate(
      'seg',
      'pairs:data/images,data/labels?names=a.txt',
      'pairs:data/images,data/labels?names=b.txt',
    ),
    code: 4,
    says: /label maps of .* are not those of .* label 1 is 'blue', not 'red'/,
  },
  {
    name: 'another number of classes in the test part',
    make: pairs(),
    run: evaluate('seg', PAIRS, 'pairs:data/images,data/labels?classes=5'),
    code: 4,
    says: /5 classes, not 4/,
  },
  {
    name: 'other ignored labels in the test part',
    make: pairs(),
    run: evaluate('seg', PAIRS, `${PAIRS}&ignore=0,255`),
    code: 4,
    says: /0, 255 is ignored, not 255/,
  },
  {
    name: 'a class that the test maps have and the training maps lack',
    make: pairs(async ({ make, data }) => {
      await flatMap(make, join(data, 'labels/test/test0.png'), 4);
    }),
    run: evaluate('seg', 'pairs:data/images,data/labels?classes=5'),
    code: 0,
    says: /no training image has pixels of 1 of the 5 classes of .* \(4\): no head can say them/,
  },
  {
    name: 'a class without pixels in the test part',
    make: pairs(async ({ make, data }) => {
      for (let i = 0; i < 4; i++) {
        const map = new Uint8Array(1024).fill(1, 300);
        await make.labelMap(join(data, 'labels/test', `test${i}.png`), map, 32, 32);
      }
    }),
    run: evaluate('seg', PAIRS),
    says: /has no pixels of 2 of 4 classes \(2, 3\)/,
  },
  {
    name: 'names with a byte order mark',
    make: pairs(({ make, data }) =>
      make.file(join(data, 'names.txt'), '\ufeffsky\r\nsea\r\nland\r\nice\r\n'),
    ),
    run: [...show('pairs:data/images,data/labels?names=data/names.txt'), '--json'],
    says: /"sky",\s+"sea"/,
  },
  {
    name: 'names twice',
    make: pairs(({ make, data }) => make.file(join(data, 'names.txt'), 'sky\nsea\nsky\nice\n')),
    run: show('pairs:data/images,data/labels?names=data/names.txt'),
    code: 4,
    says: /1 names twice \(sky\)/,
  },
  {
    name: 'names that are no text',
    make: pairs(({ make, data }) => make.file(join(data, 'names.txt'), Buffer.from([0xff, 0xfe, 0, 65]))),
    run: show('pairs:data/images,data/labels?names=data/names.txt'),
    code: 4,
    says: /is not UTF-8 text/,
  },

  // Lists of PASCAL VOC
  {
    name: 'a list with a byte order mark',
    make: voc('\ufeffone\r\ntwo\r\n'),
    run: show('voc:data'),
    says: /images +2\n/,
  },
  {
    name: 'a list that names missing images',
    make: voc('one\ntwo\ngone\n'),
    run: show('voc:data'),
    code: 4,
    says: /1 listed images that are not in/,
  },
  {
    name: 'a list with doubles',
    make: voc('one\ntwo\none\n'),
    run: show('voc:data'),
    code: 4,
    says: /1 names twice \(one\)/,
  },
  { name: 'an empty list', make: voc('\n\n'), run: show('voc:data'), code: 4, says: /names no images/ },
  {
    name: 'a list that is no text',
    make: voc(Buffer.from([0xff, 0xfe, 111, 0])),
    run: show('voc:data'),
    code: 4,
    says: /is not UTF-8 text/,
  },
  {
    name: 'a list in another Unicode form',
    make: voc('caf\u00e9\n', ['cafe\u0301']),
    run: show('voc:data'),
    says: /images +1\n/,
  },
];
