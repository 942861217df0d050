// What must work on good data (so that a case that fails for another reason is noticed), and the plainest mistakes.

import { join } from 'node:path';

export const part = 'basics';

const eval_ = (task, source, protocol) => [
  'eval',
  task,
  'pixels:8?size=16',
  '--train',
  source,
  '--test',
  source,
  '--protocol',
  protocol,
  '--out',
  'evals',
];

export const cases = [
  {
    name: 'class folders are classified',
    ci: true,
    make: async ({ dir, make }) => {
      await make.classFolders(join(dir, 'data'));
      make.file(join(dir, 'knn.yaml'), make.KNN);
    },
    run: eval_('cls', 'folder:data', 'knn.yaml'),
    says: /knn .* 100\.0/,
  },
  {
    name: 'pairs are segmented',
    ci: true,
    make: async ({ dir, make }) => {
      make.file(join(dir, 'logreg.yaml'), make.LOGREG);
      await make.pairs(join(dir, 'data'));
    },
    run: eval_('seg', 'pairs:data/images,data/labels?classes=4', 'logreg.yaml'),
    says: /logreg .* miou/,
  },
  {
    name: 'a tiny run is trained',
    make: ({ dir, make }) => make.file(join(dir, 'tiny.yaml'), make.TINY),
    run: ['pretrain', 'tiny.yaml', '--out', 'run'],
    says: /trained 4 steps/,
  },
  { name: 'an unknown command', run: ['evaluate'], code: 2 },
  { name: 'an unknown flag', run: ['pretrain', '--stepz', '3'], code: 2, says: /stepz/ },
  {
    name: 'an unknown preset',
    ci: true,
    run: ['pretrain', 'vit-xxl', '--out', 'r'],
    code: 2,
    says: /vit-xxl/,
  },
  {
    name: 'a source that does not exist',
    ci: true,
    run: ['data', 'show', 'folder:nowhere'],
    code: 4,
    says: /nowhere does not exist/,
  },
];
