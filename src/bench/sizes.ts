// The sizes that benchmarks run at: the spike's, ViT-S, any preset or file, and the small ones of --quick.
import { join } from 'node:path';
import { type Config, checkSizes, loadConfig } from '../config/index.js';
import type { Mapping } from '../config/keys.js';
import { packageRoot } from './contender.js';

/** Files of benchmarks/speed by the name that a command takes. */
const NAMED: Record<string, string> = { step: 'step.yaml', 'vit-s': 'vit-s.yaml' };

/** What --quick changes, before --set: a step of a few milliseconds that still has every part. */
const QUICK = [
  ...['model.image_size=32', 'model.patch_size=8', 'model.width=64', 'model.heads=2', 'model.depth=2'],
  ...['model.predictor.depth=1', 'model.registers=4', 'masking.predict=0.5', 'clustering.prototypes=32'],
  'train.batch=4',
];

export interface SizeOptions {
  quick: boolean;
  /** Settings, KEY=VALUE each. */
  set: readonly string[];
  /** What comes after the settings, such as the engine. */
  overrides?: Mapping;
}

/** @throws UsageError for a preset, file or setting that cannot be used */
export function benchConfig(preset: string, { quick, set, overrides }: SizeOptions): Config {
  const named = NAMED[preset];
  const { config } = loadConfig({
    preset: named ? join(packageRoot, 'benchmarks/speed', named) : preset,
    sets: [...(quick ? QUICK : []), ...set],
    overrides,
  });
  checkSizes(config);
  return config;
}

/** The sizes that decide what a step costs. */
export const sizesOf = ({ model, clustering, train }: Config): Record<string, number | string> => ({
  image: String(model.image_size),
  patch: model.patch_size,
  width: model.width,
  depth: model.depth,
  'predictor depth': model.predictor.depth,
  registers: model.registers,
  'drop path': model.drop_path,
  prototypes: clustering.prototypes,
  batch: train.batch,
});
