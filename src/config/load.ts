// From a preset or file, `--set` and flags to one complete, checked configuration.

import { stringify } from 'yaml';
import { shown } from '../base/text.js';
import { UsageError } from '../errors.js';
import {
  acceptedBy,
  flatten,
  isKnown,
  isMapping,
  isSection,
  leafOf,
  type Mapping,
  nearestKey,
} from './keys.js';
import { fileLayers, type Layer, presetFile } from './presets.js';
import { type Config, configSchema } from './schema.js';
import { yamlValue } from './yaml.js';

/** What `loadConfig` reads, the weakest first. */
export interface ConfigRequest {
  /** Name of a preset, or path of a YAML file. Without it, the defaults. */
  preset?: string;
  /** `key=value` words as `--set` takes them: a dotted key, a YAML scalar or flow list. */
  sets?: readonly string[];
  /** Settings of other flags by dotted key; undefined ones are left out. */
  overrides?: Readonly<Record<string, unknown>>;
  /** The model alone is wanted: a file that extends nothing need not say how it would be trained. */
  modelOnly?: boolean;
}

/**
 * The complete configuration: defaults, then what the preset extends, the preset, `sets` in order, `overrides`.
 * @returns config, and in `source` the file or preset that it came from ("defaults" without one)
 * @throws UsageError for an unknown key (naming the nearest), or a wrong value (naming key, value and what is accepted)
 */
export function loadConfig(request: ConfigRequest = {}): { config: Config; source: string } {
  const layers: Layer[] = request.preset === undefined ? [] : fileLayers(presetFile(request.preset));
  const files = [...layers];
  for (const text of request.sets ?? []) layers.push(setLayer(text));
  for (const [key, value] of Object.entries(request.overrides ?? {})) {
    if (value !== undefined) layers.push({ origin: 'a flag', values: nested(key, value) });
  }
  const config = resolveLayers(layers);
  if (files.length > 0)
    refuseUnsaid(files, layers, request.modelOnly ? MODEL_SAID : [...MODEL_SAID, 'train.batch']);
  return { config, source: request.preset ?? 'defaults' };
}

/** What a file that extends nothing has to say itself: without it, a forgotten `extends` starts the ViT-L of the paper at its batch of 16,384. */
const MODEL_SAID = ['model.width', 'model.depth'];

/** @throws UsageError where neither the file nor anything above it says how large the run is */
function refuseUnsaid(files: readonly Layer[], layers: readonly Layer[], needed: readonly string[]): void {
  const said = new Set(layers.flatMap(({ values }) => [...flatten(values).keys()]));
  const missing = needed.filter((key) => !said.has(key));
  if (missing.length === 0) return;
  const { origin, values } = files[0]!;
  const what =
    Object.keys(values).length === 0
      ? 'sets nothing'
      : `extends nothing and does not set ${missing.join(', ')}`;
  throw new UsageError(
    `${shown(origin)} ${what}, and the defaults are a ViT-L/14 at a batch of 16,384: write "extends: quickstart" (or another preset) and what to change, or "extends: vit-l-14" for that run`,
  );
}

/** The configuration that nested plain values stand for, as a file's would be. Errors as `loadConfig`. */
export function parseConfig(values: Mapping, origin = 'the config'): Config {
  return resolveLayers([{ origin, values }]);
}

/** The configuration as YAML with every key, which `loadConfig` reads back to the same values. */
export function resolvedYaml(config: Config): string {
  return stringify(config, { collectionStyle: 'any', flowCollectionPadding: false });
}

/** The key and value of a `key=value` word as --set takes it. @throws UsageError for an unknown key, or a value that is not YAML */
export function settingOf(text: string): { key: string; value: unknown } {
  const equals = text.indexOf('=');
  const key = text.slice(0, equals).trim();
  if (equals < 1 || !/^[^.\s]+(\.[^.\s]+)*$/.test(key)) {
    throw new UsageError(`--set ${text}: accepted: KEY=VALUE, such as --set train.batch=64`);
  }
  const origin = `--set ${text}`;
  if (!isKnown(key)) throw unknownKey(key, origin);
  const written = text.slice(equals + 1);
  return {
    key,
    value: key === 'data.source' ? written : yamlValue(written, `--set ${shown(text)}: the value`),
  };
}

/** `a.b=value` as a layer. */
function setLayer(text: string): Layer {
  const { key, value } = settingOf(text);
  return { origin: `--set ${text}`, values: nested(key, value) };
}

function nested(key: string, value: unknown): Mapping {
  return key.split('.').reduceRight<unknown>((inner, part) => ({ [part]: inner }), value) as Mapping;
}

function resolveLayers(layers: Layer[]): Config {
  let merged: Mapping = {};
  for (const layer of layers) {
    refuseDotted(layer);
    for (const key of flatten(layer.values).keys()) if (!isKnown(key)) throw unknownKey(key, layer.origin);
    merged = merge(merged, layer.values);
  }
  const result = configSchema.safeParse(merged);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const key = leafOf(issue.path);
  const origin = layers.findLast((layer) => valueAt(layer.values, key) !== undefined)?.origin;
  const place = origin === undefined ? '' : ` (${shown(origin)})`;
  throw new UsageError(`${key} is ${inWords(valueAt(merged, key))}${place}; accepted: ${acceptedBy(key)}`, {
    key,
    value: valueAt(merged, key),
    accepted: acceptedBy(key),
  });
}

/** A key such as `optim.lr` in a file, where sections are nested. @throws UsageError that says how to write it */
function refuseDotted({ origin, values }: Layer, within = ''): void {
  for (const [key, value] of Object.entries(values)) {
    const path = `${within}${key}`;
    if (key.includes('.')) {
      const parts = key.split('.');
      const nestedText = `${parts.join(': { ')}: ${inWords(value)}${' }'.repeat(parts.length - 1)}`;
      throw new UsageError(
        isKnown(path)
          ? `${shown(origin)} has the key "${path}" with a dot: sections are nested in a file; write ${nestedText}`
          : unknownKey(path, origin).message,
      );
    }
    if (isMapping(value) && isSection(path)) refuseDotted({ origin, values: value }, `${path}.`);
  }
}

function unknownKey(key: string, origin: string): UsageError {
  const guess = nearestKey(key);
  const hint = guess === undefined ? '' : `; did you mean "${guess}"?`;
  return new UsageError(`unknown config key "${shown(key)}" (${shown(origin)})${hint}`, {
    key,
    nearest: guess ?? null,
  });
}

/** Sections are merged key by key; anything else is replaced, a mapping that is a value too. */
function merge(below: Mapping, above: Mapping, within = ''): Mapping {
  const result: Mapping = { ...below };
  for (const [key, value] of Object.entries(above)) {
    const old = result[key];
    const path = within + key;
    result[key] =
      isMapping(old) && isMapping(value) && isSection(path) ? merge(old, value, `${path}.`) : value;
  }
  return result;
}

function valueAt(values: Mapping, path: string): unknown {
  let value: unknown = values;
  for (const part of path.split('.')) value = isMapping(value) ? value[part] : undefined;
  return value;
}

/** Of a message at most this much of a value. */
const SHOWN = 80;

function inWords(value: unknown): string {
  if (typeof value === 'number') return String(value); // JSON has no NaN
  const text = value === undefined ? 'missing' : shown(JSON.stringify(value));
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text;
}
