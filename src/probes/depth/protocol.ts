// The depth part of a protocol file: transform, split, the depths that count, and the grids of the heads.
import { z } from 'zod';
import { linearProtocolSchema } from '../linear/protocol.js';
import { CROPS, METRICS } from './metrics.js';

const count = z.number().int().min(1);
const metres = z.number().positive();

/**
 * The key `depth` of a protocol file. Nothing has a default: a file says all that its numbers depend on.
 * Source of `official`: the linear depth head of DINOv2 on NYU Depth v2 (arXiv 2304.07193, section 7.4; facebookresearch/dinov2, eval/depth).
 */
export const depthProtocolSchema = z
  .strictObject({
    /** Input side in pixels, image and depth map squashed to it; null: the encoder's own size. */
    transform: z.strictObject({ image_size: count.nullable() }),
    /** Share of the training images that selection looks at, and the seed of their choice. */
    validation_share: z.number().positive().max(0.5),
    split_seed: z.number().int(),
    /** Metres: predictions are held between the two; pixels whose depth is 0 (nothing was measured) or above `max_depth` are neither learnt nor scored. */
    min_depth: metres,
    max_depth: metres,
    /** `eigen`: scores count the crop of Eigen et al. (NIPS 2014) on NYU alone, rows 45 to 470 and columns 41 to 600 of 480 x 640, in maps of any size. */
    crop: z.enum(CROPS),
    /** The score that selects, mean over the validation images. */
    metric: z.enum(METRICS),
    /** `count` uniform bins, outputs upsampled `upsample` times before they are normalised, SigLoss with `warmup_steps` on the mean alone; null: left out. */
    bins: z
      .strictObject({
        count: z.number().int().min(2),
        upsample: z.union([z.literal(1), z.literal(2), z.literal(4)]),
        warmup_steps: z.number().int().min(0),
        training: linearProtocolSchema,
      })
      .nullable(),
    /** One output a patch, in metres, Huber loss that is linear beyond `huber` metres; null: left out. */
    regression: z.strictObject({ huber: metres, training: linearProtocolSchema }).nullable(),
  })
  .refine((p) => p.min_depth < p.max_depth, 'min_depth lies below max_depth');
export type DepthProtocol = z.infer<typeof depthProtocolSchema>;
