// The configuration of a pretraining run: every key, what it accepts, and its default (the paper's ViT-L/14; the only defaults there are).

import { z } from 'zod';
import { TASK_NAMES } from '../probes/tasks.js';
import { DEVICE_NAMES, ENGINE_NAMES } from './engines.js';

/** A leaf of the schema with the words that an error message uses for what it accepts. */
function leaf<T extends z.ZodType>(schema: T, accepts: string): T {
  return schema.meta({ accepts }) as T;
}

/**
 * The most that a setting may be: far beyond any published model, and near enough that a slip of the keyboard (1e7 blocks, 1e12 steps) is one line
 * at once and not an hour of allocation.
 */
export const LIMITS = {
  depth: 1000,
  width: 2 ** 16,
  heads: 2 ** 12,
  mlpRatio: 64,
  registers: 2 ** 12,
  prototypes: 2 ** 22,
  imageSide: 2 ** 13,
  iterations: 1000,
  steps: 1e9,
  batch: 2 ** 20,
  threads: 2 ** 12,
} as const;

const section = <T extends z.core.$ZodLooseShape>(shape: T) => z.strictObject(shape).prefault({} as never);
const choice = <const T extends readonly [string, ...string[]]>(...values: T) =>
  leaf(z.enum(values), values.join(' | '));
const flag = () => leaf(z.boolean(), 'true | false');
const SAFE = Number.MAX_SAFE_INTEGER;
const whole = (least: number, most: number): string =>
  most === SAFE
    ? `a whole number of at least ${least}`
    : `a whole number of at least ${least}, at most ${most.toLocaleString('en-US')}`;
const count = (least = 1, most: number = SAFE) => leaf(z.int().min(least).max(most), whole(least, most));
const countOrNull = (least = 1, most: number = SAFE) =>
  leaf(z.int().min(least).max(most).nullable(), `${whole(least, most)}, or null`);
const share = () => leaf(z.number().min(0).max(1), 'a number from 0 to 1');
const shareBelowOne = () => leaf(z.number().min(0).lt(1), 'a number from 0 up to, but not including, 1');
const shareInside = () => leaf(z.number().gt(0).lt(1), 'a number between 0 and 1');
const shareAboveZero = () => leaf(z.number().gt(0).max(1), 'a number above 0, up to 1');
const positive = () => leaf(z.number().gt(0), 'a number above 0');
const notNegative = () => leaf(z.number().min(0), 'a number of at least 0');
const range = (most = Number.POSITIVE_INFINITY) =>
  leaf(
    z.tuple([z.number().gt(0), z.number().max(most)]).refine(([low, high]) => low <= high),
    `[low, high] with 0 < low <= high${Number.isFinite(most) ? ` <= ${most}` : ''}`,
  );

const threeNumbers = z.tuple([z.number(), z.number(), z.number()]);
const threePositive = z.tuple([z.number().gt(0), z.number().gt(0), z.number().gt(0)]);

const predictor = section({
  /** How masked positions read the encoder's output (paper, Table 1a). */
  type: choice('cross', 'self', 'fused').default('cross'),
  depth: count(1, LIMITS.depth).default(12),
  /** null: as the encoder. */
  width: countOrNull(1, LIMITS.width).default(null),
  heads: countOrNull(1, LIMITS.heads).default(null),
  drop_path: leaf(
    z.number().min(0).lt(1).nullable(),
    'a number from 0 up to, but not including, 1, or null',
  ).default(null),
});

const pixels = z.int().min(1).max(LIMITS.imageSide);

const model = section({
  /** Pixels: one number for a square, or [height, width]. */
  image_size: leaf(
    z.union([pixels, z.tuple([pixels, pixels])]),
    `a number of pixels, or [height, width], at most ${LIMITS.imageSide.toLocaleString('en-US')} a side`,
  ).default(224),
  patch_size: count(1, LIMITS.imageSide).default(14),
  width: count(1, LIMITS.width).default(1024),
  heads: count(1, LIMITS.heads).default(16),
  depth: count(1, LIMITS.depth).default(24),
  mlp_ratio: leaf(
    z.number().gt(0).max(LIMITS.mlpRatio),
    `a number above 0, up to ${LIMITS.mlpRatio}`,
  ).default(4),
  registers: count(0, LIMITS.registers).default(16),
  /** Where registers stand: on the edge of the box around the visible patches, or at the origin. */
  register_coordinates: choice('edge', 'zeros').default('edge'),
  positions: choice('rope', 'learned').default('rope'),
  /** Lowest and highest rotary frequency, in turns across the image. */
  rope_min: positive().default(7e-4),
  rope_max: positive().default(7),
  norm_eps: positive().default(1e-5),
  drop_path: shareBelowOne().default(0.2),
  predictor,
});

const masking = section({
  type: choice('inverse', 'block', 'random').default('inverse'),
  /** Share of the patches that the student does not see. */
  ratio: shareInside().default(0.65),
  /** Shift the mask around the image by a random circular shift. */
  roll: flag().default(true),
  /** Height over width of the block, drawn log-uniformly. */
  aspect: range().default([0.5, 2]),
  /** Share of the masked patches that are predicted. */
  predict: shareAboveZero().default(0.05),
});

const clustering = section({
  prototypes: count(2, LIMITS.prototypes).default(16384),
  sinkhorn: choice('positionwise', 'standard', 'none').default('positionwise'),
  iterations: count(1, LIMITS.iterations).default(3),
  target_temperature: positive().default(0.06),
  prediction_temperature: positive().default(0.12),
  bias: flag().default(true),
});

/** A loss: a head (code: src/model/head.ts), targets and a comparison (src/pretrain/losses.ts). */
export interface Loss {
  /** What the student's predictions go through. */
  head: 'linear' | 'mlp' | 'identity' | 'pixels';
  /** What is predicted: assignments to the prototypes of an online clustering or of the teacher's own head, its features, or pixels. */
  targets: 'clustering' | 'head' | 'features' | 'pixels';
  /** How predictions are judged. */
  compare: 'cross-entropy' | 'huber' | 'squares';
  /** Keys of the section `loss` that are its own: they are no part of the identity of a run by another loss. */
  own?: readonly string[];
  /** Why the predictor has to be as wide as the encoder, where it has to. */
  sameWidth?: string;
}

const MLP = ['mlp_layers', 'mlp_hidden', 'mlp_bottleneck'] as const;

/** The losses of Table 1c of the paper, and MAE's. */
export const LOSSES = {
  capi: { head: 'linear', targets: 'clustering', compare: 'cross-entropy' },
  'capi-mlp': { head: 'mlp', targets: 'clustering', compare: 'cross-entropy', own: MLP },
  ibot: {
    head: 'mlp',
    targets: 'head',
    compare: 'cross-entropy',
    own: MLP,
    sameWidth: "puts the teacher's copy of the head on the encoder",
  },
  direct: {
    head: 'identity',
    targets: 'features',
    compare: 'huber',
    own: ['huber_delta'],
    sameWidth: 'compares predictions with features of the encoder',
  },
  pixel: { head: 'pixels', targets: 'pixels', compare: 'squares' },
} satisfies Record<string, Loss>;

type LossName = keyof typeof LOSSES;

const loss = section({
  type: choice(...(Object.keys(LOSSES) as [LossName, ...LossName[]])).default('capi'),
  student_temperature: positive().default(0.12),
  /** Linear layers of the MLP in the heads of `capi-mlp` and `ibot`, its hidden width and its output width. */
  mlp_layers: count(1, LIMITS.depth).default(3),
  /** null: twice the predictor's width, as DINO's 2,048 for a ViT-L. */
  mlp_hidden: countOrNull(1, LIMITS.width).default(null),
  /** null: a quarter of the predictor's width, as DINO's 256 for a ViT-L. */
  mlp_bottleneck: countOrNull(1, LIMITS.width).default(null),
  /** Of `direct`: differences beyond it count linearly. */
  huber_delta: positive().default(1),
});

const optim = section({
  lr: notNegative().default(1e-3),
  clustering_lr: notNegative().default(5e-4),
  beta1: shareBelowOne().default(0.9),
  beta2: shareBelowOne().default(0.95),
  eps: positive().default(1e-8),
  weight_decay: notNegative().default(0.1),
  /** Of the clustering layer: the official code sets none, so PyTorch's AdamW default applies. */
  clustering_weight_decay: notNegative().default(0.01),
  patch_embed_lr_multiplier: notNegative().default(0.2),
  norm_decay_multiplier: notNegative().default(0.1),
  /** Share of the run over which learning rates rise from 0 and the teacher's momentum falls from 1. */
  warmup: share().default(0.1),
  /** Share of the cosine's half period that is cut off its end. */
  truncation: shareBelowOne().default(0.2),
  /** Teacher momentum after the warm-up, the lowest of the run. */
  momentum: share().default(0.999),
  /** Largest norm of the student's gradient; null: not clipped. */
  clip_norm: leaf(z.number().gt(0).nullable(), 'a number above 0, or null').default(null),
});

const data = section({
  /** Where images come from, as a URI. */
  source: leaf(
    z.string().min(1),
    'a source such as synthetic:scenes, folder:DIR, idx:DIR or fashion-scenes:DIR',
  ).default('synthetic:scenes'),
  /** Area of the random resized crop, as a share of the image's. */
  crop_scale: range(1).default([0.6, 1]),
  /** Width over height of the crop, drawn log-uniformly. */
  crop_ratio: range().default([3 / 4, 4 / 3]),
  /** Probability of a horizontal flip. */
  flip: share().default(0.5),
  normalise: leaf(
    z.union([z.enum(['imagenet', 'dataset']), z.strictObject({ mean: threeNumbers, std: threePositive })]),
    'imagenet | dataset | {mean: [r, g, b], std: [r, g, b]} on a scale of 0 to 1, std above 0',
  ).default('imagenet'),
  /** Share of unreadable images above which the run stops. */
  max_bad_share: share().default(0.01),
});

const train = section({
  steps: count(1, LIMITS.steps).default(500_000),
  /** Images a step. */
  batch: count(1, LIMITS.batch).default(16_384),
});

const engine = section({
  name: choice(...ENGINE_NAMES).default('auto'),
  device: choice(...DEVICE_NAMES).default('auto'),
  /** Number of the NVIDIA GPU, from 0 as nvidia-smi counts; null: the first. Changes no number. */
  gpu: countOrNull(0, LIMITS.threads).default(null),
  /** Threads that compute; null: the physical cores that the process may use (src/cores.ts). */
  threads: countOrNull(1, LIMITS.threads).default(null),
  /** Images that go through teacher and student at a time, a divisor of the batch; null: as the two keys below say. */
  micro_batch: countOrNull().default(null),
  /** Parts that the batch is cut into, inside one step; null: the engine chooses. */
  teacher_micro_batches: countOrNull().default(null),
  student_micro_batches: countOrNull().default(null),
  /** Threads that decode images; null: half of `threads`, 1 to 8. Changes no number. */
  workers: countOrNull(0, LIMITS.threads).default(null),
});

const precision = section({
  /**
   * What the factors and results of matrix products are rounded to; everything else is float32. bfloat16 may change results (it keeps 8 bits of 24); it is
   * fast on CUDA, and rounded in software, slower than float32, on a CPU.
   */
  products: choice('float32', 'bfloat16').default('float32'),
});

const health = section({
  /** Steps between two looks at the prototypes and gradients. */
  every: count().default(50),
  /** Steps in a row that may give NaN or infinity before the run stops. */
  max_bad_steps: count(0).default(5),
  /** Share of dead prototypes from which the run warns. */
  dead_share_warning: share().default(0.5),
});

const checkpoint = section({
  /** Steps between two checkpoints. */
  every: count().default(500),
  /** How many are kept. */
  keep: count().default(2),
});

const words = (what: string) => leaf(z.string().min(1), what);
const evaluation = z.strictObject({
  task: z.enum(TASK_NAMES),
  /** Steps between two evaluations; the last step is always evaluated. */
  every: z.int().min(1),
  /** Labelled sources, as capi eval takes them. The test set is read at every evaluation: name a part that no paper's number comes from. */
  train: words('an image source'),
  test: z.union([words('an image source'), z.array(words('an image source')).min(1)]),
  /** A name or file, as capi eval takes it. */
  protocol: words('a protocol').default('quick'),
  weights: z.enum(['ema', 'student']).default('ema'),
  /** Images of each set at most; null: all. */
  limit: z.int().min(2).nullable().default(null),
  seed: z.int().min(0).default(0),
  /** Evaluate although more than 1 % of the test images are among the training images. */
  allow_overlap: z.boolean().optional(),
});
export type EvaluationEntry = z.infer<typeof evaluation>;

/** The whole configuration; `configSchema.parse({})` is the paper's ViT-L/14 on the embedded source. */
export const configSchema = z.strictObject({
  seed: count(0).default(0),
  model,
  masking,
  clustering,
  loss,
  optim,
  data,
  train,
  engine,
  precision,
  health,
  checkpoint,
  /** Probes during the run; they change nothing of it. */
  evals: leaf(
    z.array(evaluation),
    'a list of {task: cls | seg, every: STEPS, train: SOURCE, test: SOURCE} with protocol, weights, limit and seed if wanted',
  ).default([]),
});

/** A complete configuration, every key set. */
export type Config = z.infer<typeof configSchema>;

/** The loss of a run. */
export const lossOf = (config: Pick<Config, 'loss'>): Loss => LOSSES[config.loss.type];

/** Whether its targets are assignments to prototypes. */
export const isAssigned = (config: Pick<Config, 'loss'>): boolean =>
  ['clustering', 'head'].includes(lossOf(config).targets);
