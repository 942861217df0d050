// What `capi bench extract` does: features of a frozen encoder beside PyTorch's under inference_mode.
import { join } from 'node:path';
import { readSafetensors } from '../base/safetensors.js';
import { encoderProgram } from '../encoder/program.js';
import { graphCost } from '../engine/graph/cost.js';
import { optimise } from '../engine/graph/passes/index.js';
import { trace } from '../engine/graph/trace.js';
import { IMAGENET } from '../images/normalise.js';
import { modelSizes } from '../model/sizes.js';
import { checkAgreement, compare, type Entrant, largestDifference } from './compare.js';
import {
  type Contender,
  deviceOf,
  gpuNote,
  ourCommand,
  PYTHON_FIX,
  pythonCommand,
  type Timed,
} from './contender.js';
import type { Agreement } from './record.js';
import { type BenchOptions, type BenchResult, runBench } from './run.js';
import { benchConfig, type SizeOptions, sizesOf } from './sizes.js';
import { beyondPytorch, pytorchSize, writeExtractionWork } from './workload.js';

export interface ExtractOptions extends BenchOptions, SizeOptions {
  size: string;
  batch?: number | undefined;
  perRound?: number | undefined;
}

/** Largest difference of the features, over their largest magnitude: float32 with sums in another order. */
const SAME_FEATURES = 1e-4;
const WARMUP = 2;
const NAME = 'PyTorch eager, inference_mode';

export function benchExtract(options: ExtractOptions): Promise<BenchResult> {
  const batch = options.batch === undefined ? [] : [`train.batch=${options.batch}`];
  const config = benchConfig(options.size, { ...options, set: [...batch, ...options.set] });
  const perRound = options.perRound ?? (options.quick ? 1 : 5);
  return runBench('extract', options, async (bench) => {
    const own = await bench.start({ name: 'capi', command: ourCommand('extract'), setup: { config } });
    const contenders = [own];
    const notes = [gpuNote(own)].filter((note) => note !== undefined);
    const refusal = beyondPytorch(config);
    if (bench.python && refusal) notes.push(`${refusal}: only capi was timed`);
    if (bench.python && !refusal) {
      const work = join(bench.folder, 'work.safetensors');
      await writeExtractionWork(work, config);
      const command = pythonCommand(bench.python, 'extract.py');
      const setup = { ...pytorchSize(config), work, device: deviceOf(own) };
      contenders.push(await bench.start({ name: NAME, command, setup, fix: PYTHON_FIX }));
    }
    const agreement: Agreement[] = [];
    for (const rival of contenders.slice(1)) agreement.push(await sameFeatures(own, rival, bench.folder));
    for (const c of contenders) await c.ask('run', { count: WARMUP });
    const program = encoderProgram(modelSizes(config), { batch: config.train.batch, ...IMAGENET });
    const cost = graphCost(optimise(trace(program)));
    return [
      await compare({
        work: 'a batch of images to global vector, registers and patch features',
        sizes: sizesOf(config),
        rounds: bench.rounds,
        entrants: contenders.map(
          (contender): Entrant => ({
            name: contender.name,
            contender,
            run: () => contender.ask<Timed>('run', { count: perRound }),
          }),
        ),
        items: config.train.batch,
        gflop: cost.productFlop / 1e9,
        ...(gpuNote(own) ? {} : { products: await bench.products() }),
        memoryOf: NAME,
        agreement,
        notes,
        log: bench.log,
      }),
    ];
  });
}

async function sameFeatures(own: Contender, rival: Contender, folder: string): Promise<Agreement> {
  const files = { own: join(folder, 'own.safetensors'), rival: join(folder, 'rival.safetensors') };
  await own.ask('features', { file: files.own });
  await rival.ask('features', { file: files.rival });
  const [ours, theirs] = [await readSafetensors(files.own), await readSafetensors(files.rival)];
  const data = (tensors: typeof ours.tensors, name: string) =>
    (tensors.get(name)?.data ?? new Float32Array()) as Float32Array;
  const apart = [...ours.tensors.keys()].map((name) =>
    largestDifference(data(ours.tensors, name), data(theirs.tensors, name)),
  );
  return checkAgreement({
    with: rival.name,
    what: 'features differ by a share of',
    value: Math.max(...apart),
    tolerance: SAME_FEATURES,
  });
}
