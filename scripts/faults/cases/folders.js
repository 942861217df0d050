// Data folders as people have them: parts under any name, thumbnails, stray files, links, the same images twice, paths with odd characters.

import { mkdirSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { both, classes, evaluate, IMAGE, show, tree } from '../trees.js';

export const part = 'folders';

const shows = (name, make, says, more = {}) => ({ name, make, run: show('folder:data'), says, ...more });
const refuses = (name, make, says, more = {}) => shows(name, make, says, { code: 4, ...more });

export const cases = [
  // Parts, whatever they are called
  ...[
    ['Train', 'Test'],
    ['Training', 'Testing'],
    ['TRAIN', 'VAL'],
    ['trn', 'tst'],
    ['train', 'Validation'],
    ['Train', 'dev'],
  ].map(([train, test], i) => ({
    name: `${train} and ${test} are parts`,
    ci: i === 1,
    make: both(train, test),
    run: show('folder:data', '--split', 'test', '--json'),
    says: /"split": "test"[\s\S]*"images": 4/,
  })),
  {
    name: 'val by its name beside test',
    make: both('val', 'test'),
    run: show('folder:data?split=val'),
    says: /images +4/,
  },
  ...[
    ['01_train', '02_test'],
    ['imagesTr', 'imagesTs'],
    ['trainA', 'testA'],
  ].map(([train, test]) =>
    refuses(`${train} and ${test} look like parts`, both(train, test), /which look like a part/),
  ),
  refuses(
    'val inside of train',
    tree('train/a/1.png', 'train/b/2.png', 'train/val/a/3.png', 'test/a/4.png'),
    /train has 'val' among its classes, which looks like a part/,
  ),
  {
    name: 'a list of labels that is not read',
    make: async ({ dir, make }) => {
      make.file(join(dir, 'knn.yaml'), make.KNN);
      for (const [i, path] of ['train/1.png', 'train/2.png', 'test/3.png'].entries())
        await make.image(join(dir, 'data', path), { seed: i + 1 });
      for (const p of ['train', 'test']) make.file(join(dir, 'data', p, 'labels.tsv'), '1.png\ta\n');
    },
    run: evaluate('folder:data'),
    code: 4,
    says: /labels\.csv or labels\.txt alone, not from 'labels\.tsv'/,
  },
  {
    name: 'names with backslashes, from an archive made on Windows',
    make: async ({ dir, make }) => {
      for (const [i, name] of ['train\\a\\1.png', 'test\\a\\2.png'].entries()) {
        await make.image(join(dir, 'data', `${i}.png`), { ...IMAGE, seed: i + 1 });
        renameSync(join(dir, 'data', `${i}.png`), join(dir, 'data', name));
      }
    },
    run: show('folder:data'),
    says: /2 images with a backslash in their names/,
  },
  refuses(
    'Train and train at once',
    both('Train', 'train'),
    /'Train' and 'train', which are all its train part/,
    { ci: true },
  ),
  refuses('test and testing at once', both('test', 'testing'), /'test' and 'testing'/),
  refuses('train beside a class', tree('train/1.png', 'car/2.png'), /a part or a class\? .*parts=none/),
  refuses('train2017 and val2017', tree('train2017/1.png', 'val2017/2.png'), /look like a part/),
  refuses('training_set and test_set', tree('training_set/a/1.png', 'test_set/a/2.png'), /look like a part/),
  refuses('Test images beside classes', tree('cat/1.png', 'dog/2.png', 'Test images/3.png'), /'Test images'/),
  refuses(
    'parts inside of classes',
    tree('cat/train/1.png', 'cat/test/2.png', 'dog/train/3.png'),
    /inside of its class folders/,
  ),
  refuses(
    'parts inside of parts',
    tree('train/train/1.png', 'train/test/2.png', 'test/a/3.png'),
    /where its classes should be/,
  ),
  {
    name: 'classes called train and car',
    make: tree('train/1.png', 'car/2.png'),
    run: show('folder:data?parts=none'),
    says: /classes +2/,
  },
  {
    name: 'parts=some',
    make: tree('a/1.png'),
    run: show('folder:data?parts=some'),
    code: 2,
    says: /must be none/,
  },
  {
    name: 'a split that is none',
    make: both('train', 'test'),
    run: show('folder:data?split=sample'),
    code: 2,
    says: /must be train, test or val/,
  },
  {
    name: 'a val part that is not there',
    make: both('train', 'test'),
    run: show('folder:data?split=val'),
    code: 4,
    says: /no val images/,
  },
  {
    name: 'pretraining does not read Testing',
    make: async (t) => {
      await both('Training', 'Testing')(t);
      t.make.file(join(t.dir, 'tiny.yaml'), t.make.TINY.replace('batch: 8', 'batch: 4'));
    },
    run: ['pretrain', 'tiny.yaml', '--data', 'folder:data', '--steps', '1', '--out', 'run'],
    says: /images from folder:.*split=train/,
  },

  // What is left out is said
  ...[
    ['thumbnails of a disk station', ['a/@eaDir/1.png/T.jpg'], /hidden folders.*@eaDir/],
    [
      'leftovers of a Mac archive',
      ['__MACOSX/a/._1.png', 'a/._1.png', 'a/.DS_Store'],
      /hidden files: a\/\.DS_Store, a\/\._1/,
    ],
    ['Thumbs.db', ['a/Thumbs.db'], /hidden files: a\/Thumbs\.db/],
    [
      'images of other kinds',
      ['a/x.gif', 'b/y.HEIC', 'b/z.bmp'],
      /3 images of kinds that are not read: a\/x\.gif/,
    ],
    ['other files', ['notes.txt', 'a/1.json', 'a/noending'], /3 files of other kinds/],
    ['an empty class', ['cow/none.txt'], /1 class folders without images: cow\//],
    [
      'a picture beside the class folders',
      ['cover.png'],
      /1 images beside the class folders, without a label: cover\.png/,
    ],
  ].map(([name, files, says], i) =>
    shows(`left out: ${name}`, tree('a/1.png', 'b/2.png', ...files), says, {
      ci: i < 2,
      check: ({ result }) =>
        /images +[23]\n/.test(result.stdout) ? undefined : `counts other images: ${result.stdout}`,
    }),
  ),
  shows(
    'left out: folders beside the parts',
    tree('train/a/1.png', 'test/a/2.png', 'extra/3.png'),
    /folders with images beside the parts: extra\//,
  ),
  {
    name: 'left out: said by an evaluation and in its record',
    ci: true,
    make: async (t) => {
      await classes()(t);
      t.make.file(join(t.dir, 'data/train/class0/old.gif'), '');
    },
    run: evaluate('folder:data'),
    says: /note .*left out 1 images of kinds that are not read \(class0\/old\.gif\)/,
  },
  {
    name: 'left out: said by a pretraining',
    make: async (t) => {
      await both('train', 'test')(t);
      t.make.file(join(t.dir, 'data/train/a/old.gif'), '');
      t.make.file(join(t.dir, 'tiny.yaml'), t.make.TINY.replace('batch: 8', 'batch: 4'));
    },
    run: ['pretrain', 'tiny.yaml', '--data', 'folder:data', '--steps', '1', '--out', 'run'],
    says: /left out 1 images of kinds/,
  },
  refuses(
    'a part of thumbnails only',
    tree('train/@eaDir/1.png', 'test/a/1.png'),
    /holds no images.*hidden folders/,
  ),
  {
    name: 'a name that forges a line',
    make: tree('a/1.png', 'b/2.png', 'x\nerror: forged.txt'),
    run: show('folder:data'),
    says: /x\\nerror: forged/,
  },
  {
    name: 'a class whose name forges a line',
    make: tree('a\nerror: x/1.png', 'b/2.png'),
    run: show('folder:data'),
    says: /a\\nerror: x/,
  },

  // Classes
  {
    name: 'a test class that differs in case',
    make: classes({}, ['test/Class0/x.png']),
    run: evaluate('folder:data'),
    code: 4,
    says: /'Class0', which the train images do not have; theirs is called 'class0'/,
  },
  {
    name: 'a class that the test part lacks',
    make: classes({}, ['train/rare/1.png', 'train/rare/2.png']),
    run: evaluate('folder:data'),
    says: /has no images of 1 of 3 classes \(rare\)/,
  },
  {
    name: 'a test part of one class',
    make: async (t) => {
      await classes({ test: 0 })(t);
      for (const i of [1, 2])
        await t.make.image(join(t.dir, 'data/test/class1', `${i}.png`), {
          seed: 700 + i,
          colour: t.make.COLOURS[1],
        });
    },
    run: evaluate('folder:data'),
    says: /all counted images .* are of one class \(class1\)/,
  },
  {
    name: 'one class',
    make: classes({ classes: 1 }),
    run: evaluate('folder:data'),
    code: 4,
    says: /of one class \(class0\)/,
  },
  shows(
    'classes that differ in case',
    tree('Cat/1.png', 'cat/2.png'),
    /upper and lower case or white space only: 'Cat' and 'cat'/,
  ),
  {
    name: 'a class in two Unicode forms',
    ci: true,
    make: classes({}, ['train/caf\u00e9/1.png', 'train/caf\u00e9/2.png', 'test/cafe\u0301/3.png']),
    run: evaluate('folder:data'),
    says: /9 test images/,
  },
  {
    name: 'an unlabelled test beside a labelled val',
    make: classes({ parts: ['train', 'val'] }, ['test/1.png', 'test/2.png']),
    run: evaluate('folder:data'),
    code: 4,
    says: /val\/ beside it has: test on folder:.*split=val/,
  },
  {
    name: 'that val by its name',
    make: classes({ parts: ['train', 'val'] }, ['test/1.png']),
    run: evaluate('folder:data', 'folder:data?split=val'),
    says: /split=val: 8 test images/,
  },

  // Links and paths
  refuses(
    'links that fan out',
    async ({ dir, make }) => {
      await make.image(join(dir, 'f/d0/1.png'));
      for (let i = 1; i < 30; i++) {
        mkdirSync(join(dir, 'f', `d${i}`), { recursive: true });
        for (const side of 'lr') symlinkSync(join(dir, 'f', `d${i - 1}`), join(dir, 'f', `d${i}`, side));
      }
      symlinkSync(join(dir, 'f/d29'), join(dir, 'data'));
    },
    /links that show the same folders again and again/,
  ),
  shows(
    'links in circles and to nowhere',
    async (t) => {
      await tree('a/1.png', 'b/2.png')(t);
      symlinkSync(join(t.dir, 'data'), join(t.dir, 'data/a/up'));
      symlinkSync('/nowhere', join(t.dir, 'data/b/x.png'));
    },
    /links that lead nowhere: b\/x\.png/,
  ),
  ...['what?', 'a&b', 'a,b', '100%25', 'x#1', 'two words', 'line\nfeed'].map((name, i) => ({
    name: `a path with ${JSON.stringify(name).slice(1, -1)}`,
    ci: i === 0,
    make: ({ dir, make }) => make.image(join(dir, name, 'a/1.png'), IMAGE),
    run: show(`folder:${encodeURIComponent(name)}`),
    says: /images +1\n/,
  })),
  {
    name: 'a question mark as it is',
    make: ({ dir, make }) => make.image(join(dir, 'what?/a/1.png'), IMAGE),
    run: show('folder:what?/a'),
    code: 2,
    says: /a \? of a path is written %3F/,
  },
  {
    name: 'a path beyond what systems take',
    run: show(`folder:${'x'.repeat(300)}/${'y/'.repeat(2500)}`),
    code: 4,
    says: /does not exist|too long|ENAMETOOLONG/,
  },
];
