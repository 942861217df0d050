// The work of `capi bench probes`: a grid of heads, and features or images that they train on, the same for every contender.

import { stream } from '../base/random.js';
import { type StoredTensor, writeSafetensors } from '../base/safetensors.js';
import type { Config } from '../config/index.js';
import { encoderParameters } from '../encoder/program.js';
import { modelSizes } from '../model/sizes.js';
import { type HeadSizes, headShapes, initialHeads } from '../probes/cls/heads.js';
import { type FeatureSource, featureSources } from '../probes/sources.js';
import { sampler } from '../probes/split.js';
import { benchImages, encoderWeights, imagesTensor } from './workload.js';

export interface ProbeSetup {
  /** Grid points of each source. */
  points: number;
  classes: number;
  batch: number;
  /** Samples whose features are stored. */
  samples: number;
  /** With the encoder in the loop: its config, whose batch is `batch`. */
  config: Config | null;
}

const NAMES = ['global', 'average_patch', 'global+average_patch', 'patches'] as const;

/** Sources of the encoder of the config, or of the preset `fashion`: 64 patches of width 64. */
export function probeSources({ config }: ProbeSetup): FeatureSource[] {
  if (!config) {
    const shape = { globalWidth: 64, patchWidth: 64, grid: { rows: 8, columns: 8 }, registers: null };
    return featureSources(shape, NAMES);
  }
  const s = modelSizes(config);
  const grid = { rows: s.gridHeight, columns: s.gridWidth };
  return featureSources({ globalWidth: s.predictorDim, patchWidth: s.dim, grid, registers: null }, NAMES);
}

export const headSizesOf = (source: FeatureSource, { classes, points }: ProbeSetup): HeadSizes => ({
  ...{ width: source.width, tokens: source.tokens, classes, points },
});

export const headsOf = (source: FeatureSource, setup: ProbeSetup): Record<string, Float32Array> =>
  initialHeads(headSizesOf(source, setup), { seed: 0, source: source.name, std: 0.02 });

/** Rates from 1e-4 to 1e-2, decays from 1e-4 to 1e-1, one of each a grid point. */
export function gridOf(points: number): { rates: Float32Array; decays: Float32Array } {
  const between = (low: number, high: number) =>
    Float32Array.from(
      { length: points },
      (_, g) => low * (high / low) ** (points > 1 ? g / (points - 1) : 0),
    );
  return { rates: between(1e-4, 1e-2), decays: between(1e-4, 1e-1) };
}

/** Stored features of every source, by name; none with the encoder in the loop. */
export function storedFeatures(setup: ProbeSetup): Record<string, Float32Array> {
  if (setup.config) return {};
  return Object.fromEntries(
    probeSources(setup).map(({ name, width, tokens }) => [
      name,
      stream(0, 'bench features', name).fillNormal(new Float32Array(setup.samples * width * (tokens ?? 1))),
    ]),
  );
}

export function probeLabels({ samples, classes }: ProbeSetup): Int32Array {
  const random = stream(0, 'bench labels');
  return Int32Array.from({ length: samples }, () => random.int(classes));
}

/** Writes everything that Python needs for `steps` steps. */
export async function writeProbeWork(path: string, setup: ProbeSetup, steps: number): Promise<void> {
  const { batch, samples, config, points } = setup;
  const f32 = (shape: readonly number[], data: Float32Array): StoredTensor => ({ dtype: 'F32', shape, data });
  const tensors = new Map<string, StoredTensor>();
  const features = storedFeatures(setup);
  for (const source of probeSources(setup)) {
    const { name, width, tokens } = source;
    const heads = headsOf(source, setup);
    for (const [n, shape] of Object.entries(headShapes(headSizesOf(source, setup)))) {
      tensors.set(`${name}/${n}`, f32(shape, heads[n]!));
    }
    const shape = tokens === null ? [samples, width] : [samples, tokens, width];
    if (!config) tensors.set(`features.${name}`, f32(shape, features[name]!));
  }
  const { rates, decays } = gridOf(points);
  tensors.set('rates', f32([points], rates));
  tensors.set('decays', f32([points], decays));
  tensors.set('labels', { dtype: 'I32', shape: [samples], data: probeLabels(setup) });
  const draw = sampler(samples, batch, 0);
  const chosen = new Int32Array(steps * batch);
  for (let step = 0; step < steps; step++) chosen.set(draw(step), step * batch);
  tensors.set('chosen', { dtype: 'I32', shape: [steps, batch], data: chosen });
  if (config) {
    const s = modelSizes(config);
    const weights = encoderWeights(config);
    for (const [n, shape] of Object.entries(encoderParameters(s))) tensors.set(n, f32(shape, weights[n]!));
    tensors.set('images', imagesTensor(benchImages(batch, s.height, s.width), batch, s.height, s.width));
  }
  await writeSafetensors(path, tensors);
}
