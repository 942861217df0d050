// The protocol card of an evaluation: everything but weights and data that decides its numbers.
import type { FrozenEncoder } from '../encoder/frozen.js';
import { splitHash } from '../results/record.js';
import { featureSources } from './cls/sources.js';
import type { EvaluateOptions, Sets } from './evaluate.js';
import type { Protocol, ProtocolSection } from './protocol.js';

/** Everything about the protocol that decides numbers: its hash stands in the record. */
export function cardOf(
  o: Pick<EvaluateOptions, 'task' | 'engine' | 'limit'>,
  { settings }: Protocol<ProtocolSection>,
  encoder: FrozenEncoder,
  sets: Sets,
  split: { train: Int32Array; validation: Int32Array },
): Record<string, unknown> {
  const cls = 'sources' in settings;
  return {
    task: o.task,
    settings,
    input: {
      size: [encoder.size.height, encoder.size.width],
      transform: cls
        ? `shorter side to ${settings.transform.shorter_side} times the input, centre`
        : 'squash',
      mean: [...encoder.mean],
      std: [...encoder.std],
    },
    features: cls ? featureSources(encoder, settings.sources).map(({ name }) => name) : ['patches'],
    split: {
      train: splitHash(split.train),
      validation: splitHash(split.validation),
      images: sets.train.indices.length,
    },
    selection: cls
      ? 'best top-1 on the validation images after the last step; of equal ones the first in the grid'
      : `best mIoU (${settings.metric}) on the validation images; of equal ones the first in the grid`,
    metrics: cls
      ? ['top1 (any label counts)']
      : ['mIoU (official, nanskip, absent0, perimage)', 'pixel accuracy'],
    interval: '95 %, percentile bootstrap over test images, 2000 resamples, seed 0',
    limit: o.limit,
    ...dataSettings(sets),
    engine: { name: o.engine.name, device: o.engine.device },
    ...(o.engine.extractor
      ? { extractor: { name: o.engine.extractor.name, device: o.engine.extractor.device } }
      : {}),
  };
}

/** Options of the sources that decide scores; nothing where the identities say all. */
export function dataSettings({ train, tests }: Sets): { data?: Record<string, unknown> } {
  const all = [train, ...tests.map(({ data }) => data)].map(({ source }) => source.settings ?? {});
  if (all.every((settings) => Object.keys(settings).length === 0)) return {};
  return { data: { train: all[0], tests: all.slice(1) } };
}
