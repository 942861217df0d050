// From a grid to what will run: configs of all arms, runs and cells under names made of their contents. Opens all data, and lists all faults at once.
import { join } from 'node:path';
import { hashOf } from '../base/hash.js';
import { type Config, checkSizes, identity, imageSize, loadConfig } from '../config/index.js';
import { openEngine } from '../engine/select.js';
import { CapiError } from '../errors.js';
import { openSource } from '../images/index.js';
import { checkLearning } from '../pretrain/learning.js';
import { resolveEngine } from '../pretrain/prepare.js';
import { dataSettings } from '../probes/card.js';
import type { EvaluationData } from '../probes/dataset.js';
import { loadProtocol } from '../probes/protocol.js';
import { openSets } from '../probes/sets.js';
import { type CellKey, cellId } from '../results/cell.js';
import { refuse } from './faults.js';
import type { Grid } from './grid.js';
import type { GridEvaluation } from './grid_file.js';

/** One pretraining: an arm and a seed. */
export interface PlannedRun {
  /** Of all settings and the data. */
  readonly id: string;
  readonly arm: number;
  readonly seed: number;
  /** Complete, engine resolved. */
  readonly config: Config;
}

/** One evaluation of a run with one probe seed. */
export interface PlannedCell {
  readonly id: string;
  /** What the id is the hash of; plans of older versions do not have it. */
  readonly key?: CellKey;
  readonly run: string;
  readonly arm: number;
  readonly seed: number;
  readonly probeSeed: number;
  readonly evaluation: PlannedEvaluation;
  /** Of its sets, as they were when the ablation was planned. */
  readonly files?: SetFiles;
}

/** Identities of sets of files; null for generated ones. */
export interface SetFiles {
  readonly train: string | null;
  readonly tests: readonly (string | null)[];
}

/** An evaluation with its sources named. */
export type PlannedEvaluation = Omit<GridEvaluation, 'train' | 'test'> & { train: string; tests: string[] };

export interface Plan {
  readonly grid: Grid;
  readonly evals: readonly PlannedEvaluation[];
  /** Seed by seed, so that a study that is cut short has every arm. */
  readonly runs: readonly PlannedRun[];
  readonly cells: readonly PlannedCell[];
  /** Data that is not here, in words; only where that was allowed. */
  readonly missing: readonly string[];
}

/** Names of folders are this many digits of a hash. */
const DIGITS = 16;

/**
 * Resolves every arm, looks for arms that come to the same, opens training and evaluation data and reads the protocols.
 * With `mayMiss`, data that cannot be opened is listed in the plan and named by its address: for a look at what an ablation would take.
 * @throws UsageError with all faults of the grid and its data
 */
export async function planGrid(grid: Grid, { mayMiss = false } = {}): Promise<Plan> {
  const faults: string[] = [];
  const missing: string[] = [];
  const note = async (work: () => unknown, into = faults): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof CapiError)) throw error;
      into.push(error.message);
    }
  };
  const data = mayMiss ? missing : faults;
  const configs: (Config | undefined)[] = [];
  for (const arm of grid.arms) {
    configs.push(undefined);
    await note(() => {
      try {
        const config = armConfig(grid, arm.settings);
        checkSizes(config);
        checkLearning(config);
        configs[configs.length - 1] = config;
      } catch (error) {
        if (error instanceof CapiError) error.message = `arm ${arm.name}: ${error.message}`;
        throw error;
      }
    });
  }
  const known = new Map<string, number>();
  for (const [i, config] of configs.entries()) {
    if (!config) continue;
    const { hash } = identity(config, { dataIdentity: config.data.source });
    const twin = known.get(hash);
    known.set(hash, twin ?? i);
    if (twin !== undefined)
      faults.push(
        `the arms ${grid.arms[twin]!.name} and ${grid.arms[i]!.name} are the same: no setting that counts differs`,
      );
  }

  const identities = new Map<string, string>();
  const usable = configs.filter((c) => c !== undefined);
  // Generated pictures are drawn at the size that an arm trains at, unless their source says one: they are data of their own then.
  for (const name of new Set(usable.map(dataOf))) {
    const arms = usable.filter((c) => dataOf(c) === name);
    const { source } = arms[0]!.data;
    await note(async () => {
      const opened = await openSource(source, { split: 'train', size: longSide(arms[0]!) });
      const most = Math.max(...arms.map((c) => c.train.batch));
      if (opened.length < most) {
        refuse([
          `${opened.uri} has ${opened.length} images, fewer than one batch of ${most}: lower train.batch`,
        ]);
      }
      identities.set(name, await opened.identity());
    }, data);
    if (!identities.has(name)) identities.set(name, source);
  }
  const base = usable[grid.baseline] ?? usable[0];
  const evals = grid.evals.map((e): PlannedEvaluation => {
    const { train, test, ...rest } = e;
    const own = base?.data.source ?? '';
    const tests = test === null ? [own] : typeof test === 'string' ? [test] : test;
    return { ...rest, train: train ?? own, tests };
  });
  const sizes = [...new Set(usable.map(longSide))];
  const unsized = evals.flatMap((e) => [e.train, ...e.tests]).filter(drawnAtAnySize);
  if (sizes.length > 1 && unsized.length > 0) {
    faults.push(
      `arms of ${sizes.join(' and ')} pixels would be evaluated on different pictures of ${unsized[0]}, which are drawn at the size that is asked for: say one, such as ${unsized[0]}${unsized[0]!.includes('?') ? '&' : '?'}size=${base ? longSide(base) : sizes[0]}`,
    );
  }
  const evaluationHashes: string[] = [];
  const files: (SetFiles | undefined)[] = [];
  for (const [i, e] of evals.entries()) {
    evaluationHashes.push(hashOf({ ...e }));
    await note(() => loadProtocol(e.protocol, e.task));
    if (base)
      await note(async () => {
        const found = await named(e.name, evaluationData(e, base));
        [evaluationHashes[i], files[i]] = [found.hash, found.files];
      }, data);
  }
  refuse(faults);

  const engine = await openEngine(base!.engine);
  const runs: PlannedRun[] = [];
  const cells: PlannedCell[] = [];
  for (const seed of grid.seeds) {
    for (const [arm, config] of configs.entries()) {
      const resolved = resolveEngine(
        { ...config!, seed },
        { name: engine.name, device: engine.device, threads: grid.threads },
      );
      const { hash } = identity(resolved, { dataIdentity: identities.get(dataOf(resolved))! });
      const run = { id: hash.slice(0, DIGITS), arm, seed, config: resolved };
      runs.push(run);
      for (const [i, evaluation] of evals.entries()) {
        for (const probeSeed of grid.probeSeeds) {
          const key = { run: hash, evaluation: evaluationHashes[i]!, probeSeed };
          const own = files[i] ? { files: files[i] } : {};
          cells.push({ id: cellId(key), key, run: run.id, arm, seed, probeSeed, evaluation, ...own });
        }
      }
    }
  }
  return { grid, evals, runs, cells, missing };
}

/** The config of an arm but for its seed. @throws UsageError */
export function armConfig(grid: Pick<Grid, 'base' | 'set' | 'threads'>, settings: Grid['set']): Config {
  return loadConfig({
    preset: grid.base,
    overrides: { ...grid.set, ...settings, 'engine.threads': grid.threads, evals: [] },
  }).config;
}

const longSide = (config: Config): number => Math.max(...imageSize(config));

/** Names the training data of an arm within a grid: its source and the size at which that is opened. */
const dataOf = (config: Config): string => `${config.data.source} at ${longSide(config)}`;

/** Sources whose pictures are made at the size that they are opened with. */
const drawnAtAnySize = (source: string): boolean =>
  /^(synthetic|fashion-scenes):/.test(source) && !/[?&]size=/.test(source);

/** What `work` gives; its refusals say which evaluation they are about. */
async function named<T>(evaluation: string, work: Promise<T>): Promise<T> {
  return work.catch((error) => {
    if (error instanceof CapiError) error.message = `evaluation ${evaluation}: ${error.message}`;
    throw error;
  });
}

/** Hash of what decides an evaluation's numbers but the encoder and the probe seed, and its sets. @throws UsageError, DataError */
async function evaluationData(
  e: PlannedEvaluation,
  config: Config,
): Promise<{ hash: string; files: SetFiles }> {
  const { task, settings } = await loadProtocol(e.protocol, e.task);
  const side = settings.transform.image_size;
  const [height, width] = side === null ? imageSize(config) : [side, side];
  const sets = await openSets(
    task,
    { train: e.train, tests: e.tests, limit: e.limit, allowOverlap: e.allow_overlap ?? false },
    { size: { height, width } },
  );
  task.split(sets.train, settings); // refuses too few images
  const tests = sets.tests.map(({ data }) => data);
  const hash = hashOf({
    task: e.task,
    settings,
    train: sets.train.identity,
    tests: tests.map(({ identity }) => identity),
    weights: e.weights,
    limit: e.limit,
    ...dataSettings(sets),
  });
  // A generated set is another one at another size; it cannot change meanwhile.
  const known = ({ source, identity }: EvaluationData) => (source.formerIdentity ? identity : null);
  return { hash, files: { train: known(sets.train), tests: tests.map(known) } };
}

export const runFolder = (out: string, run: string): string => join(out, 'runs', run);
