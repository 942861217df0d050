// Checks that need several keys at once: sizes that fit together, and settings that this version can run.

import { UsageError } from '../errors.js';
import type { Config } from './schema.js';

/** Counts of patches in one training image. */
export interface PatchCounts {
  /** Rows and columns of patches. */
  grid: [number, number];
  patches: number;
  /** Patches that the student sees. */
  visible: number;
  masked: number;
  /** Masked patches that the predictor is asked for. */
  predicted: number;
}

/** Height and width of the training images in pixels. */
export function imageSize(config: Config): [number, number] {
  const size = config.model.image_size;
  return typeof size === 'number' ? [size, size] : size;
}

/**
 * The number of patches of each kind, rounded down as the official code does: masked = floor(patches x ratio), predicted = floor(masked x predict).
 * Call `checkSizes` first: an image that the patch does not divide gives broken numbers.
 */
export function patchCounts(config: Config): PatchCounts {
  const [height, width] = imageSize(config);
  const grid: [number, number] = [height / config.model.patch_size, width / config.model.patch_size];
  const patches = grid[0] * grid[1];
  const masked = Math.floor(patches * config.masking.ratio);
  const predicted = Math.floor(masked * config.masking.predict);
  return { grid, patches, visible: patches - masked, masked, predicted };
}

/** Width, heads and drop path of the predictor, where null means the encoder's. */
export function predictorSizes(config: Config): { width: number; heads: number; dropPath: number } {
  const { predictor, width, heads, drop_path } = config.model;
  return {
    width: predictor.width ?? width,
    heads: predictor.heads ?? heads,
    dropPath: predictor.drop_path ?? drop_path,
  };
}

/**
 * Refuses sizes that do not fit together.
 * @throws UsageError naming the keys, their values, and what would fit
 */
export function checkSizes(config: Config): void {
  const { model, masking, train, engine } = config;
  for (const [side, pixels] of imageSize(config).map((n, i) => [i === 0 ? 'height' : 'width', n] as const)) {
    refuse(
      pixels % model.patch_size !== 0,
      `model.image_size: the ${side} ${pixels} is not divisible by model.patch_size ${model.patch_size}; nearest that fits: ${nearestMultiple(pixels, model.patch_size)}`,
    );
  }
  checkHeads(config, 'model', model.width, model.heads);
  const predictor = predictorSizes(config);
  checkHeads(config, 'model.predictor', predictor.width, predictor.heads);
  refuse(
    model.register_coordinates === 'edge' && model.registers % 4 !== 0,
    `model.registers is ${model.registers}, but register_coordinates "edge" spreads them evenly over 4 edges; accepted: a multiple of 4 (or 0), or model.register_coordinates=zeros`,
  );
  refuse(
    model.rope_min > model.rope_max,
    `model.rope_min ${model.rope_min} is above model.rope_max ${model.rope_max}; accepted: rope_min <= rope_max`,
  );
  const counts = patchCounts(config);
  const place = `${counts.patches} patches (${counts.grid.join(' x ')})`;
  refuse(
    counts.masked < 1,
    `masking.ratio ${masking.ratio} masks none of the ${place}; accepted: at least ${1 / counts.patches}`,
  );
  refuse(
    counts.predicted < 1,
    `masking.predict ${masking.predict} predicts none of the ${counts.masked} masked of ${place}; accepted: at least ${1 / counts.masked}`,
  );
  for (const key of ['teacher_micro_batches', 'student_micro_batches'] as const) {
    const parts = engine[key];
    refuse(
      parts !== null && train.batch % parts !== 0,
      `train.batch ${train.batch} is not divisible by engine.${key} ${parts}`,
    );
  }
}

/** Settings that the schema knows and another version will run, with the values that this one runs. */
const implemented: [key: string, value: (config: Config) => string, accepted: readonly string[]][] = [
  ['loss.type', (config) => config.loss.type, ['capi']],
  ['model.predictor.type', (config) => config.model.predictor.type, ['cross']],
  ['model.positions', (config) => config.model.positions, ['rope']],
  ['clustering.sinkhorn', (config) => config.clustering.sinkhorn, ['positionwise', 'standard']],
];

/** @throws UsageError naming key, value and what is accepted, for a setting that this version cannot run yet */
export function assertImplemented(config: Config): void {
  for (const [key, read, accepted] of implemented) {
    const value = read(config);
    refuse(
      !accepted.includes(value),
      `not implemented yet: ${key} is ${value}; accepted: ${accepted.join(' | ')}`,
    );
  }
}

function checkHeads(config: Config, section: string, width: number, heads: number): void {
  refuse(
    width % heads !== 0,
    `${section}.width ${width} is not divisible by ${section}.heads ${heads}; nearest width that fits: ${nearestMultiple(width, heads)}`,
  );
  const headWidth = width / heads;
  refuse(
    config.model.positions === 'rope' && headWidth % 4 !== 0,
    `${section}.width ${width} over ${heads} heads is ${headWidth} channels a head, but rotary positions need a multiple of 4 (pairs of channels for x and for y)`,
  );
}

function nearestMultiple(value: number, of: number): number {
  return Math.max(1, Math.round(value / of)) * of;
}

function refuse(condition: boolean, message: string): void {
  if (condition) throw new UsageError(message);
}
