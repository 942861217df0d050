// Trees of images for cases about folders, and the commands that look at them.

import { join } from 'node:path';

/** Size of their images. */
export const IMAGE = { width: 12, height: 12 };

/** `paths` below `data`: images (two of one name in one case have other pixels), or empty files of other kinds. */
export const tree =
  (...paths) =>
  async ({ dir, make }) => {
    for (const [seed, path] of paths.entries()) {
      const at = join(dir, 'data', path);
      if (/\.(png|jpe?g)$/i.test(path) && !path.includes('/._'))
        await make.image(at, { ...IMAGE, seed: seed + 1 });
      else make.file(at, '');
    }
  };

export const both = (train, test) =>
  tree(...[train, test].flatMap((p) => ['a/1.png', 'a/2.png', 'b/3.png', 'b/4.png'].map((f) => `${p}/${f}`)));

export const show = (source, ...more) => ['data', 'show', source, '--out', 'sheet.png', ...more];
export const evaluate = (train, test = train, ...more) => [
  ...['eval', 'cls', 'pixels:4?size=8', '--train', train, '--test', test],
  ...['--protocol', 'knn.yaml', '--out', 'evals', ...more],
];

/** Class folders with enough images to choose k on, and the protocol. */
export const classes =
  (options = {}, more = []) =>
  async ({ dir, make }) => {
    make.file(join(dir, 'knn.yaml'), make.KNN);
    await make.classFolders(join(dir, 'data'), { classes: 2, ...options });
    for (const [i, path] of more.entries()) await make.image(join(dir, 'data', path), { seed: 900 + i });
  };
