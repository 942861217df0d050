// The passes in WebAssembly against the same sums written plainly, and the module against its source.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Pass, type Rows, runPasses, type Weights } from '../../../src/images/decode/passes.js';
import { root } from '../../support/imports.js';

const side = fc.integer({ min: 1, max: 40 });
const seeds = fc.infiniteStream(fc.integer({ min: 0, max: 2 ** 31 - 1 }));

/** Weights of a line: any, negative ones and ones whose sums leave a byte or wrap around 32 bits among them. */
function drawn(inSize: number, outSize: number, taps: number, next: () => number): Weights {
  return {
    taps,
    first: Int32Array.from({ length: outSize }, () => next() % Math.max(1, inSize - taps + 1)),
    // What lies beyond a row that is shorter than the taps has weight zero, as in the resampler.
    values: Int32Array.from({ length: outSize * taps }, (_, i) =>
      i % taps < inSize ? (next() % 2 ** 21) - 2 ** 19 : 0,
    ),
  };
}

/** One pass by its definition. */
function plain({ data, stride, height, width }: Rows, pass: Pass): Rows {
  const { taps, first, values } = pass.weights;
  const alongRow = pass.along === 'row';
  const [h, w] = alongRow ? [height, first.length] : [first.length, width];
  const out = new Uint8ClampedArray(h * w * 3);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const o = alongRow ? x : y;
      const to = alongRow && pass.mirror ? w - 1 - x : x;
      for (let c = 0; c < 3; c++) {
        let sum = 1 << 21;
        for (let t = 0; t < taps; t++) {
          const weight = values[o * taps + t]!;
          const [row, column] = alongRow ? [y, first[o]! + t] : [first[o]! + t, x];
          if (weight !== 0) sum += data[row * stride + column * 3 + c]! * weight;
        }
        out[(y * w + to) * 3 + c] = sum >> 22;
      }
    }
  }
  return { data: new Uint8Array(out.buffer), stride: w * 3, height: h, width: w };
}

it('gives the bytes of its definition, whatever the sizes, the order and the weights', () => {
  fc.assert(
    fc.property(
      side,
      side,
      side,
      side,
      fc.integer({ min: 0, max: 9 }),
      fc.boolean(),
      fc.boolean(),
      seeds,
      (h, w, oh, ow, gap, mirror, columnsFirst, draws) => {
        const next = (): number => draws.next().value;
        const stride = w * 3 + gap;
        const data = Uint8Array.from({ length: (h - 1) * stride + w * 3 }, () => next() % 256);
        const passes: Pass[] = [
          { along: 'row', weights: drawn(w, ow, 4 * (1 + (next() % 3)), next), mirror },
          { along: 'column', weights: drawn(h, oh, 1 + (next() % Math.min(h, 9)), next) },
        ];
        if (columnsFirst) passes.reverse();
        const rows = { data, stride, height: h, width: w };
        for (const some of [passes, passes.slice(0, 1)]) {
          expect(runPasses(rows, some)).toEqual(some.reduce(plain, rows).data);
        }
      },
    ),
  );
});

it('is the module that its text compiles to', () => {
  execFileSync(process.execPath, [join(root, 'scripts/build-wasm.js'), '--check'], { stdio: 'pipe' });
});
