// What `capi bench probes` does: a step of a whole grid of classification heads, stacked and one by one, beside PyTorch.
import { join } from 'node:path';
import { checkAgreement, compare, type Entrant, largestDifference } from './compare.js';
import { type Contender, ourCommand, PYTHON_FIX, pythonCommand, type Timed } from './contender.js';
import { type ProbeSetup, probeSources, writeProbeWork } from './probe_workload.js';
import type { Agreement } from './record.js';
import { type BenchOptions, type BenchResult, runBench } from './run.js';
import { benchConfig } from './sizes.js';
import { pytorchSize } from './workload.js';

export interface ProbesOptions extends BenchOptions {
  /** `stored`: features in memory, of the size of the preset fashion; `encoder`: ViT-S/14 at 224 px in the loop. */
  kind: 'stored' | 'encoder';
  classes?: number | undefined;
  batch?: number | undefined;
  perRound?: number | undefined;
}

type Steps = Timed & { losses: number[][] };

const POINTS = 30;
const WARMUP = 3;
/** Largest relative difference of the losses of those steps: float32, and AdamW as in `capi bench pretrain`. */
const SAME_LOSS = 1e-3;

export function benchProbes(options: ProbesOptions): Promise<BenchResult> {
  const inLoop = options.kind === 'encoder';
  const [classes, batch, samples] = options.quick ? [5, 4, 64] : inLoop ? [1000, 32, 2048] : [10, 256, 2048];
  const points = options.quick ? 3 : POINTS;
  const perRound = options.perRound ?? (inLoop || options.quick ? 1 : 2);
  const size = { batch: options.batch ?? batch!, classes: options.classes ?? classes! };
  const config = inLoop
    ? benchConfig('vit-s', { quick: options.quick, set: [`train.batch=${size.batch}`] })
    : null;
  const setup: ProbeSetup = { ...size, points, samples: samples!, config };
  const heads = points * probeSources(setup).length;
  return runBench('probes', options, async (bench) => {
    const own = (name: string, way: string) =>
      bench.start({ name, command: ourCommand('probes'), setup: { ...setup, way } });
    const stacked = await own(`capi, ${heads} heads stacked`, 'stacked');
    const contenders: Contender[] = [stacked];
    contenders.push(
      await own(inLoop ? 'capi, one head a source' : `capi, ${heads} heads one by one`, 'alone'),
    );
    const rivals: Contender[] = [];
    if (bench.python) {
      const work = join(bench.folder, 'work.safetensors');
      await writeProbeWork(work, setup, WARMUP + bench.rounds * perRound);
      const told = {
        ...{ work, points, classes: size.classes, sources: probeSources(setup).map(({ name }) => name) },
        ...(config ? { encoder: pytorchSize(config) } : {}),
      };
      for (const [name, way] of [
        [`PyTorch, ${heads} heads stacked`, 'stacked'],
        [`PyTorch, ${heads} modules`, 'modules'],
      ] as const) {
        const command = pythonCommand(bench.python, 'probes.py');
        rivals.push(await bench.start({ name, command, setup: { ...told, way }, fix: PYTHON_FIX }));
      }
    }
    const all = [...contenders, ...rivals];
    const agreement: Agreement[] = [];
    const first = new Map<Contender, number[][]>();
    for (const c of all) first.set(c, (await c.ask<Steps>('run', { count: WARMUP })).losses);
    for (const rival of rivals) {
      agreement.push(
        checkAgreement({
          with: rival.name,
          what: `losses of all heads in the first ${WARMUP} steps differ by a share of`,
          value: largestDifference(first.get(stacked)!.flat(), first.get(rival)!.flat()),
          tolerance: SAME_LOSS,
        }),
      );
    }
    return [
      await compare({
        work: inLoop
          ? 'a step with the encoder in the loop: features, then every head'
          : 'a step of every head on stored features',
        sizes: { 'grid points': points, heads, ...size, ...(config ? { width: config.model.width } : {}) },
        rounds: bench.rounds,
        entrants: all.map(
          (contender): Entrant => ({
            name: contender.name,
            contender,
            run: () => contender.ask<Timed>('run', { count: perRound }),
          }),
        ),
        rivals: rivals.map(({ name }) => name),
        agreement,
        notes: inLoop ? ['one head a source is the same pass with 4 heads: what the others add to it'] : [],
        log: bench.log,
      }),
    ];
  });
}
