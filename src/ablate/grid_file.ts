// What a grid file holds: its keys, what each accepts, and how large a grid may be.
import { z } from 'zod';
import { shown } from '../base/text.js';
import { TASK_NAMES } from '../probes/tasks.js';

export const evaluation = z.strictObject({
  /** Name of its column; default: the task. */
  name: z
    .string()
    .regex(/^[\w.-]+$/, 'letters, digits, . _ and -')
    .optional(),
  task: z.enum(TASK_NAMES),
  /** Labelled sources; null: the data of the base. */
  train: z.string().min(1).nullable().default(null),
  test: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
    .nullable()
    .default(null),
  protocol: z.string().min(1).default('quick'),
  weights: z.enum(['ema', 'student']).default('ema'),
  limit: z.int().min(2).nullable().default(null),
  /** Evaluate although more than 1 % of the test images are among the training images. */
  allow_overlap: z.boolean().optional(),
});
export type GridEvaluation = Omit<z.infer<typeof evaluation>, 'name'> & { name: string };

/** The most that a grid may ask for: more arms, seeds or cells are a slip, and would take hours to list. */
export const MOST = { seeds: 10_000, arms: 4096, cells: 100_000 } as const;
export const inWords = (n: number): string => n.toLocaleString('en-US', { maximumFractionDigits: 0 });

/** The first n seeds. */
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

const among = (least: number, most: number) => (value: unknown) =>
  Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;

/** A number of seeds, which stands for the first so many, or a list. */
const seeds = z
  .custom<number | number[]>(
    (value) =>
      Array.isArray(value)
        ? value.length >= 1 && value.length <= MOST.seeds && value.every(among(0, Number.MAX_SAFE_INTEGER))
        : among(1, MOST.seeds)(value),
    {
      error: ({ input }) =>
        `is ${wordsOf(input)}; accepted: how many (1 to ${inWords(MOST.seeds)}), or a list of whole numbers from 0`,
    },
  )
  .transform((value) => (typeof value === 'number' ? range(value) : value));

const wordsOf = (value: unknown): string =>
  typeof value === 'number' ? `${value}` : shown(`${JSON.stringify(value)}`.slice(0, 60));

/** Resources of a Slurm job, as sbatch takes them. */
const slurm = z.strictObject({
  partition: z.string().optional(),
  account: z.string().optional(),
  time: z.union([z.string(), z.int()]).optional(),
  mem: z.union([z.string(), z.int()]).optional(),
  gres: z.string().optional(),
  constraint: z.string().optional(),
  qos: z.string().optional(),
  /** Jobs of an array that run at once. */
  at_once: z.int().min(1).optional(),
  /** Lines of shell before capi starts: modules, environments. */
  setup: z.string().optional(),
});
export type SlurmResources = z.infer<typeof slurm>;

export const gridSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[\w.-]+$/, 'letters, digits, . _ and -')
    .optional(),
  /** What the report says above the tables. */
  title: z.string().optional(),
  base: z.string().min(1).default('quickstart'),
  /** Changes of the base, nested or dotted. */
  set: z.record(z.string(), z.unknown()).default({}),
  design: z.enum(['crossed', 'one-factor']).optional(),
  axes: z.record(z.string(), z.array(z.unknown()).min(1)).default({}),
  /** Arms that set several keys at once: axes and config keys alike. */
  arms: z.record(z.string(), z.record(z.string(), z.unknown()).nullable()).default({}),
  /** Name of the arm that others are compared with; default: the base itself. */
  baseline: z.string().optional(),
  seeds: seeds.default([0, 1, 2]),
  probe_seeds: seeds.default([0]),
  threads: z.int().min(1).max(4096).default(1),
  evals: z.array(evaluation).min(1),
  /** End a run that collapsed; it is evaluated as it stands. */
  early_stop: z.boolean().default(true),
  slurm: slurm.default({}),
  /** The paper's numbers: arm -> column -> value in per cent, where a column is EVALUATION.HEAD or EVALUATION.HEAD.SOURCE. */
  paper: z.record(z.string(), z.record(z.string(), z.number())).default({}),
});
