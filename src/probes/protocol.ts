// Protocol files: what an evaluation's numbers depend on, by name or path.
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { presetsDirectory, readYaml } from '../config/index.js';
import { UsageError } from '../errors.js';
import { loadTask, type ProbeTask, type TaskSettings } from './task.js';
import { TASKS, type TaskName } from './tasks.js';

/** A task with its part of a protocol file, checked. */
export interface LoadedProtocol {
  readonly task: ProbeTask<TaskSettings>;
  /** The name of one of ours, or the path of the user's. */
  readonly name: string;
  readonly settings: TaskSettings;
}

const directory = (): string => join(presetsDirectory(), '..', 'protocols');

/** Names of the protocols that come with capi, sorted. */
export function protocolNames(): string[] {
  return readdirSync(directory())
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length))
    .sort();
}

/**
 * Reads a task's part of a protocol. A word without a slash or an ending is one of ours.
 * @throws UsageError naming file, key and what is accepted
 */
export async function loadProtocol(nameOrFile: string, name: TaskName): Promise<LoadedProtocol> {
  const isFile = /[/\\]|\.ya?ml$/i.test(nameOrFile);
  const file = isFile ? resolve(nameOrFile) : join(directory(), `${nameOrFile}.yaml`);
  if (!existsSync(file)) {
    throw new UsageError(
      `no protocol ${nameOrFile}; accepted: ${protocolNames().join(', ')}, or the path of a YAML file`,
    );
  }
  const values = readYaml(file, 'protocol');
  const keys = values !== null && typeof values === 'object' ? Object.keys(values) : [];
  const sections = Object.values(TASKS).map(({ section }) => section);
  const unknown = keys.find((key) => !sections.includes(key));
  if (unknown !== undefined) {
    throw new UsageError(
      `${file} has the unknown key ${unknown}; accepted: ${[...sections].sort().join(', ')}`,
    );
  }
  const { section } = TASKS[name];
  if (!keys.includes(section)) {
    throw new UsageError(`${file} has no key ${section}, which this evaluation needs`);
  }
  const task = await loadTask(name);
  const parsed = task.settings.safeParse((values as Record<string, unknown>)[section]);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new UsageError(`${file}: ${[section, ...issue.path].join('.')}: ${issue.message}`);
  }
  return { task, name: isFile ? file : nameOrFile, settings: parsed.data };
}
