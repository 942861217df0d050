// A made ablation on disk, as capi ablate leaves one: for tests of reports, which read records alone.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TaskName } from '../../src/probes/tasks.js';
import { type CellRecord, cellFolder, writeCell } from '../../src/results/cell.js';
import { type HeadCounts, writeCounts } from '../../src/results/counts.js';
import type { Result } from '../../src/results/record.js';

/** A score of a made cell. */
export interface MadeScore {
  head: string;
  source: string;
  metric: string;
  convention: string;
  value: number;
  images: number;
  hits?: HeadCounts['hits'];
  values?: HeadCounts['values'];
  pixels?: HeadCounts['pixels'];
}

export interface MadeCell {
  arm: string;
  seed: number;
  evaluation: TaskName;
  scores: MadeScore[];
  state?: 'done' | 'collapsed' | 'diverged';
  reason?: string;
  protocol?: string;
  /** Without per-image counts. */
  uncounted?: boolean;
  /** Not written: missing, or failed where it is a text. */
  absent?: true | string;
}

export interface MadeStudy {
  title?: string;
  design?: 'one-factor' | 'named';
  arms: { name: string; axis: string | null; values: Record<string, string> }[];
  seeds: number[];
  cells: MadeCell[];
  paper?: Record<string, Record<string, number>>;
}

const TEST = 'made:test';
const idOf = ({ arm, seed, evaluation }: MadeCell): string =>
  `${arm}-${seed}-${evaluation}`.replaceAll(/\W/g, '_');

/** Writes plan and cells into `folder`. */
export async function makeStudy(folder: string, study: MadeStudy): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const evaluations = [...new Set(study.cells.map(({ evaluation }) => evaluation))];
  const plan = {
    schema: 1,
    name: 'made',
    title: study.title ?? null,
    command: 'capi ablate --grid made.yaml --out made',
    design: study.design ?? 'one-factor',
    base: 'quickstart',
    axes: [...new Set(study.arms.flatMap(({ axis }) => (axis === null ? [] : [axis])))],
    baseline: 0,
    seeds: study.seeds,
    probe_seeds: [0],
    threads: 1,
    scale: { steps: 100, batch: 8, data: 'made:train', width: 16, depth: 2 },
    arms: study.arms.map((arm) => ({
      ...arm,
      settings: {},
      cells: study.cells
        .filter((cell) => cell.arm === arm.name)
        .map((cell) => ({ id: idOf(cell), seed: cell.seed, probe_seed: 0, evaluation: cell.evaluation })),
    })),
    evaluations: evaluations.map((name) => ({ name, task: name })),
    paper: study.paper ?? {},
  };
  writeFileSync(join(folder, 'plan.json'), JSON.stringify(plan));
  for (const cell of study.cells) {
    const own = cellFolder(folder, idOf(cell));
    mkdirSync(own, { recursive: true });
    if (cell.absent) {
      if (cell.absent !== true)
        writeFileSync(join(own, 'failed.json'), JSON.stringify({ reason: cell.absent }));
    } else await writeCell(folder, await recordOf(cell, own));
  }
}

async function recordOf(cell: MadeCell, folder: string): Promise<CellRecord> {
  const { arm, seed, evaluation: task, scores } = cell;
  const heads = scores.flatMap(({ head, source, hits, values, pixels }): HeadCounts[] =>
    hits || values || pixels ? [{ test: 0, source, head, hits, values, pixels }] : [],
  );
  const { left_out, ...counts } = await writeCounts(folder, heads);
  const results = scores.map(
    ({ head, source, metric, convention, value, images }): Result => ({
      task,
      test: TEST,
      source,
      head,
      metric,
      convention,
      value,
      interval: { low: Math.max(0, value - 0.01), high: value > 1 ? value : Math.min(1, value + 0.01) },
      n: images,
      selected: null,
    }),
  );
  const slope = arm.length; // arms differ in cost and curve
  return {
    schema: 1,
    id: idOf(cell),
    task,
    evaluation: task,
    settings: {},
    seed,
    probe_seed: 0,
    threads: 1,
    run: {
      id: `${arm}-${seed}`,
      state: cell.state ?? 'done',
      reason: cell.reason ?? null,
      step: 100,
      images: 800,
      health: { dead_share: 0 },
      curve: [10, 50, 100].map((step) => ({
        step,
        capi_loss: 5 - step / (20 + slope),
        target_entropy: 1 + slope / step,
      })),
      seconds: 12,
      parameters: 1000,
      flop_per_step: 1e9 * slope,
    },
    results,
    protocol:
      cell.state === 'diverged'
        ? null
        : { name: 'made', hash: cell.protocol ?? 'same', card: { settings: cell.protocol ?? 'same' } },
    train: { source: 'made:train', identity: 'train', images: 10 },
    tests: [{ source: TEST, identity: 'test', images: scores[0]?.images ?? 0 }],
    classes: ['a', 'b'],
    counts: cell.uncounted ? null : counts,
    pictures: null,
    config: {},
    request: { train: 'made:train', tests: [TEST], protocol: 'made', weights: 'ema', limit: null },
    notes: [],
    commands: [`capi pretrain ${arm} & more`, `capi eval ${task} runs/x`],
    created: '2026-01-01T00:00:00.000Z',
    seconds: 1,
    environment: {},
  };
}
