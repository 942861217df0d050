// What sets the rival methods apart: who attends to whom, what a learned table says between its cells, how targets are spread.
import { describe, expect, it } from 'vitest';
import { stream } from '../../src/base/random.js';
import { parseConfig } from '../../src/config/index.js';
import type { Program, Values } from '../../src/engine/program.js';
import { referenceEngine } from '../../src/engine/reference.js';
import type { Weights } from '../../src/model/blocks.js';
import { encode, predict, predictFused } from '../../src/model/encoder.js';
import { initialParameters, STUDENT, studentShapes } from '../../src/model/parameters.js';
import { maskInputs, tableWeights } from '../../src/model/positions.js';
import { modelSizes } from '../../src/model/sizes.js';
import { featureHealth } from '../../src/pretrain/health.js';
import { sinkhorn } from '../../src/teacher/sinkhorn.js';
import { type Tensor, tf } from '../../src/tensor/tf.js';

const [B, P] = [2, 3];

/** Predictions [P, B, E] at three positions, the coordinates of whose mask tokens are given. */
async function predictions(type: 'cross' | 'self' | 'fused', coords: Float32Array): Promise<Float32Array> {
  const config = parseConfig({
    model: {
      image_size: 16,
      patch_size: 4,
      width: 16,
      heads: 2,
      depth: 2,
      registers: 4,
      predictor: { type, depth: 2 },
    },
    masking: { ratio: 0.5, predict: P / 8 + 0.01 },
    clustering: { prototypes: 8 },
  });
  const s = modelSizes(config);
  const visible = Int32Array.from([0, 1, 2, 3, 4, 5, 6, 7, 16, 18, 20, 21, 22, 25, 28, 30]);
  const masks = maskInputs(s, B, visible, Int32Array.from([8, 10, 15, 17, 19, 31]));
  const initial = initialParameters(s, 1);
  const names = Object.keys(initial).filter((n) => n.startsWith(STUDENT));
  const program: Program = {
    name: `predict_${type}`,
    state: [],
    inputs: {
      pixels: { shape: [8 * B, 48], dtype: 'float32' },
      context: { shape: [12 * B, 2], dtype: 'float32' },
      queries: { shape: [P * B, 2], dtype: 'float32' },
    },
    run: (i) => {
      const w: Weights = Object.fromEntries(
        names.map((n) => [n.slice(STUDENT.length), tf.tensor(initial[n]!, shapeOf(n, s))]),
      );
      const ask = [i.queries!, i.context!] as const;
      const out =
        type === 'fused'
          ? predictFused(w, s, B, P, i.pixels!, ...ask)
          : predict(w, s, B, P, encode(w, s, B, i.pixels!, i.context!), ...ask);
      return { out };
    },
  };
  const executable = await referenceEngine().load(program);
  const pixels = stream(1, 'pixels').fillNormal(new Float32Array(8 * B * 48), 1);
  const { out } = await executable.run({ pixels, context: masks.context_coords as Values, queries: coords });
  return out as Float32Array;
}

const shapeOf = (name: string, s: ReturnType<typeof modelSizes>): number[] =>
  studentShapes(s)[name.slice(STUDENT.length)]!;

describe('the prediction at one position, when another mask token moves', () => {
  const coords = stream(2, 'coords').fillUniform(new Float32Array(P * B * 2), 0, 1);
  const moved = coords.map((x, i) => (i < 2 * B ? 1 - x : x)); // position 0 of both images
  it.each([
    ['cross', false],
    ['self', true],
    ['fused', true],
  ] as const)('%s: changes %s', async (type, changes) => {
    const [before, after] = [await predictions(type, coords), await predictions(type, moved)];
    const width = before.length / (P * B);
    const differs = (position: number): boolean =>
      before
        .subarray(position * B * width, (position + 1) * B * width)
        .some((x, i) => Math.abs(x - after[position * B * width + i]!) > 1e-5);
    expect(differs(0)).toBe(true);
    expect([differs(1), differs(2)]).toEqual([changes, changes]);
  });
});

describe('mask tokens of a fused model', () => {
  it('stand at every masked position, the predicted first', () => {
    const config = parseConfig({ model: { image_size: 16, patch_size: 4, predictor: { type: 'fused' } } });
    const s = modelSizes(config);
    const visible = Int32Array.from([0, 1, 2, 3, 16, 17, 18, 31]);
    const masks = maskInputs(s, 2, visible, Int32Array.from([9, 12, 20, 30]));
    const cells = (b: number): number[] => [...masks.predict_cells].filter((_, i) => i % 2 === b);
    expect(cells(0)).toEqual([9, 12, 4, 5, 6, 7, 8, 10, 11, 13, 14, 15]);
    expect(cells(1)).toEqual([4, 14, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    expect([...masks.predict_rows]).toEqual([18, 9, 24, 29]);
  });
});

describe('a learned position table', () => {
  const own = parseConfig({ model: { image_size: [16, 24], patch_size: 4, positions: 'learned' } });
  it('is read cell by cell on its own grid', () => {
    const s = modelSizes(own);
    const weights = tableWeights(s);
    for (let i = 0; i < s.patches; i++) {
      for (let j = 0; j < s.patches; j++) expect(weights[i * s.patches + j]).toBe(i === j ? 1 : 0);
    }
  });

  it.each([
    [8, 8],
    [32, 40],
    [4, 24],
    [28, 4],
  ])('gives a bilinear function back on a grid of %i x %i pixels', (height, width) => {
    const s = modelSizes(own, [height, width]);
    const weights = tableWeights(s);
    const f = (row: number, column: number): number => 3 + 2 * row - column + 4 * row * column;
    const place = (i: number, n: number): number => (n > 1 ? i / (n - 1) : 0.5);
    const cells = s.tableHeight * s.tableWidth;
    for (let i = 0; i < s.patches; i++) {
      let read = 0;
      for (let j = 0; j < cells; j++) {
        const row = place(Math.floor(j / s.tableWidth), s.tableHeight);
        read += weights[i * cells + j]! * f(row, place(j % s.tableWidth, s.tableWidth));
      }
      const row = place(Math.floor(i / s.gridWidth), s.gridHeight);
      expect(read).toBeCloseTo(f(row, place(i % s.gridWidth, s.gridWidth)), 5);
    }
  });
});

describe('assignments', () => {
  const [n, b, k] = [5, 16, 4];
  const logits = stream(3, 'logits').fillNormal(new Float32Array(n * b * k), 0.1);
  for (let i = 0; i < logits.length; i++) if (Math.floor(i / (b * k)) === i % k) logits[i]! += 0.1; // position speaks
  const assigned = async (variant: 'positionwise' | 'standard' | 'none'): Promise<Float32Array> => {
    const executable = await referenceEngine().load({
      name: 'assign',
      state: [],
      inputs: { logits: { shape: [n, b, k], dtype: 'float32' } },
      run: (i): Record<string, Tensor> => ({
        out: sinkhorn(i.logits!, { temperature: 0.1, iterations: 50, variant }),
      }),
    });
    return (await executable.run({ logits })).out as Float32Array;
  };
  /** Largest deviation from even use of the prototypes, over all tokens and over those of one position at a time. */
  const uneven = (x: Float32Array): { all: number; position: number } => {
    const worst = { all: 0, position: 0 };
    for (let j = 0; j < k; j++) {
      let all = 0;
      for (let p = 0; p < n; p++) {
        let own = 0;
        for (let i = 0; i < b; i++) own += x[(p * b + i) * k + j]!;
        worst.position = Math.max(worst.position, Math.abs(own / b - 1 / k));
        all += own;
      }
      worst.all = Math.max(worst.all, Math.abs(all / (n * b) - 1 / k));
    }
    return worst;
  };
  it('are even for each position, over all tokens, or not at all', async () => {
    expect(uneven(await assigned('positionwise')).position).toBeLessThan(1e-3);
    const standard = uneven(await assigned('standard'));
    expect(standard.all).toBeLessThan(1e-3);
    expect(standard.position).toBeGreaterThan(0.1);
    expect(uneven(await assigned('none')).position).toBeGreaterThan(0.1);
  });

  it('without Sinkhorn are a softmax', async () => {
    const out = await assigned('none');
    for (let row = 0; row < n * b; row++) {
      const own = [...logits.subarray(row * k, (row + 1) * k)].map((x) => Math.exp(x / 0.1));
      const sum = own.reduce((a, x) => a + x, 0);
      for (const [j, x] of own.entries()) expect(out[row * k + j]).toBeCloseTo(x / sum, 5);
    }
  });
});

describe('health of targets that are features', () => {
  const [positions, width] = [6, 8];
  it('is spread 0 where all are one vector', () => {
    const row = [1, -2, 0.5, 3, 0, 1, 1, -1];
    const square = row.reduce((a, x) => a + x * x, 0) / width;
    const health = featureHealth(Array.from({ length: positions }, () => row).flat(), square, positions);
    expect(health.spread).toBeCloseTo(0, 12);
  });

  it('is position share 1 where each position has its own vector, and near 0 where positions are alike', () => {
    const random = stream(4, 'features');
    const own = random.fillNormal(new Float32Array(positions * width), 1);
    const square = own.reduce((a, x) => a + x * x, 0) / own.length;
    expect(featureHealth(own, square, positions).positionShare).toBeCloseTo(1, 6);
    const health = featureHealth(new Float32Array(positions * width), 1, positions);
    expect(health).toEqual({ spread: 1, positionShare: 0 });
  });
});
