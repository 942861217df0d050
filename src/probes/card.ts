// The protocol card of an evaluation: everything but weights and data that decides its numbers.
import type { FrozenEncoder } from '../encoder/frozen.js';
import type { Engine } from '../engine/program.js';
import { splitHash } from '../results/record.js';
import type { LoadedProtocol } from './protocol.js';
import { allSets } from './sets.js';
import type { Sets, Split } from './task.js';
import { TASKS, type TaskName } from './tasks.js';

/** Everything about the protocol that decides numbers: its hash stands in the record. */
export function cardOf(
  o: { readonly task: TaskName; readonly engine: Engine; readonly limit: number | null },
  { task, settings }: LoadedProtocol,
  encoder: FrozenEncoder,
  sets: Sets,
  split: Split,
): Record<string, unknown> {
  const { transform, ...words } = task.card(settings, encoder);
  const { name, device, extractor } = o.engine;
  return {
    task: o.task,
    settings,
    input: {
      size: [encoder.size.height, encoder.size.width],
      transform,
      mean: [...encoder.mean],
      std: [...encoder.std],
    },
    ...words,
    split: {
      train: splitHash(split.train),
      validation: splitHash(split.validation),
      images: sets.train.indices.length,
    },
    interval: `95 %, percentile bootstrap over ${TASKS[o.task].unit}, 2000 resamples, seed 0`,
    limit: o.limit,
    ...dataSettings(sets),
    engine: { name, device },
    ...(extractor ? { extractor: { name: extractor.name, device: extractor.device } } : {}),
  };
}

/** Options of the sources that decide scores; nothing where the identities say all. */
export function dataSettings(sets: Sets): { data?: Record<string, unknown> } {
  const all = allSets(sets).map(({ source }) => source.settings ?? {});
  if (all.every((settings) => Object.keys(settings).length === 0)) return {};
  return { data: { train: all[0], tests: all.slice(1) } };
}
