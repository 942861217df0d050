// The segmentation part of a protocol file: transform, split, standardisation, and the grids of the heads.
import { z } from 'zod';
import { CONVENTIONS } from '../../scores/conventions.js';
import { linearProtocolSchema } from '../linear/protocol.js';

const count = z.number().int().min(1);
const distinct = <T>(values: readonly T[]): boolean => new Set(values).size === values.length;
const listOf = <T extends z.ZodType>(item: T) => z.array(item).min(1).refine(distinct, 'each value once');

/**
 * The key `segmentation` of a protocol file. Nothing has a default: a file says all that its numbers depend on.
 * Source of `official`: the published evaluation (facebookresearch/capi, segmentation).
 */
export const segmentationProtocolSchema = z.strictObject({
  /** Input side in pixels, image and label map squashed to it; null: the encoder's own size. */
  transform: z.strictObject({ image_size: count.nullable() }),
  /** Share of the training images that selection looks at, and the seed of their choice. */
  validation_share: z.number().positive().max(0.5),
  split_seed: z.number().int(),
  /** Channels by mean and standard deviation of the images that heads are trained on during selection. */
  standardise: z.boolean(),
  /** The mIoU that selects. */
  metric: z.enum(CONVENTIONS),
  /** k nearest patches, the most frequent label at each pixel position; null: left out. */
  knn: z.strictObject({ k: listOf(count), metrics: listOf(z.enum(['cosine', 'l2'])) }).nullable(),
  /** L2 logistic regression on the modal label of each patch; C is scikit-learn's. null: left out. */
  logreg: z
    .strictObject({
      C: listOf(z.number().positive()),
      max_iterations: count,
      tolerance: z.number().positive(),
    })
    .nullable(),
  linear: linearProtocolSchema.nullable(),
});
export type SegmentationProtocol = z.infer<typeof segmentationProtocolSchema>;
