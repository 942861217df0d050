// What an ablation consists of: its arms, their order, and the cells of each, for whoever makes tables of the records.
import { join } from 'node:path';
import { z } from 'zod';
import { readSealed } from '../base/files/seal.js';
import { shown } from '../base/text.js';
import { DataError } from '../errors.js';
import { TASK_NAMES } from '../probes/tasks.js';
import { fileName, parseAs, schemaVersion } from './record.js';

export const PLAN = 'plan.json';

export const planSchema = z.object({
  schema: schemaVersion,
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
      cells: z.array(z.object({ id: fileName, seed: z.int(), probe_seed: z.int(), evaluation: z.string() })),
    }),
  ),
  evaluations: z.array(z.object({ name: z.string(), task: z.enum(TASK_NAMES) })),
  /** The paper's numbers by arm and column, in per cent. */
  paper: z.record(z.string(), z.record(z.string(), z.number())),
});
export type AblationPlan = z.infer<typeof planSchema>;

/** Throws DataError naming the file when it is torn, was changed or is no plan. */
export async function readPlan(folder: string): Promise<AblationPlan> {
  const file = join(folder, PLAN);
  const { value } = await readSealed(file, 'run capi ablate with its grid again, or restore it');
  const fail = (what: string): DataError =>
    new DataError(`${file} is not the plan of an ablation: ${what}`, { path: file, fault: 'foreign' });
  const plan = parseAs(planSchema, value, fail);
  const fault = faultOf(plan);
  if (fault !== undefined) throw fail(fault);
  return plan;
}

/** Why a plan contradicts itself, if it does: what is in it twice would be counted twice. */
function faultOf(plan: AblationPlan): string | undefined {
  const { arms, baseline, seeds, probe_seeds: probeSeeds, evaluations } = plan;
  if (arms.length > 0 && !arms[baseline]) return `baseline is ${baseline}, and it has ${arms.length} arms`;
  const lists: Record<string, readonly unknown[]> = {
    seeds,
    'probe seeds': probeSeeds,
    arms: arms.map(({ name }) => name),
    evaluations: evaluations.map(({ name }) => name),
  };
  for (const [what, list] of Object.entries(lists)) {
    const twice = list.find((one, i) => list.indexOf(one) !== i);
    if (twice !== undefined) return `it has ${shown(`${twice}`)} twice among its ${what}`;
  }
  for (const { name, cells } of arms) {
    const places = cells.map((c) => `${c.evaluation}, seed ${c.seed}, probe seed ${c.probe_seed}`);
    const twice = places.find((one, i) => places.indexOf(one) !== i);
    if (twice !== undefined) return `arm ${shown(name)} has two cells of ${shown(twice)}`;
    const stray = cells.find((c) => !seeds.includes(c.seed) || !probeSeeds.includes(c.probe_seed));
    if (stray) return `cell ${stray.id} of arm ${shown(name)} has a seed that the plan does not list`;
  }
  return undefined;
}
