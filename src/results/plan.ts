// What an ablation consists of: its arms, their order, and the cells of each, for whoever makes tables of the records.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { DataError } from '../errors.js';

export const PLAN = 'plan.json';

export const planSchema = z.object({
  schema: z.literal(1),
  name: z.string(),
  title: z.string().nullable(),
  /** The command that ran it. */
  command: z.string(),
  design: z.enum(['crossed', 'one-factor', 'named']),
  base: z.string(),
  axes: z.array(z.string()),
  /** Place among the arms. */
  baseline: z.int(),
  seeds: z.array(z.int()),
  probe_seeds: z.array(z.int()),
  threads: z.int(),
  /** Of the base. */
  scale: z.object({
    steps: z.int(),
    batch: z.int(),
    data: z.string(),
    width: z.int(),
    depth: z.int(),
  }),
  arms: z.array(
    z.object({
      name: z.string(),
      /** Of a one-factor design. */
      axis: z.string().nullable(),
      values: z.record(z.string(), z.string()),
      settings: z.record(z.string(), z.unknown()),
      cells: z.array(
        z.object({ id: z.string(), seed: z.int(), probe_seed: z.int(), evaluation: z.string() }),
      ),
    }),
  ),
  evaluations: z.array(z.object({ name: z.string(), task: z.enum(['cls', 'seg']) })),
  /** The paper's numbers by arm and column, in per cent. */
  paper: z.record(z.string(), z.record(z.string(), z.number())),
});
export type AblationPlan = z.infer<typeof planSchema>;

/** The plan of an ablation's folder. @throws DataError naming the file */
export async function readPlan(folder: string): Promise<AblationPlan> {
  const file = join(folder, PLAN);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new DataError(`${file} cannot be read as the plan of an ablation: ${(error as Error).message}`);
  }
  const parsed = planSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new DataError(`${file} is not the plan of an ablation: ${issue.path.join('.')}: ${issue.message}`);
}
