// The keys of the configuration: which exist, what each accepts, and which one a typing error meant.

import { z } from 'zod';
import { nearest } from './nearest.js';
import { configSchema } from './schema.js';

/** A parsed YAML mapping. */
export type Mapping = Record<string, unknown>;

/** True for a mapping (not a list, not null). */
export function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The leaves of nested mappings by dotted key, in order. A list is a leaf; so is a mapping that stands where the schema has a leaf. */
export function flatten(value: Mapping, prefix = ''): Map<string, unknown> {
  const leaves = new Map<string, unknown>();
  for (const [key, item] of Object.entries(value)) {
    const path = prefix + key;
    if (isMapping(item) && isSection(path)) {
      for (const [name, leaf] of flatten(item, `${path}.`)) leaves.set(name, leaf);
    } else {
      leaves.set(path, item);
    }
  }
  return leaves;
}

/** Every dotted key of the configuration. */
export function knownKeys(): string[] {
  return [...flatten(configSchema.parse({})).keys()];
}

/** Every section of the configuration, such as `model` and `model.predictor`. */
export function isSection(path: string): boolean {
  return schemaAt(path) instanceof z.ZodObject;
}

/** What a key accepts, in words. A section accepts its keys. */
export function acceptedBy(path: string): string {
  const schema = schemaAt(path);
  if (schema instanceof z.ZodObject) return `the keys ${Object.keys(schema.shape).join(', ')}`;
  return (schema?.meta()?.accepts as string | undefined) ?? 'another value';
}

/** The words that a key with a choice of words accepts. */
export function choicesOf(path: string): string[] {
  const schema = schemaAt(path);
  return schema instanceof z.ZodEnum ? schema.options.map(String) : [];
}

/** True when the dotted path is a key or a section. */
export function isKnown(path: string): boolean {
  return schemaAt(path) !== undefined;
}

/** The longest known start of a path that may go on into a leaf (`model.image_size.1` gives `model.image_size`). */
export function leafOf(path: readonly PropertyKey[]): string {
  let length = path.length;
  while (length > 1 && !isKnown(path.slice(0, length).join('.'))) length--;
  return path.slice(0, length).join('.');
}

/**
 * The known key that a mistyped one most likely meant: a neighbour in the same section, else the same name elsewhere,
 * else the nearest whole path.
 */
export function nearestKey(path: string): string | undefined {
  const known = knownKeys();
  const parts = path.split('.');
  const name = parts[parts.length - 1]!;
  const section = parts.slice(0, -1).join('.');
  const parent = section === '' ? configSchema : schemaAt(section);
  if (parent instanceof z.ZodObject) {
    const sibling = nearest(name, Object.keys(parent.shape));
    if (sibling !== undefined) return section === '' ? sibling : `${section}.${sibling}`;
  }
  const namesake = known.find((key) => key.endsWith(`.${name}`));
  if (namesake !== undefined) return namesake;
  const whole = nearest(path, known);
  if (whole !== undefined) return whole;
  const lastName = (key: string) => key.slice(key.lastIndexOf('.') + 1);
  const similar = nearest(name, known.map(lastName));
  return known.find((key) => lastName(key) === similar);
}

/** The schema under a dotted path without its defaults; undefined where there is none. */
function schemaAt(path: string): z.ZodType | undefined {
  let schema: z.ZodType = configSchema;
  for (const part of path.split('.')) {
    if (!(schema instanceof z.ZodObject) || !Object.hasOwn(schema.shape, part)) return undefined;
    schema = withoutDefault(schema.shape[part] as z.ZodType);
  }
  return schema;
}

function withoutDefault(schema: z.ZodType): z.ZodType {
  let inner = schema;
  while (inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) inner = inner.unwrap() as z.ZodType;
  return inner;
}
