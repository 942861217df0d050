// A grid: from a file or from words on the command line to arms, seeds and evaluations. Knows no engine and opens no data.
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import type { z } from 'zod';
import { hashOf } from '../base/hash.js';
import { flatten, isMapping, type Mapping } from '../config/keys.js';
import { nearest } from '../config/nearest.js';
import { readYaml } from '../config/yaml.js';
import { UsageError } from '../errors.js';
import { type TaskName, USUAL_TASKS } from '../probes/tasks.js';
import { type AxisValue, axisValue, inlineAxis, labelOfBase, type Settings } from './axes.js';
import { attempt, attempted, refuse } from './faults.js';
import {
  evaluation,
  type GridEvaluation,
  gridSchema,
  inWords,
  MOST,
  range,
  type SlurmResources,
} from './grid_file.js';
import { armSettings, idleFaults, lookOf, nameFaults, overlapFaults, ownedFaults } from './labels.js';

/** An arm of a grid. */
export interface Arm {
  readonly name: string;
  /** Of a one-factor design: the axis that it varies; null for the baseline, for named arms and for crossed ones. */
  readonly axis: string | null;
  /** Label by axis. */
  readonly values: Readonly<Record<string, string>>;
  /** By dotted key, what it sets on top of the base. */
  readonly settings: Settings;
}

export interface Grid {
  readonly name: string;
  readonly title: string | null;
  /** File, or the words of the command line. */
  readonly origin: string;
  readonly base: string;
  readonly set: Settings;
  readonly design: 'crossed' | 'one-factor' | 'named';
  readonly axes: readonly string[];
  readonly arms: readonly Arm[];
  /** Place among the arms. */
  readonly baseline: number;
  readonly seeds: readonly number[];
  readonly probeSeeds: readonly number[];
  readonly threads: number;
  readonly evals: readonly GridEvaluation[];
  readonly earlyStop: boolean;
  readonly slurm: SlurmResources;
  readonly paper: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** What the command line adds. */
export interface GridRequest {
  /** Values of --grid. */
  readonly grids: readonly string[];
  readonly base?: string | undefined;
  /** KEY=VALUE words of --set, already parsed. */
  readonly set: Settings;
  readonly design?: 'crossed' | 'one-factor' | undefined;
  readonly seeds?: number | undefined;
  readonly probeSeeds?: number | undefined;
  readonly evals?: readonly TaskName[] | undefined;
  /** The evaluations that the base preset itself has, of an inline grid; they stand where `evals` names none. */
  readonly baseEvals?: (base: string) => readonly Omit<z.input<typeof evaluation>, 'name'>[];
  /** Reads a key of the base's config, with `set` applied. */
  readonly baseValue: (base: string, set: Settings, key: string) => unknown;
}

/**
 * The grid that a command asks for. Faults that can be seen without opening anything are collected.
 * @throws UsageError with all of them
 */
export function readGrid(request: GridRequest): Grid {
  const files = request.grids.filter((text) => existsSync(text));
  if (files.length > 1 || (files.length === 1 && request.grids.length > 1)) {
    throw new UsageError(
      `--grid takes one file, or any number of AXIS=V1,V2; here are ${request.grids.join(' and ')}`,
    );
  }
  return files.length === 1 ? fileGrid(files[0]!, request) : inlineGrid(request);
}

function inlineGrid(request: GridRequest): Grid {
  const faults: string[] = [];
  const axes: Record<string, AxisValue[]> = {};
  for (const text of request.grids) {
    attempt(faults, () => {
      const { axis, values } = inlineAxis(text);
      if (axes[axis]) throw new UsageError(`--grid names the axis ${axis} twice`);
      axes[axis] = values;
    });
  }
  faults.push(...ownedFaults(request.set, true));
  for (const [flag, n] of [
    ['--seeds', request.seeds],
    ['--probe-seeds', request.probeSeeds],
  ] as const) {
    if (n !== undefined && !(n >= 1 && n <= MOST.seeds))
      faults.push(`${flag} is ${n}; accepted: 1 to ${inWords(MOST.seeds)}`);
  }
  if (faults.length > 0) refuse([...faults, ...overlapFaults(axes)]);
  const base = request.base ?? 'quickstart';
  const own = request.evals ? [] : (request.baseEvals?.(base) ?? []);
  const tasks = request.evals ?? USUAL_TASKS;
  const evals =
    own.length > 0 ? own.map((e) => evaluation.parse(e)) : tasks.map((task) => evaluation.parse({ task }));
  const design = request.design ?? 'crossed';
  return finish(request, {
    name: `${basename(base).replace(/\.ya?ml$/, '')}-${hashOf({ base, axes, design, set: request.set }).slice(0, 8)}`,
    title: null,
    origin: request.grids.join(' '),
    base,
    set: request.set,
    design,
    axes,
    arms: {},
    baseline: undefined,
    seeds: range(request.seeds ?? 3),
    probeSeeds: range(request.probeSeeds ?? 1),
    threads: 1,
    evals,
    earlyStop: true,
    slurm: {},
    paper: {},
  });
}

function fileGrid(file: string, request: GridRequest): Grid {
  for (const [flag, given] of [
    ['--base', request.base],
    ['--design', request.design],
    ['--seeds', request.seeds],
    ['--probe-seeds', request.probeSeeds],
    ['--evals', request.evals],
  ] as const) {
    if (given !== undefined) throw new UsageError(`${flag} is for inline grids: ${file} says it itself`);
  }
  const value = readYaml(file, 'grid');
  if (!isMapping(value))
    throw new UsageError(`${file} holds no grid; accepted: a mapping with axes or arms, and evals`);
  const faults: string[] = [];
  const known = Object.keys(gridSchema.shape);
  for (const key of Object.keys(value)) {
    if (known.includes(key)) continue;
    const guess = nearest(key, known);
    faults.push(
      `${file} has the unknown key ${key}${guess ? `; did you mean ${guess}?` : ` (keys: ${known.join(', ')})`}`,
    );
  }
  const parsed = gridSchema.safeParse(value);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      if (issue.code !== 'unrecognized_keys' || issue.path.length > 0) {
        faults.push(`${file}: ${issue.path.join('.') || 'the file'}: ${issue.message}`);
      }
    }
  }
  refuse(faults);
  const g = parsed.data!;
  const axes: Record<string, AxisValue[]> = {};
  for (const [axis, values] of Object.entries(g.axes)) {
    attempt(faults, () => {
      axes[axis] = values.map((v) => axisValue(axis, v));
    });
  }
  const arms: Record<string, Settings> = {};
  for (const [name, sets] of Object.entries(g.arms)) {
    attempt(faults, () => {
      arms[name] = armSettings(name, sets ?? {});
    });
  }
  const set = { ...attempted(faults, () => flatOnce(g.set)), ...request.set };
  faults.push(...ownedFaults(set, false));
  if (g.design === undefined && Object.keys(g.axes).length > 0) {
    faults.push(
      `${file}: design is missing; accepted: crossed (every combination), one-factor (each axis around the base)`,
    );
  }
  if (faults.length > 0)
    refuse([...faults, ...overlapFaults(axes), ...nameFaults([BASE_ARM, ...Object.keys(g.arms)], 'arm')]);
  return finish(request, {
    name: g.name ?? basename(file).replace(/\.ya?ml$/, ''),
    title: g.title ?? null,
    origin: file,
    base: g.base,
    set,
    design: g.design ?? 'named',
    axes,
    arms,
    baseline: g.baseline,
    seeds: g.seeds,
    probeSeeds: g.probe_seeds,
    threads: g.threads,
    evals: g.evals,
    earlyStop: g.early_stop,
    slurm: g.slurm,
    paper: g.paper,
  });
}

type Unfinished = Omit<Grid, 'axes' | 'arms' | 'baseline' | 'evals'> & {
  axes: Record<string, AxisValue[]>;
  arms: Record<string, Settings>;
  baseline: string | undefined;
  evals: readonly z.infer<typeof evaluation>[];
};

/** Name of the arm that changes nothing. */
const BASE_ARM = 'base';

function finish(request: GridRequest, g: Unfinished): Grid {
  const faults = [...overlapFaults(g.axes), ...tooMany(g)];
  refuse(faults);
  if (g.design === 'crossed' && Object.keys(g.arms).length === 0) faults.push(...idleFaults(g.set, g.axes));
  const read = (key: string): unknown => request.baseValue(g.base, g.set, key);
  const changesNothing = (settings: Settings): boolean =>
    Object.entries(settings).every(([key, v]) => JSON.stringify(read(key)) === JSON.stringify(v));
  const arms: Arm[] = [];
  if (g.design === 'crossed') {
    let made: Arm[] = [{ name: '', axis: null, values: {}, settings: {} }];
    for (const [axis, values] of Object.entries(g.axes)) {
      made = made.flatMap((arm) =>
        values.map(({ label, settings }) => ({
          ...arm,
          values: { ...arm.values, [axis]: label },
          settings: { ...arm.settings, ...settings },
        })),
      );
    }
    arms.push(...made.map((arm) => ({ ...arm, name: nameOf(arm.values) })));
  } else {
    const own = Object.fromEntries(Object.keys(g.axes).map((axis) => [axis, labelOfBase(axis, read)]));
    arms.push({ name: BASE_ARM, axis: null, values: own, settings: {} });
    for (const [axis, values] of Object.entries(g.axes)) {
      let asBase = 0;
      for (const { label, settings } of values) {
        if (changesNothing(settings) && ++asBase === 1) continue; // the row of the baseline itself
        arms.push({ name: `${axis}=${label}`, axis, values: { ...own, [axis]: label }, settings });
      }
    }
  }
  for (const [name, settings] of Object.entries(g.arms))
    arms.push({ name, axis: null, values: {}, settings });
  faults.push(
    ...nameFaults(
      arms.map(({ name }) => name),
      'arm',
    ),
  );
  let baseline =
    g.baseline === undefined
      ? arms.findIndex(({ settings }) => changesNothing(settings))
      : arms.findIndex(({ name }) => name === g.baseline);
  if (g.baseline !== undefined && baseline < 0) {
    const guess = nearest(
      g.baseline,
      arms.map(({ name }) => name),
    );
    faults.push(
      `baseline is ${g.baseline}, which is no arm${guess ? `; did you mean ${guess}?` : ''} (arms: ${arms.map(({ name }) => name).join(', ')})`,
    );
  }
  if (baseline < 0) baseline = 0;
  const evals = g.evals.map((e) => ({ ...e, name: e.name ?? e.task }));
  for (const [i, { name }] of evals.entries()) {
    if (evals.findIndex((e) => lookOf(e.name) === lookOf(name)) < i)
      faults.push(`two evaluations are named ${name}: give them a name each`);
  }
  for (const list of [g.seeds, g.probeSeeds]) {
    if (new Set(list).size < list.length)
      faults.push(
        `a seed stands twice in [${list.slice(0, 20).join(', ')}${list.length > 20 ? ', ...' : ''}]`,
      );
  }
  for (const name of Object.keys(g.paper)) {
    if (arms.some((arm) => arm.name === name)) continue;
    const guess = nearest(
      name,
      arms.map((arm) => arm.name),
    );
    faults.push(
      `paper names the arm ${name}, which the grid does not have${guess ? `; did you mean ${guess}?` : ''}`,
    );
  }
  refuse(faults);
  return { ...g, axes: Object.keys(g.axes), arms, baseline, evals };
}

/** More arms or cells than a grid may have: counted, not made. */
function tooMany(g: Unfinished): string[] {
  const sizes = Object.values(g.axes).map(({ length }) => length);
  const combined =
    g.design === 'crossed' ? sizes.reduce((a, b) => a * b, 1) : 1 + sizes.reduce((a, b) => a + b, 0);
  const arms = combined + Object.keys(g.arms).length;
  if (arms > MOST.arms)
    return [
      `the grid has ${inWords(arms)} arms; accepted: at most ${inWords(MOST.arms)} (fewer values, or design one-factor)`,
    ];
  const cells = arms * g.seeds.length * g.probeSeeds.length * g.evals.length;
  return cells > MOST.cells
    ? [
        `the grid has ${inWords(cells)} cells (${inWords(arms)} arms x ${inWords(g.seeds.length)} seeds x ${inWords(g.probeSeeds.length)} probe seeds x ${g.evals.length} evaluations); accepted: at most ${inWords(MOST.cells)}`,
      ]
    : [];
}

/** Nested and dotted changes of the base by dotted key. @throws UsageError for a key that stands twice */
function flatOnce(set: Mapping): Settings {
  const settings: Settings = {};
  const twice: string[] = [];
  for (const [key, value] of Object.entries(set)) {
    for (const [path, leaf] of flatten({ [key]: value })) {
      if (Object.hasOwn(settings, path)) twice.push(path);
      settings[path] = leaf;
    }
  }
  refuse(twice.map((path) => `set has ${path} twice: leave it to one of them`));
  return settings;
}

const nameOf = (values: Record<string, string>): string =>
  Object.entries(values)
    .map(([axis, label]) => `${axis}=${label}`)
    .join(' ');
