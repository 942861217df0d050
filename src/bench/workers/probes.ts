// Our contender of `capi bench probes`: a grid of classification heads in stacks, or one head after another.
import { imageSize } from '../../config/index.js';
import { openCapi } from '../../encoder/capi.js';
import { parseEncoderSpec } from '../../encoder/spec.js';
import { openEngine } from '../../engine/select.js';
import { IMAGENET } from '../../images/normalise.js';
import { adamwCorrections } from '../../optim/adamw.js';
import { batchesInMemory, type TrainingBatch } from '../../probes/cls/batches.js';
import { headStepProgram } from '../../probes/cls/heads.js';
import { type FeatureSource, sourceFeatures } from '../../probes/sources.js';
import {
  gridOf,
  headSizesOf,
  headsOf,
  type ProbeSetup,
  probeLabels,
  probeSources,
  storedFeatures,
} from '../probe_workload.js';
import { benchImages, encoderWeights } from '../workload.js';
import { type Prepare, timed } from './handlers.js';

interface OwnProbes extends ProbeSetup {
  /** `alone`: one grid point at a time, each in a pass of its own over its own source's features. */
  way: 'stacked' | 'alone';
  threads: number | null;
}

const optimiser = { beta1: 0.9, beta2: 0.95, eps: 1e-8 };

export const prepare: Prepare = async (setup: OwnProbes) => {
  const engine = await openEngine({ name: 'onnx', device: 'cpu', threads: setup.threads });
  const sources = probeSources(setup);
  const alone = setup.way === 'alone';
  const loaded = alone ? { ...setup, points: 1 } : setup;
  const grid = gridOf(setup.points);
  const heads = new Map<FeatureSource, (batch: TrainingBatch, step: number) => Promise<Float32Array>>();
  for (const source of sources) {
    const sizes = headSizesOf(source, loaded);
    const headsInLoss = setup.points * sources.length;
    const executable = await engine.load(
      headStepProgram(sizes, { batch: setup.batch, optimiser, headsInLoss }),
    );
    executable.setState(headsOf(source, loaded));
    heads.set(source, async (batch, step) => {
      const { correction1, rootCorrection2 } = adamwCorrections(step + 1, optimiser);
      const out = await executable.run({
        lr: grid.rates.subarray(0, loaded.points),
        decay: grid.decays.subarray(0, loaded.points),
        correction1: Float32Array.of(correction1),
        root_correction2: Float32Array.of(rootCorrection2),
        features: batch.features[source.name]!,
        labels: batch.labels,
      });
      return out.losses as Float32Array;
    });
  }
  const batchOf = await batches(setup, sources, engine);
  let at = 0;
  /** A step of all heads; one after another, each head reads its batch anew, as a training of its own would. */
  const step = async (): Promise<number[]> => {
    const step = at++;
    const losses: number[] = [];
    if (alone && !setup.config) {
      for (const [source, train] of heads) {
        for (let g = 0; g < setup.points; g++)
          losses.push(...(await train(await batchOf(step, [source]), step)));
      }
      return losses;
    }
    const batch = await batchOf(step, sources);
    for (const train of heads.values()) losses.push(...(await train(batch, step)));
    return losses;
  };
  return {
    facts: { threads: engine.threads ?? 1, versions: { onnx: engine.version } },
    handlers: {
      run: async ({ count }: { count: number }) => {
        const losses: number[][] = [];
        const time = await timed(async () => losses.push(await step()), count);
        return { ...time, losses };
      },
    },
  };
};

type BatchOf = (step: number, sources: FeatureSource[]) => Promise<TrainingBatch>;

/** Batches of stored features, or of images through the encoder. */
async function batches(
  setup: ProbeSetup,
  sources: FeatureSource[],
  engine: Awaited<ReturnType<typeof openEngine>>,
): Promise<BatchOf> {
  const { config, batch } = setup;
  const labels = probeLabels(setup);
  if (!config) {
    const features = storedFeatures(setup);
    const draw = (chosen: FeatureSource[]) => batchesInMemory(features, chosen, labels, { batch, seed: 0 });
    const together = draw(sources);
    const each = new Map(sources.map((source) => [source, draw([source])]));
    return async (step, asked) => (asked.length === 1 ? each.get(asked[0]!)! : together)(step);
  }
  const encoder = await openCapi(
    { kind: 'random', config, weights: encoderWeights(config), place: 'bench', options: {}, ...IMAGENET },
    parseEncoderSpec('random:bench'),
    { engine, batch },
  );
  const images = benchImages(batch, ...imageSize(config));
  return async (step) => ({
    features: sourceFeatures(encoder, await encoder.run(images[step % images.length]!), sources, batch),
    labels: labels.subarray(0, batch),
  });
}
