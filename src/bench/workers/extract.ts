// Our contender of `capi bench extract`: bytes in, features of the frozen encoder out, as an evaluation opens it.

import { type StoredTensor, writeSafetensors } from '../../base/safetensors.js';
import type { Config } from '../../config/index.js';
import { imageSize } from '../../config/index.js';
import { openCapi } from '../../encoder/capi.js';
import { parseEncoderSpec } from '../../encoder/spec.js';
import { openEngine } from '../../engine/select.js';
import { IMAGENET } from '../../images/normalise.js';
import { benchImages, encoderWeights } from '../workload.js';
import { engineFacts, type Prepare, timed } from './handlers.js';

export interface ExtractSetup {
  config: Config;
  threads: number | null;
}

export const prepare: Prepare = async ({ config, threads }: ExtractSetup) => {
  const { name, device } = config.engine;
  const engine = await openEngine({ name, device, threads });
  const batch = config.train.batch;
  const encoder = await openCapi(
    { kind: 'random', config, weights: encoderWeights(config), place: 'bench', options: {}, ...IMAGENET },
    parseEncoderSpec('random:bench'),
    { engine, batch },
  );
  const images = benchImages(batch, ...imageSize(config));
  let done = 0;
  return {
    facts: engineFacts(engine),
    handlers: {
      run: ({ count }: { count: number }) => timed(() => encoder.run(images[done++ % images.length]!), count),
      features: async ({ file }: { file: string }) => {
        const features = Object.entries(await encoder.run(images[0]!));
        const tensor = (data: Float32Array): StoredTensor => ({ dtype: 'F32', shape: [data.length], data });
        await writeSafetensors(file, new Map(features.map(([n, data]) => [n, tensor(data)])));
        return {};
      },
    },
  };
};
