// Label files that do not mean what they seem to: numbers, quotes, encodings, several labels, names of two systems.

import { join } from 'node:path';

export const part = 'labels';

const SMALL = { width: 12, height: 12 };
const show = (source) => ['data', 'show', source, '--out', 'sheet.png'];
const evaluate = (task, train, test = train) => [
  ...['eval', task, 'pixels:8?size=16', '--train', train, '--test', test],
  ...['--protocol', task === 'cls' ? 'knn.yaml' : 'logreg.yaml', '--out', 'evals'],
];

/** Three images, flat, and a label file. */
const flat =
  (text, name = 'labels.csv') =>
  async ({ dir, make }) => {
    for (const [i, image] of ['a.png', 'b.png', 'c.png'].entries())
      await make.image(join(dir, 'data', image), { ...SMALL, seed: i });
    make.file(join(dir, 'data', name), text);
  };

const reads = (name, text, says = /classes +2/, file = 'labels.csv') => ({
  name,
  make: flat(text, file),
  run: show('folder:data'),
  says,
});
const refuses = (name, text, says, more = {}) => ({
  name,
  make: flat(text),
  run: show('folder:data'),
  code: 4,
  says,
  ...more,
});

/** Train images in class folders, test images flat with a label file of `label(i, class)`. */
const numbered =
  (names, label) =>
  async ({ dir, make }) => {
    make.file(join(dir, 'knn.yaml'), make.KNN);
    let seed = 1;
    const lines = [];
    for (const [c, name] of names.entries()) {
      for (let i = 0; i < 5; i++)
        await make.image(join(dir, 'data/train', name, `${i}.png`), {
          seed: seed++,
          colour: make.COLOURS[c],
        });
      for (let i = 0; i < 2; i++) {
        await make.image(join(dir, 'data/val', `v${c}${i}.png`), { seed: seed++, colour: make.COLOURS[c] });
        lines.push(`v${c}${i}.png,${label(c, name)}`);
      }
    }
    make.file(join(dir, 'data/val/labels.csv'), `${lines.join('\n')}\n`);
  };

/** Images with several labels each, in train, test or both. */
const several =
  (...of) =>
  async ({ dir, make }) => {
    make.file(join(dir, 'knn.yaml'), make.KNN);
    let seed = 1;
    for (const part of ['train', 'test']) {
      const lines = [];
      for (let i = 0; i < 12; i++) {
        await make.image(join(dir, 'data', part, `${i}.png`), { seed: seed++, colour: make.COLOURS[i % 2] });
        lines.push(`${i}.png,${i % 2}${of.includes(part) && i % 3 === 0 ? `;${1 - (i % 2)}` : ''}`);
      }
      make.file(join(dir, 'data', part, 'labels.csv'), lines.join('\n'));
    }
  };

export const cases = [
  // Numbers say what they index
  {
    name: 'ids of a development kit',
    ci: true,
    make: numbered(['n01', 'n02', 'n03'], (c) => 3 - c),
    run: evaluate('cls', 'folder:data'),
    code: 4,
    says: /numbers its classes \(1, 2, 3\) while the train images name them.*numbers=sorted/,
  },
  {
    name: 'places among sorted names, said',
    make: numbered(['n01', 'n02', 'n03'], (c) => c),
    run: evaluate('cls', 'folder:data?numbers=sorted'),
    says: /knn .* 100\.0/,
  },
  {
    name: 'names',
    make: numbered(['n01', 'n02', 'n03'], (_, name) => name),
    run: evaluate('cls', 'folder:data'),
    says: /knn .* 100\.0/,
  },
  {
    name: 'numbers that are names',
    make: numbered(['1', '2', '10'], (_, name) => name),
    run: evaluate('cls', 'folder:data'),
    says: /knn .* 100\.0/,
  },
  {
    name: 'a number that is no name of numbered folders',
    make: numbered(['1', '2', '3'], (c) => c),
    run: evaluate('cls', 'folder:data'),
    code: 4,
    says: /labels that are no class \(0\)/,
  },
  {
    name: 'a place beyond the classes',
    make: numbered(['n01', 'n02'], (c) => c + 1),
    run: evaluate('cls', 'folder:data?numbers=sorted'),
    code: 4,
    says: /labels that are no class \(2\)/,
  },
  {
    name: 'a numbering that is none',
    make: flat('a.png,1\nb.png,0\nc.png,1\n'),
    run: show('folder:data?numbers=devkit'),
    code: 2,
    says: /must be sorted/,
  },
  {
    name: 'numbers=sorted with names',
    make: numbered(['n01', 'n02'], (_, name) => name),
    run: evaluate('cls', 'folder:data?numbers=sorted'),
    code: 4,
    says: /labels that are no numbers/,
  },

  // Several labels, or none
  {
    name: 'training images of several labels',
    ci: true,
    make: several('train'),
    run: evaluate('cls', 'folder:data'),
    code: 4,
    says: /4 of 12 training images have several labels \(.*0\.png: 0, 1\)/,
  },
  {
    name: 'test images of several labels',
    make: several('test'),
    run: evaluate('cls', 'folder:data'),
    says: /12 test images/,
  },
  {
    name: 'images without a label',
    make: async (t) => {
      await several()(t);
      t.make.file(
        join(t.dir, 'data/test/labels.csv'),
        Array.from({ length: 12 }, (_, i) => `${i}.png,${i < 3 ? '' : i % 2}`).join('\n'),
      );
    },
    run: evaluate('cls', 'folder:data'),
    says: /3 of 12 images of folder:data have no label and are not counted/,
  },
  {
    name: 'all labels of one class',
    make: async (t) => {
      await several()(t);
      t.make.file(
        join(t.dir, 'data/train/labels.csv'),
        Array.from({ length: 12 }, (_, i) => `${i}.png,1`).join('\n'),
      );
    },
    run: evaluate('cls', 'folder:data'),
    code: 4,
    says: /are of one class \(1\)/,
  },

  // How label files are written
  reads('a byte order mark', '\ufeffpath,label\na.png,x\nb.png,y\nc.png,x\n'),
  reads('line ends of Windows', 'a.png,x\r\nb.png,y\r\nc.png,x\r\n'),
  reads('line ends of old Macs', 'a.png,x\rb.png,y\rc.png,x'),
  reads('quotes', '"path","label"\n"a.png","x"\nb.png,"y"\n"c.png",x\n'),
  reads('another header', 'image_id,Category\na.png,x\nb.png,y\nc.png,x\n'),
  reads('white space around', ' a.png , x \n\tb.png,y\t\nc.png,  x\n\n'),
  reads('paths of Windows', '.\\a.png,x\n.\\b.png,y\n.\\c.png,x\n'),
  reads('tabs in labels.txt', 'a.png\tx\nb.png\ty\nc.png\tx\n', /classes +2/, 'labels.txt'),
  reads('no label for one', 'a.png,x\nb.png,y\nc.png,\n', /1 images without a label: c\.png/),
  refuses('a file of nothing', '', /3 images without a line/, { ci: true }),
  refuses(
    'three columns',
    'path,label,split\na.png,x,1\nb.png,y,1\nc.png,x,1\n',
    /has the columns path, label, split; expected two|lines whose image is not there/,
  ),
  refuses(
    'swapped columns',
    'label,filename\nx,a.png\ny,b.png\nx,c.png\n',
    /3 images without a line|has the columns/,
  ),
  refuses('an image too few', 'a.png,x\nb.png,y\n', /1 images without a line \(c\.png\)/),
  refuses(
    'an image too many',
    'a.png,x\nb.png,y\nc.png,x\nd.png,y\n',
    /1 lines whose image is not there \(d\.png\)/,
  ),
  refuses('an image twice', 'a.png,x\nb.png,y\nc.png,x\na.png,y\n', /1 images on several lines \(a\.png\)/),
  refuses('a quote that does not end', 'a.png,x\nb.png,"y\nc.png,x\n', /quotes that do not match/),
  refuses(
    'a label below 0',
    'a.png,-1\nb.png,0\nc.png,1\n',
    /the label -1: leave the label of an image without one empty/,
  ),
  refuses('bytes that are no UTF-8', Buffer.from([97, 46, 112, 110, 103, 44, 0xe9, 10]), /is not UTF-8 text/),
  refuses('UTF-16', Buffer.from('\ufeffa.png,x\n', 'utf16le'), /is not UTF-8 text/),
  {
    name: 'both label files',
    make: async (t) => {
      await flat('a.png,x\n')(t);
      t.make.file(join(t.dir, 'data/labels.txt'), '');
    },
    run: show('folder:data'),
    code: 4,
    says: /keep one/,
  },
  {
    name: 'a label file that names none of the images in class folders',
    make: async ({ dir, make }) => {
      for (const [i, p] of ['x/1.png', 'y/2.png'].entries())
        await make.image(join(dir, 'data', p), { ...SMALL, seed: i });
      make.file(join(dir, 'data/labels.csv'), 'id,species\n7,cat\n');
    },
    run: show('folder:data'),
    says: /label files that name none of the images: labels\.csv/,
  },
  {
    name: 'a path in another Unicode form',
    make: async ({ dir, make }) => {
      await make.image(join(dir, 'data/caf\u00e9.png'), SMALL);
      make.file(join(dir, 'data/labels.csv'), 'cafe\u0301.png,x\n');
    },
    run: show('folder:data'),
    says: /classes +1/,
  },
];
