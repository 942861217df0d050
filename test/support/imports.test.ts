// The reader of imports sees every form of import, so that the rules built on it cannot be passed by.

import { expect, it } from 'vitest';
import { importsOf, packageOf } from './imports.js';

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
