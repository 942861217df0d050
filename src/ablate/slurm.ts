// Runs the cells of an ablation on a Slurm cluster: arrays of pretrainings, and arrays of evaluations each behind its own pretraining.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { makeFolder, writeJson, writeText } from '../base/files/write.js';
import { DataError, UsageError } from '../errors.js';
import { clearCellFailure, isFinished } from '../results/cell.js';
import { quoted } from '../shell.js';
import { type CellState, hasRecord } from './folder.js';
import type { Plan, PlannedCell, PlannedRun } from './plan.js';
import { hasEnded } from './stages.js';

/** One submitted array: what each of its tasks does. */
interface Submission {
  readonly job: string;
  /** By array index. */
  readonly tasks: Readonly<Record<string, { run: string; cell?: string }>>;
}

export interface SlurmOptions {
  readonly out: string;
  readonly plan: Plan;
  readonly runs: readonly PlannedRun[];
  readonly cells: readonly PlannedCell[];
  /** Cells to submit at most. */
  readonly limit: number;
  /** Node's arguments before those of capi. */
  readonly entry: readonly string[];
}

const JOBS = 'jobs.json';
const folderOf = (out: string): string => join(out, 'slurm');

/** Runs a command of Slurm. @throws UsageError when it is not there, or with what it says */
function slurm(command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (error)
    throw new UsageError(
      `--executor slurm needs ${command}, which does not start here: ${error.message}. Run it on a login node of the cluster, or use --executor local`,
    );
  if (status !== 0)
    throw new UsageError(
      `${command} refused: ${stderr.trim().split('\n').join('; ') || `exit code ${status}`}`,
    );
  return stdout.trim();
}

async function submissions(out: string): Promise<Submission[]> {
  const file = join(folderOf(out), JOBS);
  if (!existsSync(file)) return [];
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Submission[];
  } catch (error) {
    throw new DataError(
      `${file} is damaged (${(error as Error).message}): wait until squeue shows no job of this ablation, delete the file, and run the same command again`,
    );
  }
}

/** Tasks that Slurm still has, as `JOB_INDEX` with their state (PENDING, RUNNING, ...). */
function queue(all: readonly Submission[]): Map<string, string> {
  const found = new Map<string, string>();
  if (all.length === 0) return found;
  // Jobs that Slurm has forgotten would be an error by name: ask for all of the user's.
  const lines = slurm('squeue', ['--noheader', '--array', '--me', '--format=%F_%K %T']).split('\n');
  const known = new Set(all.map(({ job }) => job));
  for (const line of lines) {
    const [id, state] = line.trim().split(/\s+/);
    if (id && state && known.has(id.split('_')[0]!)) found.set(id, state);
  }
  return found;
}

/** Which runs and cells are in the queue, with the state of their task. */
async function queued(
  out: string,
): Promise<{ runs: Map<string, string>; cells: Map<string, string>; last: Map<string, string> }> {
  const all = await submissions(out);
  const waiting = queue(all);
  const [runs, cells, last] = [
    new Map<string, string>(),
    new Map<string, string>(),
    new Map<string, string>(),
  ];
  for (const { job, tasks } of all) {
    for (const [index, { run, cell }] of Object.entries(tasks)) {
      last.set(cell ?? run, `${job}_${index}`);
      const state = waiting.get(`${job}_${index}`);
      if (state) (cell ? cells : runs).set(cell ?? run, state);
    }
  }
  return { runs, cells, last };
}

/** Submits what is neither finished nor in the queue. Returns the ids of the new jobs. @throws UsageError with Slurm's words */
export async function submit(o: SlurmOptions): Promise<string[]> {
  const { out, plan } = o;
  const folder = resolve(folderOf(out));
  await makeFolder(folder);
  const present = await queued(out);
  const all = await submissions(out);
  const made: string[] = [];
  const open = o.cells.filter(({ id }) => !isFinished(out, id) && !present.cells.has(id)).slice(0, o.limit);
  const runs = o.runs.filter(({ id }) => open.some((cell) => cell.run === id));
  const indexOf = (run: string): number => plan.runs.findIndex(({ id }) => id === run);

  const enter = async (name: string, tasks: Submission['tasks'], after?: string): Promise<string> => {
    const script = join(folder, `${all.length}-${name}.sh`);
    const list = join(folder, `${all.length}-${name}.txt`);
    // One line an index, so that a task finds its own.
    const last = Math.max(...Object.keys(tasks).map(Number));
    const lines = Array.from({ length: last + 1 }, (_, i) => {
      const task = tasks[i];
      return task ? `${task.run}${task.cell ? ` --cell ${task.cell}` : ''}` : '';
    });
    await writeText(list, `${lines.join('\n')}\n`);
    await writeText(script, scriptText(o, name, Object.keys(tasks), list, folder));
    const dependency = after ? [`--dependency=aftercorr:${after}`, '--kill-on-invalid-dep=yes'] : [];
    const job = slurm('sbatch', ['--parsable', ...dependency, script]).split(';')[0]!;
    all.push({ job, tasks });
    await writeJson(join(folder, JOBS), all);
    made.push(job);
    return job;
  };

  // The same index stands for the same run in every array: aftercorr pairs tasks by it.
  const untrained = runs.filter(({ id }) => !hasEnded(out, id) && !present.runs.has(id));
  let training: string | undefined;
  if (untrained.length > 0) {
    training = await enter(
      'pretrain',
      Object.fromEntries(untrained.map(({ id }) => [indexOf(id), { run: id }])),
    );
  }
  const kinds = new Set(open.map(({ evaluation, probeSeed }) => `${evaluation.name}-${probeSeed}`));
  for (const kind of kinds) {
    const own = open.filter(({ evaluation, probeSeed }) => `${evaluation.name}-${probeSeed}` === kind);
    const behind = (cell: PlannedCell): boolean => untrained.some(({ id }) => id === cell.run);
    const groups = new Map<string | undefined, Record<string, { run: string; cell: string }>>();
    for (const cell of own) {
      await clearCellFailure(out, cell.id);
      let [after, index] = [training, `${indexOf(cell.run)}`];
      if (!behind(cell)) {
        // A pretraining that an earlier call submitted has its index from then.
        [after, index] = hasEnded(out, cell.run)
          ? [undefined, index]
          : (present.last.get(cell.run)!.split('_') as [string, string]);
      }
      groups.set(after, { ...groups.get(after), [index]: { run: cell.run, cell: cell.id } });
    }
    for (const [after, tasks] of groups) await enter(kind, tasks, after);
  }
  return made;
}

function scriptText(
  { plan, out, entry }: SlurmOptions,
  name: string,
  indices: readonly string[],
  list: string,
  folder: string,
): string {
  const { slurm: r, threads } = plan.grid;
  const line = (flag: string, value: string | number | undefined): string[] =>
    value === undefined ? [] : [`#SBATCH --${flag}=${value}`];
  const capi = [process.execPath, ...entry.map((word) => resolve(word)), 'ablate', 'cell', resolve(out)]
    .map(quoted)
    .join(' ');
  return `${[
    '#!/bin/bash',
    `# Written by capi ablate --executor slurm: one task a line of ${list}.`,
    ...line('job-name', `capi-${plan.grid.name}-${name}`),
    ...line('array', `${indices.join(',')}${r.at_once === undefined ? '' : `%${r.at_once}`}`),
    ...line('output', `"${folder}/%A_%a.log"`),
    '#SBATCH --open-mode=append',
    ...line('cpus-per-task', threads),
    ...line('partition', r.partition),
    ...line('account', r.account),
    ...line('time', r.time),
    ...line('mem', r.mem),
    ...line('gres', r.gres),
    ...line('constraint', r.constraint),
    ...line('qos', r.qos),
    '#SBATCH --requeue',
    '# A minute before the end, and when it is preempted: the run writes a checkpoint and goes back into the queue.',
    '#SBATCH --signal=B:USR2@60',
    ...(r.setup === undefined ? [] : [r.setup.trimEnd()]),
    `words=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" ${quoted(list)})`,
    `exec ${capi} $words --scheduled`,
  ].join('\n')}\n`;
}

/** The states of cells with what the queue knows of those that have no record. */
export async function withQueue(out: string, states: readonly CellState[]): Promise<CellState[]> {
  if ((await submissions(out)).length === 0) return [...states];
  const { runs, cells, last } = await queued(out);
  return states.map((state): CellState => {
    const { cell } = state;
    if (hasRecord(state)) return state;
    const of = runs.get(cell.run) ?? cells.get(cell.id);
    if (of)
      return {
        cell,
        state: of === 'RUNNING' ? 'running' : 'queued',
        reason: `${runs.has(cell.run) ? 'pretraining' : 'evaluation'} ${last.get(runs.has(cell.run) ? cell.run : cell.id)} is ${of}`,
      };
    if (state.state !== 'waiting' && state.state !== 'stopped') return state;
    const task = hasEnded(out, cell.run) ? last.get(cell.id) : last.get(cell.run);
    if (!task) return state;
    return {
      cell,
      state: 'failed',
      reason: `${hasEnded(out, cell.run) ? 'evaluation' : 'pretraining'} ${task} left the queue without a record${exitOf(task)}; its log: ${join(folderOf(out), `${task}.log`)}`,
    };
  });
}

/** How a task ended: by Slurm's accounting where the cluster keeps one, else by what its controller remembers for some minutes. */
function exitOf(task: string): string {
  const { status, stdout } = spawnSync(
    'sacct',
    ['--noheader', '--allocations', '--parsable2', '--jobs', task, '--format=State,ExitCode'],
    { encoding: 'utf8' },
  );
  const [state, code] = status === 0 ? (stdout.trim().split('\n').at(-1) ?? '').split('|') : [];
  if (state && code) return ` (${state}, exit code ${code})`;
  const shown = spawnSync('scontrol', ['--oneliner', 'show', 'job', task], { encoding: 'utf8' }).stdout ?? '';
  const found = / JobState=(\w+) .* ExitCode=(\S+) /.exec(shown);
  return found ? ` (${found[1]}, exit code ${found[2]})` : '';
}

/**
 * Puts the task of this process back into the queue, if `signal` asked it to make room: SIGUSR2, or SIGTERM in a preemption (on clusters that send
 * no other). A SIGTERM otherwise is scancel, which is to end it. False where nothing is to be done or this is no task; Slurm then ends the process.
 * @throws UsageError with Slurm's words where it refuses
 */
export function requeueSelf(signal: string): boolean {
  const { SLURM_JOB_ID, SLURM_ARRAY_JOB_ID, SLURM_ARRAY_TASK_ID } = process.env;
  if (!SLURM_JOB_ID) return false;
  const id = SLURM_ARRAY_JOB_ID ? `${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}` : SLURM_JOB_ID;
  if (signal !== 'SIGUSR2' && !/ PreemptTime=\d/.test(slurm('scontrol', ['--oneliner', 'show', 'job', id])))
    return false;
  slurm('scontrol', ['requeue', id]);
  return true;
}
