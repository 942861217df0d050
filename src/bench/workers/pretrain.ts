// Our contender of `capi bench pretrain`: whole training steps on inputs that are made before the clock starts.
import type { Config } from '../../config/index.js';
import type { Values } from '../../engine/program.js';
import { openEngine } from '../../engine/select.js';
import { IMAGENET } from '../../images/normalise.js';
import { modelSizes } from '../../model/sizes.js';
import { stepInputs } from '../../pretrain/inputs.js';
import { resolveEngine } from '../../pretrain/prepare.js';
import { setTensors, startTensors } from '../../pretrain/state.js';
import { stepProgram } from '../../pretrain/step.js';
import { benchImages } from '../workload.js';
import { engineFacts, type Prepare, timed } from './handlers.js';

export interface TrainSetup {
  config: Config;
  threads: number | null;
}

export const prepare: Prepare = async ({ config: asked, threads }: TrainSetup) => {
  const engine = await openEngine({ ...asked.engine, threads });
  const config = resolveEngine(asked, engine);
  const s = modelSizes(config);
  const { teacher_micro_batches, student_micro_batches } = config.engine;
  const program = stepProgram(config, IMAGENET);
  const executable = await engine.load(program);
  await setTensors(executable, program, startTensors(config));
  const images = benchImages(config.train.batch, s.height, s.width);
  let step = 0;
  const run = async ({ count }: { count: number }) => {
    const ready = Array.from({ length: count }, (_, i): Record<string, Values> => {
      const { inputs } = stepInputs(config, step + i);
      return { ...inputs, images: images[(step + i) % images.length]! };
    });
    const losses: number[][] = [];
    step += count;
    let next = 0;
    const time = await timed(async () => {
      const out = await executable.run(ready[next++]!);
      losses.push(['capi_loss', 'clustering_loss', 'target_entropy'].map((n) => out[n]?.[0] ?? Number.NaN));
    }, count);
    return { ...time, losses };
  };
  return {
    facts: { ...engineFacts(engine), teacher_micro_batches, student_micro_batches },
    handlers: { run },
  };
};
