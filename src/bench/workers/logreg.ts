// Our contender of `capi bench logreg`: the fit of the segmentation head, preconditioned L-BFGS with its products on the engine.

import { readSafetensors, writeSafetensors } from '../../base/safetensors.js';
import { openEngine } from '../../engine/select.js';
import { rowsInMemory } from '../../features/rows.js';
import { fitLogistic } from '../../solvers/logistic.js';
import { StreamedSoftmax } from '../../solvers/softmax_stream.js';
import type { LogregSetup } from '../logreg.js';
import { type Prepare, timed } from './handlers.js';

export const prepare: Prepare = async ({ work, C, threads }: LogregSetup & { threads: number | null }) => {
  const engine = await openEngine({ name: 'onnx', device: 'cpu', threads });
  const { tensors } = await readSafetensors(work);
  const features = tensors.get('features')!;
  const labels = tensors.get('labels')!.data as Uint8Array;
  return {
    facts: { threads: engine.threads ?? 1, versions: { onnx: engine.version } },
    handlers: {
      /** Fits to a tolerance; the parameters go to `file`, for the judge. */
      fit: async ({ tolerance, file }: { tolerance: number; file: string }) => {
        const rows = rowsInMemory(features.data as Float32Array, features.shape[1]!);
        let model: Awaited<ReturnType<typeof fitLogistic>> | undefined;
        const time = await timed(async () => {
          const loss = StreamedSoftmax.open(engine, { features: rows, labels });
          model = await fitLogistic(loss, C, { tolerance });
          await loss.dispose();
        });
        const { parameters: data, evaluations, objective } = model!;
        await writeSafetensors(file, new Map([['parameters', { dtype: 'F64', shape: [data.length], data }]]));
        return { ...time, objective, passes: evaluations };
      },
    },
  };
};
