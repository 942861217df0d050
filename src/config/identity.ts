// What makes two runs the same run: the settings that can change a number, and a hash over them.

import { sha256 } from '../base/hash.js';
import { flatten, type Mapping } from './keys.js';
import { type Config, LOSSES, type Loss, lossOf } from './schema.js';

/** Settings by dotted key, sorted; the keys that decide what a run computes. */
export type CanonicalConfig = Record<string, unknown>;

/** Sections and keys that change no number of the run (paths, logging and the number of decoding threads besides). */
const outside = [/^health\./, /^checkpoint\./, /^evals$/, /^engine\.workers$/, /^engine\.gpu$/];

/** Keys that this run does not read, because another setting makes them idle. Only keys younger than the first runs stand here. */
function idle(config: Config): RegExp[] {
  const { own = [] } = lossOf(config);
  const others = Object.values<Loss>(LOSSES).flatMap((loss) => loss.own ?? []);
  return [
    ...others.filter((key) => !own.includes(key)).map((key) => new RegExp(`^loss\\.${key}$`)),
    ...(config.precision.products === 'float32' ? [/^precision\./] : []),
    ...(config.engine.micro_batch === null ? [/^engine\.micro_batch$/] : []), // resolved: it stands in the counts
  ];
}

/**
 * The identity of a run: model, masking, clustering, loss, optimiser, data, train, seed and engine.
 * Resolve `engine` first: "auto" and null stand for themselves here.
 * @param dataIdentity stands in for data.source: the same images under another path are the same data, and other images
 *   under the same path are not
 * @returns canonical settings, and the SHA-256 of their JSON in lower-case hexadecimal
 */
export function identity(
  config: Config,
  { dataIdentity }: { dataIdentity: string },
): { hash: string; canonical: CanonicalConfig } {
  const left = [...outside, ...idle(config)];
  const leaves = [...flatten(config as unknown as Mapping)].filter(
    ([key]) => !left.some((pattern) => pattern.test(key)),
  );
  const settings = leaves.map(([key, value]): [string, unknown] => [
    key,
    key === 'data.source' ? dataIdentity : ordered(value),
  ]);
  settings.sort(([a], [b]) => (a < b ? -1 : 1));
  const canonical = Object.fromEntries(settings);
  return { hash: canonicalHash(canonical), canonical };
}

/** The hash of canonical settings: SHA-256 of their JSON, in lower-case hexadecimal. */
export const canonicalHash = (canonical: CanonicalConfig): string => sha256(JSON.stringify(canonical));

/**
 * What differs between two canonical configurations, one line a key, sorted: `optim.lr 0.001 -> 0.002`.
 * A key that one of them lacks reads `absent`.
 */
export function identityDifferences(a: CanonicalConfig, b: CanonicalConfig): string[] {
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
  const text = (settings: CanonicalConfig, key: string) =>
    key in settings ? JSON.stringify(ordered(settings[key])) : 'absent';
  return keys
    .filter((key) => text(a, key) !== text(b, key))
    .map((key) => `${key} ${text(a, key)} -> ${text(b, key)}`);
}

/** The value with the keys of mappings sorted, so that equal settings have equal text. */
function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([x], [y]) => (x < y ? -1 : 1))
      .map(([key, item]) => [key, ordered(item)]),
  );
}
