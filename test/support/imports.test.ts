// The reader of imports sees every form of import, so that the rules built on it cannot be passed by.

import { expect, it } from 'vitest';
import { circles, functionsOf, importsOf, packageOf } from './imports.js';

it('reads every form, and tells when each is loaded', () => {
  const text = `
    import a from 'sharp';
    import type { B } from '../tensor/tf.js';
    import { type C, type D } from './c.js';
    import { type E, f } from './f.js';
    import './g.js';
    export * from './h.js';
    export type { I } from './i.js';
    import j = require('./j.js');
    const k = await import('onnxruntime-node');
    let l: import('./l.js').L;
    const m = createRequire(import.meta.url)('@tensorflow/tfjs-node');
    const require = createRequire(import.meta.url);
    require('./n.js'); require.resolve('./o.js');
    const text = "import x from './not-an-import.js'"; // import './nor-this.js'
  `;
  expect(
    importsOf('src/engine/x.ts', text).map(({ specifier, file, kind }) => `${kind} ${file ?? specifier}`),
  ).toEqual([
    'static sharp',
    'type src/tensor/tf.ts',
    'type src/engine/c.ts',
    'static src/engine/f.ts',
    'static src/engine/g.ts',
    'static src/engine/h.ts',
    'type src/engine/i.ts',
    'static src/engine/j.ts',
    'dynamic onnxruntime-node',
    'type src/engine/l.ts',
    'dynamic @tensorflow/tfjs-node',
    'dynamic src/engine/n.ts',
    'dynamic src/engine/o.ts',
  ]);
});

it('names the package of a specifier', () => {
  expect(['a/b/c', '@s/p/q', 'a'].map(packageOf)).toEqual(['a', '@s/p', 'a']);
});

it('finds the circles of imports, and nothing beside them', () => {
  const edges = new Map([
    ['a', ['b', 'c']],
    ['b', ['c', 'gone']],
    ['c', ['d']],
    ['d', ['c', 'e']],
    ['e', ['f']],
    ['f', ['g']],
    ['g', ['e', 'a2']],
    ['a2', ['a2']],
  ]);
  expect(circles(edges)).toEqual([['a2'], ['c', 'd'], ['e', 'f', 'g']]);
});

it('measures functions from their first line to their last', () => {
  const text = `
    /** Not counted. */
    function a() {
      return [1].map((x) => {
        return x;
      });
    }
    class B {
      c(): void {}
    }
    const d = () =>
      1;
    declare function e(): void;
  `;
  expect(functionsOf('src/x.ts', text).map(({ name, line, lines }) => [name, line, lines])).toEqual([
    ['a', 3, 5],
    ['(no name)', 4, 3],
    ['c', 9, 1],
    ['d', 11, 2],
  ]);
});
