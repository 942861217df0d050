// The inputs of training step k beside the images: masks, kept samples of drop path, rates. All keyed by (seed, step).

import { stream } from '../base/random.js';
import type { Config } from '../config/index.js';
import type { Values } from '../engine/program.js';
import { drawMasks } from '../masks.js';
import { maskInputs, readMaskInputs } from '../model/positions.js';
import type { ModelSizes } from '../model/sizes.js';
import { adamwCorrections } from '../optim/adamw.js';
import { type Rates, ratesAt } from '../optim/schedule.js';
import { dropPathPlan } from './step.js';

/** Rates of step `step` (from 0) of the run. */
export function stepRates(config: Config, step: number): Rates {
  const o = config.optim;
  return ratesAt(step, {
    steps: config.train.steps,
    warmup: o.warmup,
    truncation: o.truncation,
    lr: o.lr,
    clusteringLr: o.clustering_lr,
    momentum: o.momentum,
  });
}

/** Program inputs of step `step` (from 0), without `images`. */
export function stepInputs(
  config: Config,
  s: ModelSizes,
  step: number,
  studentParts: number,
): { inputs: Record<string, Values>; rates: Rates } {
  const batch = config.train.batch;
  const grid = { batch, gridHeight: s.gridHeight, gridWidth: s.gridWidth };
  const masks = drawMasks(config.masking, grid, { seed: config.seed, step });
  const placed = maskInputs(s, batch, masks.visible, masks.predict);
  const rates = stepRates(config, step);
  const corrections = adamwCorrections(step + 1, config.optim);
  const inputs: Record<string, Values> = {
    ...Object.fromEntries(readMaskInputs(s).map((name) => [name, placed[name]])),
    lr: Float32Array.of(rates.lr),
    clustering_lr: Float32Array.of(rates.clusteringLr),
    momentum: Float32Array.of(rates.momentum),
    correction1: Float32Array.of(corrections.correction1),
    root_correction2: Float32Array.of(corrections.rootCorrection2),
  };
  const micro = batch / studentParts;
  for (const plan of dropPathPlan(config, s, micro)) {
    const kept = new Int32Array(studentParts * plan.branches * plan.kept);
    const inverse = new Int32Array(studentParts * plan.branches * micro).fill(plan.kept);
    for (let row = 0; row < studentParts * plan.branches; row++) {
      const chosen = stream(config.seed, 'drop path', plan.part, step, row).sample(micro, plan.kept);
      kept.set(chosen, row * plan.kept);
      for (let i = 0; i < plan.kept; i++) inverse[row * micro + chosen[i]!] = i;
    }
    inputs[`kept.${plan.part}`] = kept;
    inputs[`inverse.${plan.part}`] = inverse;
  }
  return { inputs, rates };
}
