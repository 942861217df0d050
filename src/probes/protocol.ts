// Protocol files: what an evaluation's numbers depend on, by name or path.
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { z } from 'zod';
import { presetsDirectory, readYaml } from '../config/index.js';
import { nearest } from '../config/nearest.js';
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
    throw new UsageError(`${file}: ${firstFault(section, parsed.error.issues)}`);
  }
  return { task, name: isFile ? file : nameOrFile, settings: parsed.data };
}

/** A misspelt key before the one that it leaves missing. */
function firstFault(section: string, issues: readonly z.core.$ZodIssue[]): string {
  const at = (path: readonly PropertyKey[]): string => [section, ...path].map(String).join('.');
  const strange = issues.find((issue) => issue.code === 'unrecognized_keys');
  if (!strange) return `${at(issues[0]!.path)}: ${issues[0]!.message}`;
  const [key] = strange.keys;
  const beside = issues.filter(({ path }) => at(path.slice(0, -1)) === at(strange.path) && path.length > 0);
  const guess = nearest(
    key!,
    beside.map(({ path }) => String(path.at(-1))),
  );
  return `${at(strange.path)} has the unknown key ${key}${guess ? `; did you mean ${guess}?` : ''}`;
}
