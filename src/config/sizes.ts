// Checks that need several keys at once: sizes that fit together.

import { UsageError } from '../errors.js';
import { type Config, lossOf } from './schema.js';

/** Height and width of the training images in pixels. */
export function imageSize(config: Config): [number, number] {
  const size = config.model.image_size;
  return typeof size === 'number' ? [size, size] : size;
}

/** Patches of one image, the same for every image of a batch. */
export interface MaskCounts {
  patches: number;
  /** Patches that the student sees. */
  visible: number;
  masked: number;
  /** Masked patches that are predicted. */
  predicted: number;
}

/** Counts on a grid, rounded down as the official code does: masked = floor(patches x ratio), predicted = floor(masked x predict). */
export function maskCounts(
  masking: Pick<Config['masking'], 'ratio' | 'predict'>,
  gridHeight: number,
  gridWidth: number,
): MaskCounts {
  const patches = gridHeight * gridWidth;
  const masked = Math.floor(patches * masking.ratio);
  const predicted = Math.floor(masked * masking.predict);
  return { patches, visible: patches - masked, masked, predicted };
}

/**
 * Counts for the images of a run, and `queries`: mask tokens an image, which stand at the predicted positions; of a fused model, at all masked
 * ones, the predicted first. Call `checkSizes` first: an image that the patch does not divide gives broken numbers.
 */
export function patchCounts(config: Config): MaskCounts & { grid: [number, number]; queries: number } {
  const { patch_size, predictor } = config.model;
  const grid = imageSize(config).map((side) => side / patch_size) as [number, number];
  const counts = maskCounts(config.masking, ...grid);
  return { grid, ...counts, queries: predictor.type === 'fused' ? counts.masked : counts.predicted };
}

/** Parts of the batch that go through teacher and student one after another; `auto` where the config leaves it open. */
export function batchParts(
  { engine, train }: Config,
  auto = { teacher: 1, student: 1 },
): { teacher: number; student: number } {
  const set = engine.micro_batch === null ? null : train.batch / engine.micro_batch;
  return {
    teacher: set ?? engine.teacher_micro_batches ?? auto.teacher,
    student: set ?? engine.student_micro_batches ?? auto.student,
  };
}

/** The config with its batch cut into so many parts. */
export const inParts = (config: Config, teacher: number, student = teacher): Config => ({
  ...config,
  engine: {
    ...config.engine,
    micro_batch: null, // now in the two counts
    teacher_micro_batches: teacher,
    student_micro_batches: student,
  },
});

/** Width, heads and drop path of the predictor, where null means the encoder's. */
export function predictorSizes(config: Config): { width: number; heads: number; dropPath: number } {
  const { predictor, width, heads, drop_path } = config.model;
  if (predictor.type === 'fused') return { width, heads, dropPath: drop_path };
  return {
    width: predictor.width ?? width,
    heads: predictor.heads ?? heads,
    dropPath: predictor.drop_path ?? drop_path,
  };
}

/** Patches of an image: attention compares every two. */
const MOST_PATCHES = 2 ** 16;

/**
 * Refuses sizes that do not fit together.
 * @throws UsageError naming the keys, their values, and what would fit
 */
export function checkSizes(config: Config): void {
  const { model, masking, train, engine } = config;
  const smallest = Math.min(...imageSize(config));
  refuse(
    model.patch_size > smallest || imageSize(config).every((side) => side === model.patch_size),
    `model.patch_size ${model.patch_size} is ${model.patch_size > smallest ? 'larger than' : 'as large as'} the image (${imageSize(config).join(' x ')} pixels): one patch leaves nothing to mask; accepted: a divisor of the image's sides below them, such as ${largestDivisor(smallest)}`,
  );
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
    model.predictor.type === 'fused' &&
      ((model.predictor.width ?? model.width) !== model.width ||
        (model.predictor.heads ?? model.heads) !== model.heads),
    `model.predictor.width and heads are ${model.predictor.width} and ${model.predictor.heads}, but a fused predictor is the encoder itself (${model.width} and ${model.heads}); leave them null`,
  );
  const { sameWidth } = lossOf(config);
  refuse(
    sameWidth !== undefined && predictor.width !== model.width,
    `model.predictor.width is ${predictor.width}, but loss.type=${config.loss.type} ${sameWidth}, whose width is ${model.width}: the widths must be equal`,
  );
  refuse(
    model.positions === 'rope' && model.register_coordinates === 'edge' && model.registers % 4 !== 0,
    `model.registers is ${model.registers}, but register_coordinates "edge" spreads them evenly over 4 edges; accepted: a multiple of 4 (or 0), or model.register_coordinates=zeros`,
  );
  refuse(
    model.rope_min > model.rope_max,
    `model.rope_min ${model.rope_min} is above model.rope_max ${model.rope_max}; accepted: rope_min <= rope_max`,
  );
  refuse(
    Math.round(Math.min(model.width, predictor.width) * model.mlp_ratio) < 1,
    `model.mlp_ratio ${model.mlp_ratio} leaves no hidden channel at a width of ${Math.min(model.width, predictor.width)}; accepted: at least ${1 / Math.min(model.width, predictor.width)}`,
  );
  const counts = patchCounts(config);
  refuse(
    counts.patches > MOST_PATCHES,
    `an image of ${imageSize(config).join(' x ')} pixels has ${counts.patches.toLocaleString('en-US')} patches of model.patch_size ${model.patch_size}, which attend to each other; accepted: at most ${MOST_PATCHES.toLocaleString('en-US')}`,
  );
  const place = `${counts.patches} patches (${counts.grid.join(' x ')})`;
  refuse(
    counts.masked < 1,
    `masking.ratio ${masking.ratio} masks none of the ${place}; accepted: at least ${1 / counts.patches}`,
  );
  refuse(
    counts.predicted < 1,
    `masking.predict ${masking.predict} predicts none of the ${counts.masked} masked of ${place}; accepted: at least ${1 / counts.masked}`,
  );
  const micro = engine.micro_batch;
  refuse(
    micro !== null && train.batch % micro !== 0,
    `train.batch ${train.batch} is not divisible by engine.micro_batch ${micro} (--micro-batch); nearest that fit: ${divisorsAround(train.batch, micro ?? 1)}`,
  );
  for (const key of ['teacher_micro_batches', 'student_micro_batches'] as const) {
    const parts = engine[key];
    refuse(
      parts !== null && train.batch % parts !== 0,
      `train.batch ${train.batch} is not divisible by engine.${key} ${parts}`,
    );
    refuse(
      micro !== null && parts !== null && parts * micro !== train.batch,
      `engine.micro_batch ${micro} (--micro-batch) cuts train.batch ${train.batch} into ${train.batch / (micro ?? 1)} parts, engine.${key} into ${parts}; set one of them to null`,
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

/** Of `side`, below it. */
function largestDivisor(side: number): number {
  for (let d = Math.floor(side / 2); d > 1; d--) if (side % d === 0) return d;
  return 1;
}

/** The divisors of `value` next to `near`, as text. */
function divisorsAround(value: number, near: number): string {
  let below = Math.min(near, value);
  while (value % below !== 0) below--;
  let above = Math.min(near, value);
  while (value % above !== 0) above++;
  return below === above ? `${below}` : `${below} and ${above}`;
}

function refuse(condition: boolean, message: string): void {
  if (condition) throw new UsageError(message);
}
