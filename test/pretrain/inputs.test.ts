// Inputs of a step: kept samples of drop path, masks and rates, the same for the same (seed, step) and for nothing else.
import { describe, expect, it } from 'vitest';
import { batchParts, inParts, patchCounts } from '../../src/config/index.js';
import { dropPathPlan, keptCount, stepInputs, stepRates } from '../../src/pretrain/inputs.js';
import { stepProgram } from '../../src/pretrain/step.js';
import { smallConfig } from './small_run.js';

const config = smallConfig(
  'model.drop_path=0.3',
  'model.predictor.drop_path=0.5',
  'model.depth=3',
  'model.predictor.depth=2',
  'train.batch=24',
  'train.steps=100',
);
const inputsOf = (step: number, seed = 0, parts = 2) =>
  stepInputs(inParts({ ...config, seed }, parts), step).inputs;

describe('kept samples of drop path', () => {
  it.each([1, 2, 3])('are distinct, as many as the rate says, and invert, in %i parts', (parts) => {
    const inputs = inputsOf(7, 0, parts);
    const micro = 24 / parts;
    const plan = dropPathPlan(inParts(config, parts));
    expect(plan.map(({ part, branches }) => [part, branches])).toEqual([
      ['encoder', 6],
      ['decoder', 4],
    ]);
    for (const { part, branches, kept } of plan) {
      expect(kept).toBe(Math.max(1, Math.floor(micro * (part === 'encoder' ? 0.7 : 0.5)))); // official: int(B (1 - p))
      const chosen = inputs[`kept.${part}`] as Int32Array;
      const inverse = inputs[`inverse.${part}`] as Int32Array;
      expect(chosen).toHaveLength(parts * branches * kept);
      expect(inverse).toHaveLength(parts * branches * micro);
      for (let row = 0; row < parts * branches; row++) {
        const own = [...chosen.subarray(row * kept, (row + 1) * kept)];
        expect(new Set(own).size).toBe(kept);
        for (let i = 0; i < micro; i++) {
          const at = own.indexOf(i); // a dropped sample points behind the kept ones
          expect(inverse[row * micro + i]).toBe(at < 0 ? kept : at);
        }
      }
    }
  });

  it('differ between branches, parts, steps and seeds', () => {
    const rows = new Set<string>();
    for (const inputs of [inputsOf(7), inputsOf(8), inputsOf(7, 1)]) {
      const chosen = inputs['kept.encoder'] as Int32Array;
      const kept = keptCount(12, 0.3);
      for (let i = 0; i < chosen.length; i += kept) rows.add(chosen.subarray(i, i + kept).join());
    }
    expect(rows.size).toBe(3 * 2 * 6); // of 12! / 4! ordered choices: a repeat would be no chance
  });

  it('choose every sample equally often', () => {
    const counts = new Float64Array(12);
    const draws = 100 * 12; // steps times branches of both parts
    for (let step = 0; step < 100; step++) {
      for (const i of inputsOf(step)['kept.encoder'] as Int32Array) counts[i]!++;
    }
    const expected = (draws * keptCount(12, 0.3)) / 12;
    // Five standard deviations of a binomial count.
    for (const n of counts) expect(Math.abs(n - expected)).toBeLessThan(5 * Math.sqrt(expected));
  });

  it('are absent without drop path', () => {
    const plain = smallConfig('model.drop_path=0');
    const { inputs } = stepInputs(plain, 0);
    expect(Object.keys(inputs).filter((name) => /kept|inverse/.test(name))).toEqual([]);
    expect(keptCount(8, 0)).toBe(8);
    expect(keptCount(8, 0.99)).toBe(1); // never none
  });
});

describe('inputs of a step', () => {
  it('are the same for the same seed and step, whatever was drawn before, and others for others', () => {
    const first = inputsOf(41);
    inputsOf(3);
    expect(inputsOf(41)).toEqual(first);
    const differ = (other: typeof first) =>
      Object.keys(first).filter((name) => first[name]!.join() !== other[name]!.join());
    const drawn = [
      'visible_rows',
      'predict_rows',
      'context_coords',
      'predict_coords',
      'kept.encoder',
      'kept.decoder',
    ];
    expect(differ(inputsOf(42))).toEqual(expect.arrayContaining([...drawn, 'lr', 'momentum']));
    expect(differ(inputsOf(41, 1))).toEqual(expect.arrayContaining(drawn));
    expect(differ(inputsOf(41, 1))).not.toContain('lr');
  });

  it('see or predict each patch at most once', () => {
    const { patches, visible, predicted } = patchCounts(config);
    const { visible_rows, predict_rows } = inputsOf(5) as Record<string, Int32Array>;
    for (let b = 0; b < 24; b++) {
      const seen = Array.from({ length: visible }, (_, i) => visible_rows![i * 24 + b]!);
      const asked = Array.from({ length: predicted }, (_, i) => predict_rows![i * 24 + b]!);
      expect(new Set([...seen, ...asked]).size).toBe(visible + predicted);
      for (const row of [...seen, ...asked]) {
        expect(row % 24).toBe(b); // rows of the token-major batch [patch, image]
        expect(row).toBeLessThan(patches * 24);
      }
    }
  });

  it('bring the rates of the schedule and the corrections of AdamW', () => {
    const inputs = inputsOf(30);
    const rates = stepRates(config, 30);
    expect(inputs.lr![0]).toBe(Math.fround(rates.lr));
    expect(inputs.momentum![0]).toBe(Math.fround(rates.momentum));
    const { beta1, beta2 } = config.optim;
    expect(inputs.correction1![0]).toBe(Math.fround(1 - beta1 ** 31));
    expect(inputs.root_correction2![0]).toBe(Math.fround(Math.sqrt(1 - beta2 ** 31)));
  });
});

describe('micro-batches', () => {
  it('are read from the config: images at a time, or parts, or what the engine would choose', () => {
    const of = (...sets: string[]) => smallConfig('train.batch=24', ...sets);
    expect(batchParts(of('engine.micro_batch=4'))).toEqual({ teacher: 6, student: 6 });
    expect(batchParts(of('engine.teacher_micro_batches=3'), { teacher: 1, student: 8 })).toEqual({
      teacher: 3,
      student: 8,
    });
    const cut = inParts(of('engine.micro_batch=4'), 2, 12);
    expect(batchParts(cut)).toEqual({ teacher: 2, student: 12 });
    expect(stepProgram(cut).batch).toEqual({ images: 24, atOnce: 12 });
    expect(stepProgram(of('engine.micro_batch=4')).batch).toEqual({ images: 24, atOnce: 4 });
  });
});
