// Depth estimation as a probe task: a depth a pixel in metres, linear heads on patches, errors averaged over images.
import { DataError } from '../../errors.js';
import { splitImages } from '../split.js';
import type { CostRequest, ProbeTask } from '../task.js';
import { METRICS } from './metrics.js';
import { type DepthProtocol, depthProtocolSchema } from './protocol.js';
import { depthEntries } from './run.js';

export const task: ProbeTask<DepthProtocol> = {
  settings: depthProtocolSchema,
  maps: 'depths',
  checkSource({ uri, depthMap }) {
    if (!depthMap) throw new DataError(`${uri} has no depth maps: depth needs a source that has`);
  },
  transform: () => ({ kind: 'squash' }),
  split: ({ indices }, { validation_share, split_seed: seed }) => ({
    ...splitImages(indices.length, validation_share, seed),
    seed,
  }),
  card: ({ metric }) => ({
    transform: 'squash',
    features: ['patches'],
    selection: `best ${metric} (mean over the validation images) after the last step; of equal ones the first in the grid`,
    metrics: METRICS.map((name) => `${name} (mean over images)`),
  }),
  cost,
  run: depthEntries,
  countedBy({ protocol, encoder }) {
    const { max_depth, crop } = protocol.card.settings as DepthProtocol;
    return { max_depth: `${max_depth} m`, crop, 'size of the maps': `${encoder.size.join(' x ')} px` };
  },
};

function cost({ settings, encoder, sets, memory }: CostRequest<DepthProtocol>) {
  const tokens = encoder.grid.rows * encoder.grid.columns;
  const train = sets.train.indices.length * tokens;
  const test = sets.tests.reduce((n, { data }) => n + data.indices.length, 0) * tokens;
  const width = encoder.patchWidth;
  const { bins, regression } = settings;
  const heads = [
    ...(bins ? [{ ...bins.training, outputs: bins.count, places: bins.upsample ** 2 }] : []),
    ...(regression ? [{ ...regression.training, outputs: 1, places: 1 }] : []),
  ];
  /** Operations beside the products: some thirty of each output at each place, and of each pixel. */
  const others = 30;
  const operations = heads.map(({ steps, batch, outputs, places, learning_rates, weight_decays }) => {
    const points = learning_rates.length * weight_decays.length;
    const perToken = outputs * (6 * width + others * places) + others * encoder.patch ** 2;
    return steps * batch * tokens * points * perToken + 2 * test * width * outputs;
  });
  return {
    operations: operations.reduce((sum, n) => sum + n, 0),
    bytes: Math.min(memory, 4 * (train + test) * width) + 4 * 65_536 * width,
  };
}
