// The probe tasks: what any part of capi may ask of them without loading one. A new task is a folder beside this file and a row here.
import type { Metric, ScoreKind, TaskAbout } from './about.js';
import { cls } from './cls/about.js';
import { depth } from './depth/about.js';
import { retrieval } from './retrieval/about.js';
import { seg } from './seg/about.js';

/** What everyone may know of each task, and the task itself, loaded when it is asked for. */
export const TASKS = {
  seg: { ...seg, load: () => import('./seg/task.js') },
  cls: { ...cls, load: () => import('./cls/task.js') },
  retrieval: { ...retrieval, load: () => import('./retrieval/task.js') },
  depth: { ...depth, load: () => import('./depth/task.js') },
} satisfies Record<string, TaskAbout & { load(): Promise<{ task: unknown }> }>;

export type TaskName = keyof typeof TASKS;
/** Sorted, for lists of what is accepted. */
export const TASK_NAMES = Object.keys(TASKS).sort() as [TaskName, ...TaskName[]];
export const isTask = (name: string): name is TaskName => Object.hasOwn(TASKS, name);
/** What an ablation without `evals` does. */
export const USUAL_TASKS: readonly TaskName[] = ['cls', 'seg'];

/** The metric of a result; one that no task of this version knows is a plain number. */
export const metricOf = (task: TaskName, metric: string): Metric =>
  (TASKS[task].metrics as Record<string, Metric>)[metric] ?? {
    title: metric,
    unit: 'number',
    better: 'higher',
  };

/** Whether a head is a bound of what heads can reach. */
export const isBound = (task: TaskName, head: string): boolean => TASKS[task].bounds.includes(head);

/** Place of a score among the headlines of all tasks, -1 where it is none. */
export const headlinePlace = (task: TaskName, score: ScoreKind): number =>
  HEADLINES.findIndex((h) => h.task === task && sameScore(h, score));

const HEADLINES = Object.entries(TASKS).flatMap(([task, { headlines }]) =>
  headlines.map((headline) => ({ task, ...headline })),
);
export const HEADLINE_COUNT = HEADLINES.length;

export const sameScore = (a: ScoreKind, b: ScoreKind): boolean =>
  a.source === b.source && a.head === b.head && a.metric === b.metric && a.convention === b.convention;
