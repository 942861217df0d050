// Our contender of `capi bench knn`: exact cosine neighbours on the engine.

import { readSafetensors, writeSafetensors } from '../../base/safetensors.js';
import { openEngine } from '../../engine/select.js';
import { nearestNeighbours } from '../../solvers/neighbours.js';
import type { KnnSetup } from '../knn.js';
import { type Prepare, timed } from './handlers.js';

export const prepare: Prepare = async ({ work, k, threads }: KnnSetup & { threads: number | null }) => {
  const engine = await openEngine({ name: 'onnx', device: 'cpu', threads });
  const { tensors } = await readSafetensors(work);
  const [train, queries] = [tensors.get('keys')!, tensors.get('queries')!];
  const width = train.shape[1]!;
  let indices = new Int32Array();
  return {
    facts: { threads: engine.threads ?? 1, versions: { onnx: engine.version }, ways: ['engine'] },
    handlers: {
      run: ({ count }: { count: number }) =>
        timed(async () => {
          const found = await nearestNeighbours({
            engine,
            train: train.data as Float32Array,
            test: (queries.data as Float32Array).subarray(0, count * width),
            width,
            k,
            metric: 'cosine',
          });
          indices = found.indices as Int32Array<ArrayBuffer>;
        }),
      answer: async ({ file }: { file: string }) => {
        const shape = [indices.length / k, k];
        await writeSafetensors(file, new Map([['indices', { dtype: 'I32', shape, data: indices }]]));
        return {};
      },
    },
  };
};
