// Protocol files: what an evaluation's numbers depend on, by name or path, and the card that names them.
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { z } from 'zod';
import { presetsDirectory, readYaml } from '../config/index.js';
import { UsageError } from '../errors.js';
import { classificationProtocolSchema } from './cls/protocol.js';
import { segmentationProtocolSchema } from './seg/protocol.js';

const SECTIONS = {
  classification: classificationProtocolSchema,
  segmentation: segmentationProtocolSchema,
} as const;

/** A part of a protocol file. */
export type ProtocolSection = keyof typeof SECTIONS;
export type SettingsOf<S extends ProtocolSection> = z.infer<(typeof SECTIONS)[S]>;

/** One part of a protocol file, checked. */
export interface Protocol<S extends ProtocolSection> {
  /** The name of one of ours, or the path of the user's. */
  readonly name: string;
  readonly settings: SettingsOf<S>;
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
 * Reads one part of a protocol. A word without a slash or an ending is one of ours.
 * @throws UsageError naming file, key and what is accepted
 */
export function loadProtocol<S extends ProtocolSection>(nameOrFile: string, section: S): Protocol<S> {
  const isFile = /[/\\]|\.ya?ml$/i.test(nameOrFile);
  const file = isFile ? resolve(nameOrFile) : join(directory(), `${nameOrFile}.yaml`);
  if (!existsSync(file)) {
    throw new UsageError(
      `no protocol ${nameOrFile}; accepted: ${protocolNames().join(', ')}, or the path of a YAML file`,
    );
  }
  const values = readYaml(file, 'protocol');
  const keys = values !== null && typeof values === 'object' ? Object.keys(values) : [];
  const unknown = keys.find((key) => !Object.hasOwn(SECTIONS, key));
  if (unknown !== undefined) {
    throw new UsageError(
      `${file} has the unknown key ${unknown}; accepted: ${Object.keys(SECTIONS).join(', ')}`,
    );
  }
  if (!keys.includes(section)) {
    throw new UsageError(`${file} has no key ${section}, which this evaluation needs`);
  }
  const parsed = SECTIONS[section].safeParse((values as Record<string, unknown>)[section]);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new UsageError(`${file}: ${[section, ...issue.path].join('.')}: ${issue.message}`);
  }
  return { name: isFile ? file : nameOrFile, settings: parsed.data as SettingsOf<S> };
}
