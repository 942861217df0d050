// The same images on both sides of an evaluation: one folder twice, copies, links, parts; and hold-outs.

import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { both, classes, evaluate, show } from '../trees.js';

export const part = 'shared';

/** A folder without parts: 10 images of each of two classes. */
const whole = async ({ dir, make }) => {
  make.file(join(dir, 'knn.yaml'), make.KNN);
  for (let i = 0; i < 20; i++) {
    await make.image(join(dir, 'data', `c${i % 2}`, `${i}.png`), {
      seed: i + 1,
      colour: make.COLOURS[i % 2],
    });
  }
};

export const cases = [
  {
    name: 'one folder on both sides',
    ci: true,
    make: whole,
    run: evaluate('folder:data'),
    code: 4,
    says: /the same 20 images .*holdout=0\.2.*--allow-overlap/,
  },
  {
    name: 'one folder on both sides, allowed',
    make: whole,
    run: evaluate('folder:data', 'folder:data', '--allow-overlap'),
    says: /20 of 20 folder:data images are also among .* allowed by --allow-overlap/,
  },
  {
    name: 'one folder with a hold-out',
    ci: true,
    make: whole,
    run: evaluate('folder:data?holdout=0.2'),
    says: /holdout=0\.2&split=test: 4 test images/,
  },
  {
    name: 'a copy under other names',
    make: async (t) => {
      await whole(t);
      for (let i = 0; i < 20; i++)
        await t.make.image(join(t.dir, 'copy', `c${i % 2}`, `x${99 - i}.png`), {
          seed: i + 1,
          colour: t.make.COLOURS[i % 2],
        });
    },
    run: evaluate('folder:data', 'folder:copy'),
    code: 4,
    says: /20 of 20 folder:copy images are also among the 20 training images.*for example.*above 1 %.*--allow-overlap/,
  },
  {
    name: 'one test image of four is a training image',
    make: async (t) => {
      await classes()(t);
      await t.make.image(join(t.dir, 'data/test/class0/again.png'), { seed: 1, colour: t.make.COLOURS[0] });
    },
    run: evaluate('folder:data'),
    code: 4,
    says: /1 of 9 folder:data images are also among/,
  },
  {
    name: 'one folder by two paths',
    make: async (t) => {
      await whole(t);
      symlinkSync(join(t.dir, 'data'), join(t.dir, 'link'));
    },
    run: evaluate('folder:data', 'folder:link'),
    code: 4,
    says: /the same 20 images/,
  },
  {
    name: 'a dry run of one folder on both sides',
    make: whole,
    run: evaluate('folder:data', 'folder:data', '--dry-run'),
    code: 4,
    says: /the same 20 images/,
  },
  {
    name: 'a part on both sides',
    make: classes(),
    run: evaluate('folder:data?split=train'),
    code: 4,
    says: /the same 12 images/,
  },
  ...['0', '1', '2', 'x', ''].map((share) => ({
    name: `holdout=${share}`,
    make: whole,
    run: show(`folder:data?holdout=${share}`),
    code: 2,
    says: /holdout=/,
  })),
  {
    name: 'a hold-out beside a test part',
    make: both('train', 'test'),
    run: show('folder:data?holdout=0.2'),
    code: 2,
    says: /has a test part/,
  },
  {
    name: 'evals of a config on one set',
    make: async (t) => {
      await whole(t);
      t.make.file(
        join(t.dir, 'tiny.yaml'),
        `${t.make.TINY}evals: [{ task: cls, every: 2, train: 'folder:data', test: 'folder:data', protocol: ./knn.yaml }]\n`,
      );
    },
    run: ['pretrain', 'tiny.yaml', '--out', 'run'],
    code: 4,
    says: /the same 20 images/,
  },
];
