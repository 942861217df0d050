// The classification part of a protocol file: sources, grid, optimiser, schedule, transforms, k-NN and few-shot settings.
import { z } from 'zod';
import { SOURCE_NAMES } from '../sources.js';

const share = z.number().min(0).max(1);
const above0 = z.number().positive();
const count = z.number().int().min(1);
const range = z.tuple([above0, above0]).refine(([low, high]) => low <= high, 'lowest first');
const distinct = <T>(values: readonly T[]): boolean => new Set(values).size === values.length;
const listOf = <T extends z.ZodType>(item: T) => z.array(item).min(1).refine(distinct, 'each value once');

/**
 * The key `classification` of a protocol file. Nothing has a default: a file says all that its numbers depend on.
 * Source of `official`: the published evaluation (facebookresearch/capi, classification).
 */
export const classificationProtocolSchema = z.strictObject({
  /** Sources to train heads on. Those that an encoder lacks (no global vector, no registers) are left out. */
  sources: listOf(z.enum(SOURCE_NAMES)),
  /**
   * `augmented`: the backbone is in the loop and sees new crops at every step. `cached`: every image is seen once, under
   * the evaluation transform, and the heads train on the stored features.
   */
  features: z.enum(['augmented', 'cached']),
  transform: z.strictObject({
    /** Input side in pixels; null: the encoder's own size. */
    image_size: count.nullable(),
    /** Evaluation: the shorter side before the centre crop, as a multiple of the crop. */
    shorter_side: z.number().min(1),
    /** Training crops when augmented: share of the area, aspect ratio, probability of a horizontal flip. */
    crop_scale: range,
    crop_ratio: range,
    flip: share,
  }),
  /** Share of the training images that selection looks at, and the seed of their choice. */
  validation_share: above0.max(0.5),
  split_seed: z.number().int(),
  /** Grid: every rate with every decay. */
  learning_rates: listOf(above0),
  weight_decays: listOf(z.number().min(0)),
  /** Images of a step, all devices together; the rate of a step is learning rate * batch / reference_batch * schedule. */
  batch: count,
  reference_batch: count,
  /** Linear from 0 over the warm-up, then a full cosine to 0. */
  steps: count,
  warmup_steps: z.number().int().min(0),
  betas: z.tuple([share, share]),
  eps: above0,
  /** Standard deviation of the initial weights and query; biases start at 0. */
  init_std: above0,
  /** k nearest neighbours under cosine similarity; null: left out. */
  knn: z
    .strictObject({
      sources: listOf(z.enum(SOURCE_NAMES)),
      k: listOf(count),
      /** `weighted`: each neighbour votes with exp(similarity / temperature), as in DINO; `plain`: with 1. */
      votes: listOf(z.enum(['weighted', 'plain'])),
      temperature: above0,
    })
    .nullable(),
  /** A few labelled images of each class; null: left out. */
  few_shot: z
    .strictObject({
      sources: listOf(z.enum(SOURCE_NAMES)),
      shots: listOf(count),
      /** Draws of the shots whose mean is reported. */
      draws: count,
      heads: listOf(z.enum(['centroid', 'logistic'])),
      /** scikit-learn's C of the logistic head, on centred features of length 1. */
      C: above0,
    })
    .nullable(),
});
export type ClassificationProtocol = z.infer<typeof classificationProtocolSchema>;

/** One point of the grid. */
export interface GridPoint {
  readonly learningRate: number;
  readonly weightDecay: number;
}

/** The grid in its order, which decides ties: by learning rate as listed, then by weight decay as listed. */
export function gridPoints(
  protocol: Pick<ClassificationProtocol, 'learning_rates' | 'weight_decays'>,
): GridPoint[] {
  return protocol.learning_rates.flatMap((learningRate) =>
    protocol.weight_decays.map((weightDecay) => ({ learningRate, weightDecay })),
  );
}
