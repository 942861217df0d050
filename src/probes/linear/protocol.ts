// The `linear` part of a protocol file's segmentation: learning-rate grid, optimiser and schedule of the linear head.
import { z } from 'zod';

const above0 = z.number().positive();
const share = z.number().min(0).lt(1);
const count = z.number().int().min(1);
const distinct = <T>(values: readonly T[]): boolean => new Set(values).size === values.length;
const listOf = <T extends z.ZodType>(item: T) => z.array(item).min(1).refine(distinct, 'each value once');

/**
 * The key `segmentation.linear` of a protocol file; nothing has a default. From the linear head on ADE20K of DINOv3
 * (facebookresearch/dinov3, eval/segmentation/configs/config-ade20k-linear-training.yaml): AdamW at 1e-3 with betas 0.9 and
 * 0.999 and weight decay 1e-3 on weights and biases alike, 16 images a step, 40,000 steps of which 1,500 warm up, then a cosine
 * to 0, weights from a normal distribution of 0.01 and biases 0. Ours are the rates around 1e-3, cached features without
 * augmentation, no dropout, no affine part of the batch norm, and the cosine counted from the end of the warm-up.
 *
 * ```yaml
 * # official.yaml
 * linear:
 *   learning_rates: [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
 *   weight_decays: [1e-3]
 *   batch: 16
 *   steps: 40000
 *   warmup_steps: 1500
 *   betas: [0.9, 0.999]
 *   eps: 1e-8
 *   init_std: 0.01
 * # quick.yaml
 * linear:
 *   learning_rates: [1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
 *   weight_decays: [1e-3]
 *   batch: 16
 *   steps: 1000
 *   warmup_steps: 100
 *   betas: [0.9, 0.999]
 *   eps: 1e-8
 *   init_std: 0.01
 * ```
 */
export const linearProtocolSchema = z
  .strictObject({
    /** Grid: every rate with every decay. A rate is the peak of its schedule. */
    learning_rates: listOf(above0),
    weight_decays: listOf(z.number().min(0)),
    /** Images of a step. */
    batch: count,
    /** Linear from 0 over the warm-up, then a full cosine to 0. */
    steps: count,
    warmup_steps: z.number().int().min(0),
    betas: z.tuple([share, share]),
    eps: above0,
    /** Standard deviation of the initial weights; biases start at 0. */
    init_std: above0,
  })
  .refine((p) => p.warmup_steps < p.steps, 'warmup_steps lie below steps');
export type LinearProtocol = z.infer<typeof linearProtocolSchema>;

/** One point of the grid. */
export type LinearPoint = { readonly learningRate: number; readonly weightDecay: number };

/** The grid in its order, which decides ties: by learning rate as listed, then by weight decay as listed. */
export function linearGrid(
  protocol: Pick<LinearProtocol, 'learning_rates' | 'weight_decays'>,
): LinearPoint[] {
  return protocol.learning_rates.flatMap((learningRate) =>
    protocol.weight_decays.map((weightDecay) => ({ learningRate, weightDecay })),
  );
}
