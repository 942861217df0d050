// The two stages of a cell, in the process that runs it: pretrain the arm, then evaluate what came out and write the record.
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { readSealed, writeSealed } from '../base/files/seal.js';
import { readUnlessTorn } from '../base/files/torn.js';
import { makeFolder } from '../base/files/write.js';
import { hashOf, sha256 } from '../base/hash.js';
import type { Engine } from '../engine/program.js';
import { openEngine } from '../engine/select.js';
import { DataError, DivergedError } from '../errors.js';
import { parameterCount, stepFlop } from '../pretrain/cost.js';
import { deadTargets, learningNotes } from '../pretrain/learning.js';
import { pretrain } from '../pretrain/loop.js';
import { HEALTH_COLUMNS, type Line, metricsFaults, readLines, type StepReport } from '../pretrain/metrics.js';
import { prepareRun } from '../pretrain/prepare.js';
import { evaluate } from '../probes/evaluate.js';
import { readPredictions } from '../probes/predictions.js';
import {
  type CellRecord,
  cellFolder,
  clearCellFailure,
  type RunSummary,
  runSchema,
  writeCell,
} from '../results/cell.js';
import { writeCounts } from '../results/counts.js';
import { environment } from '../results/environment.js';
import { commandsOf } from './commands.js';
import { headCounts } from './counts.js';
import type { StoredRuns } from './folder.js';
import { drawStrip } from './pictures.js';
import { type PlannedCell, type PlannedRun, runFolder } from './plan.js';

/** Bytes that the features of an evaluation may take: the same for any number of jobs, so that results are. */
const MEMORY = 4e9;
const CURVE_POINTS = 200;
/** Share of a run before which no arm is given up. */
const GRACE = 0.25;

export interface Watch {
  readonly signal: AbortSignal;
  onProgress(stage: string, done: number, total: number, secondsLeft: number): void;
  onMessage(text: string): void;
}

type Outcome = Pick<RunSummary, 'state' | 'reason' | 'step'>;
/** Older ones do not say of which run. */
const outcomeSchema = runSchema
  .pick({ state: true, reason: true, step: true })
  .extend({ run: z.string().optional() });
const outcomeFile = (out: string, run: string): string => join(runFolder(out, run), 'outcome.json');

/** Whether pretraining of a run is over. */
export const hasEnded = (out: string, run: string): boolean => existsSync(outcomeFile(out, run));

/**
 * Why a run has collapsed, if it has: at most one prototype, or one in a hundred, is in use, or all target features are one vector. Looked at
 * after a quarter of the run.
 */
export function collapse(report: StepReport, prototypes: number): string | undefined {
  const { health, step, steps } = report;
  if (!health || step < GRACE * steps) return undefined;
  const why = deadTargets(health, prototypes);
  return why === undefined ? undefined : `collapsed at step ${step} of ${steps}: ${why}`;
}

/** Trains a run to its end, or goes on with it, unless it has ended. @throws what capi pretrain throws, but for runs that diverged */
export async function pretrainStage(
  out: string,
  run: PlannedRun,
  stored: StoredRuns,
  watch: Watch,
): Promise<Outcome> {
  const file = outcomeFile(out, run.id);
  if (existsSync(file)) {
    const known = await readUnlessTorn(file, () => readOutcome(file, run.id), watch.onMessage);
    if (known) return known;
  }
  const prepared = await prepareRun(run.config, { onMessage: watch.onMessage, signal: watch.signal });
  if (!prepared.identity.hash.startsWith(run.id)) {
    throw new DataError(
      `the data of run ${run.id} (${run.config.data.source}) is not what it was when the ablation was planned: run capi ablate again`,
    );
  }
  let outcome: Outcome;
  try {
    const { stopped, step } = await pretrain({
      ...prepared,
      folder: runFolder(out, run.id),
      signal: watch.signal,
      ...(stored.early_stop
        ? { stopWhen: (report) => collapse(report, run.config.clustering.prototypes) }
        : {}),
      onMessage: watch.onMessage,
      onStep: (r) => watch.onProgress('pretrain', r.step, r.steps, r.secondsLeft),
    });
    outcome = { state: stopped === null ? 'done' : 'collapsed', reason: stopped, step };
  } catch (error) {
    if (!(error instanceof DivergedError)) throw error;
    outcome = {
      state: 'diverged',
      reason: error.message.split(';')[0]!,
      step: Number(error.details.step ?? 0),
    };
  }
  await writeSealed(file, { run: run.id, ...outcome });
  return outcome;
}

/** How a run ended, as it was written down. @throws DataError when the file is damaged or of another run */
async function readOutcome(file: string, run: string): Promise<Outcome> {
  const remedy = 'delete it, and the same command looks at the run again';
  const { value } = await readSealed(file, remedy);
  const parsed = outcomeSchema.safeParse(value);
  if (!parsed.success || (parsed.data.run ?? run) !== run)
    throw new DataError(`${file} does not say how the run ${run} ended: ${remedy}`, {
      path: file,
      fault: 'foreign',
    });
  const { run: _, ...outcome } = parsed.data;
  return outcome;
}

/** The parts of a cell's record that its evaluation fills; a run that diverged has none of them. */
type Evaluated = Pick<
  CellRecord,
  'results' | 'protocol' | 'train' | 'tests' | 'classes' | 'counts' | 'pictures' | 'pictures_sha256' | 'notes'
>;
const NOTHING: Evaluated = {
  results: [],
  protocol: null,
  train: null,
  tests: [],
  classes: [],
  counts: null,
  pictures: null,
  notes: [],
};

/** Evaluates a run that has ended and writes the cell's record. A run that diverged has a record without results. */
export async function evaluateStage(
  out: string,
  run: PlannedRun,
  cell: PlannedCell,
  stored: StoredRuns,
  watch: Watch,
): Promise<void> {
  const begin = performance.now();
  const { id, key, arm, seed, probeSeed, evaluation } = cell;
  const { config } = run;
  const engine = await openEngine(config.engine);
  const summary = await summarise(out, run);
  const learning = learningNotes(config, await linesOf(out, run, summary.step));
  await makeFolder(cellFolder(out, id));
  const found =
    summary.state === 'diverged' ? NOTHING : await evaluateCell(out, run, cell, stored, engine, watch);
  const { train, tests, protocol, weights, limit } = evaluation;
  await writeCell(out, {
    schema: 2,
    id,
    ...(key ? { key } : {}),
    task: evaluation.task,
    evaluation: evaluation.name,
    settings: { ...stored.arms[arm]! },
    seed,
    probe_seed: probeSeed,
    threads: config.engine.threads ?? 1,
    run: summary,
    config: config as unknown as Record<string, unknown>,
    request: { train, tests, protocol, weights, limit },
    commands: commandsOf(stored, run, cell),
    ...found,
    notes: [...learning.map((text) => `pretraining: ${text}`), ...found.notes],
    created: new Date().toISOString(),
    seconds: (performance.now() - begin) / 1000,
    environment: environment(engine),
  });
  await clearCellFailure(out, id);
  await rm(workFolder(out, id), { recursive: true, force: true });
}

/** What goes on in a cell that is not finished; gone with its end. */
const workFolder = (out: string, cell: string): string => join(out, 'work', cell);

async function evaluateCell(
  out: string,
  run: PlannedRun,
  cell: PlannedCell,
  stored: StoredRuns,
  engine: Engine,
  watch: Watch,
): Promise<Evaluated> {
  const { evaluation } = cell;
  const { weights } = evaluation;
  const work = workFolder(out, cell.id);
  const folder = cellFolder(out, cell.id);
  const encoder = runFolder(out, run.id);
  const [done] = await evaluate({
    task: evaluation.task,
    engine,
    encoders: [encoder],
    train: evaluation.train,
    tests: evaluation.tests,
    protocol: evaluation.protocol,
    weights,
    floors: false,
    memory: MEMORY,
    limit: evaluation.limit,
    seed: cell.probeSeed,
    out: join(work, 'evals'),
    store: join(work, 'store'),
    force: false,
    allowOverlap: evaluation.allow_overlap ?? false,
    watch: {
      signal: watch.signal,
      onMessage: watch.onMessage,
      onStage: (_, stage, n, total) => watch.onProgress(`${evaluation.name}: ${stage}`, n, total, Number.NaN),
    },
  });
  const { record, file } = done!;
  checkSets(cell, record);
  const { left_out, ...counts } = await writeCounts(
    folder,
    headCounts(record, await readPredictions(file, record)),
  );
  const { features, ...card } = record.protocol.card; // an arm may lack a source; its other rows are comparable
  const first = stored.cells.find(({ run: of }) => of === run.id)!.id === cell.id; // one strip a run
  const scratch = join(work, 'pictures');
  const pictures = first
    ? await drawStrip({ engine, encoder, weights, test: evaluation.tests[0]!, folder, scratch })
    : null;
  return {
    results: record.results,
    protocol: { name: record.protocol.name, hash: hashOf(card), card: record.protocol.card },
    train: record.train,
    tests: record.tests.map(({ reads, ...test }) => test),
    classes: record.classes,
    counts,
    pictures,
    ...(pictures === null ? {} : { pictures_sha256: sha256(await readFile(join(folder, pictures))) }),
    notes: [
      ...record.notes,
      ...(await metricsFaults(encoder)).faults.map((fault) => `of its run: ${fault}`),
      ...(left_out.length > 0
        ? [`no per-image counts of ${left_out.join(', ')}: the file would pass 1 MB`]
        : []),
    ],
  };
}

const linesOf = async (out: string, run: PlannedRun, steps: number): Promise<Line[]> =>
  (await readLines(runFolder(out, run.id))).filter((line) => line.step! <= steps);

/** @throws DataError where a set of files is not what it was when the cell was planned, and named */
function checkSets(
  { id, files, evaluation }: PlannedCell,
  record: Pick<CellRecord, 'train' | 'tests'>,
): void {
  const planned = files ? [files.train, ...files.tests] : [];
  const found = [record.train, ...record.tests];
  const other = planned.findIndex((identity, i) => identity !== null && identity !== found[i]?.identity);
  if (other < 0) return;
  throw new DataError(
    `the files of ${found[other]?.source ?? evaluation.train} are not what they were when cell ${id} was planned: run capi ablate again`,
  );
}

/** What the run's files say of it. */
async function summarise(out: string, run: PlannedRun): Promise<RunSummary> {
  const outcome = await readOutcome(outcomeFile(out, run.id), run.id);
  const lines = await linesOf(out, run, outcome.step);
  const looks = lines.filter((line) => HEALTH.some((key) => key in line));
  const last = looks.at(-1);
  const { batch } = run.config.train;
  const rate = lines.at(-1)?.images_per_second ?? null;
  return {
    id: run.id,
    ...outcome,
    images: outcome.step * batch,
    health: last
      ? Object.fromEntries(HEALTH.filter((key) => key in last).map((key) => [key, last[key]!]))
      : {},
    curve: curveOf(lines),
    seconds: rate ? (outcome.step * batch) / rate : null,
    parameters: parameterCount(run.config),
    flop_per_step: stepFlop(run.config),
  };
}

const HEALTH = HEALTH_COLUMNS.map(([, name]) => name);
const SHOWN = ['step', 'capi_loss', 'clustering_loss', 'target_entropy', 'gradient_norm', 'lr'];

/** Evenly spread steps: losses and entropy are means over the steps up to each point, health its last look. */
function curveOf(lines: readonly Line[]): Record<string, number | null>[] {
  const points = Math.min(CURVE_POINTS, lines.length);
  return Array.from({ length: points }, (_, i) => {
    const part = lines.slice(
      Math.floor((i * lines.length) / points),
      Math.floor(((i + 1) * lines.length) / points),
    );
    const end = part.at(-1)!;
    const point: Record<string, number | null> = {};
    for (const key of SHOWN) {
      if (!(key in end)) continue;
      const values = part.map((line) => line[key]).filter((x) => typeof x === 'number');
      const mean = values.length > 0 ? values.reduce((a, b) => a + b, 0) / values.length : null;
      point[key] =
        key === 'step' || key === 'lr' ? end[key]! : mean === null ? null : Number(mean.toPrecision(6));
    }
    const look = part.findLast((line) => HEALTH.some((key) => key in line));
    for (const key of HEALTH) if (look && key in look) point[key] = look[key]!;
    return point;
  });
}
