// Where presets are kept and how a name or path finds one; reading a YAML file and what it extends.

import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsageError } from '../errors.js';
import { isMapping, type Mapping } from './keys.js';
import { nearest } from './nearest.js';
import { readYaml } from './yaml.js';

/** One source of settings, the weakest first. */
export interface Layer {
  /** Shown in messages: a preset, a file, a flag. */
  origin: string;
  values: Mapping;
}

/** Folder of the presets: benchmarks/presets of this package, found from the sources and from the build alike. */
export function presetsDirectory(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return join(folder, 'benchmarks', 'presets');
}

/** Names of the presets, sorted. */
export function presetNames(): string[] {
  return readdirSync(presetsDirectory())
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length))
    .sort();
}

/**
 * The file that a preset name or a path stands for. A word without a slash or an ending is a preset.
 * @param base folder that a relative path starts from
 * @throws UsageError naming the nearest preset, or the missing file
 */
export function presetFile(nameOrPath: string, base = process.cwd()): string {
  if (/[/\\]|\.ya?ml$/i.test(nameOrPath)) {
    const path = resolve(base, nameOrPath);
    if (existsSync(path)) return path;
    throw new UsageError(`no config file ${nameOrPath}`, { file: path });
  }
  const names = presetNames();
  if (names.includes(nameOrPath)) return join(presetsDirectory(), `${nameOrPath}.yaml`);
  const guess = nearest(nameOrPath, names);
  const hint = guess === undefined ? '' : `; did you mean ${guess}?`;
  throw new UsageError(
    `no preset "${nameOrPath}"${hint} (presets: ${names.join(', ')}; or give the path of a YAML file)`,
  );
}

/**
 * The layers of a YAML file: those of what it `extends` (a preset, or a path relative to the file), then its own.
 * @throws UsageError for a file that is missing, is not YAML or no mapping, or extends itself
 */
export function fileLayers(path: string, chain: string[] = []): Layer[] {
  if (chain.includes(path)) throw new UsageError(`${path} extends itself: ${[...chain, path].join(' -> ')}`);
  const { extends: parent, ...values } = readMapping(path);
  const own = { origin: path, values };
  if (parent === undefined) return [own];
  if (typeof parent !== 'string') {
    throw new UsageError(
      `extends in ${path} is ${JSON.stringify(parent)}; accepted: the name of a preset, or the path of a YAML file`,
    );
  }
  return [...fileLayers(presetFile(parent, dirname(path)), [...chain, path]), own];
}

function readMapping(path: string): Mapping {
  const value = readYaml(path, 'config file');
  if (value === null || value === undefined) return {};
  if (!isMapping(value))
    throw new UsageError(`${path} holds no settings; accepted: a mapping of keys to values`, { file: path });
  return value;
}
