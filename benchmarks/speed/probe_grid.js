// What training a whole grid of classification heads costs: `npm run build && node benchmarks/speed/probe_grid.js [quick|official] [ROUNDS] [CLASSES] [BATCH]`.
//
// quick: 120 stacked heads (30 grid points x 4 sources) on features in memory against the same 120 one by one, same programs.
// official: the same 120 heads with ViT-S/14 at 224 px in the loop against one head a source.

import { openFrozen } from '../../dist/src/encoder/open_frozen.js';
import { openEngine } from '../../dist/src/engine/select.js';
import { adamwCorrections } from '../../dist/src/optim/adamw.js';
import { batchesInMemory } from '../../dist/src/probes/classification/batches.js';
import { headStepProgram, initialHeads } from '../../dist/src/probes/classification/heads.js';
import { featureSources, sourceFeatures } from '../../dist/src/probes/classification/sources.js';
import { stream } from '../../dist/src/tensor/random.js';

const kind = process.argv[2] ?? 'quick';
if (!['quick', 'official'].includes(kind)) throw new Error(`${kind}: accepted: quick, official`);
const defaults = kind === 'quick' ? [15, 10, 256] : [3, 1000, 32];
const [ROUNDS, CLASSES, BATCH] = defaults.map((value, i) => Number(process.argv[3 + i] ?? value));
const POINTS = 30;
const THREADS = 2;
const NAMES = ['global', 'average_patch', 'global+average_patch', 'patches'];
const optimiser = { beta1: 0.9, beta2: 0.95, eps: 1e-8 };

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};
const timed = async (work) => {
  const start = performance.now();
  await work();
  return performance.now() - start;
};

const engine = await openEngine({ name: 'onnx', device: 'cpu', threads: THREADS });

/** `points` heads of one source, ready to step. */
async function loadHeads(source, points) {
  const sizes = { ...source, classes: CLASSES, points };
  const executable = await engine.load(
    headStepProgram(sizes, { batch: BATCH, optimiser, headsInLoss: POINTS * NAMES.length }),
  );
  executable.setState(initialHeads(sizes, { seed: 0, source: source.name, std: 0.02 }));
  const lr = new Float32Array(points).fill(1e-3);
  const decay = new Float32Array(points).fill(1e-3);
  const { correction1, rootCorrection2 } = adamwCorrections(5, optimiser);
  const scalars = {
    lr,
    decay,
    correction1: Float32Array.of(correction1),
    root_correction2: Float32Array.of(rootCorrection2),
  };
  return (batch) =>
    executable.run({ ...scalars, features: batch.features[source.name], labels: batch.labels });
}

/** Alternating rounds of two ways; prints medians and the ratio b / a. */
async function compare(a, b) {
  for (const way of [a, b]) await way.run();
  for (let round = 0; round < ROUNDS; round++) {
    for (const way of [a, b]) way.ms.push(await timed(way.run));
    console.log(
      `round ${round + 1}: ${[a, b].map((w) => `${w.name} ${w.ms[round].toFixed(0)} ms`).join(', ')}`,
    );
  }
  for (const way of [a, b]) console.log(`${way.name}: ${median(way.ms).toFixed(1)} ms`);
  const ratios = b.ms.map((ms, i) => ms / a.ms[i]);
  console.log(
    `ratio ${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)}), ` +
      `${CLASSES} classes, batch ${BATCH}, ${THREADS} threads`,
  );
}

async function quick() {
  // The encoder of the preset `fashion`: 64 patches of width 64.
  const encoder = { globalWidth: 64, patchWidth: 64, grid: { rows: 8, columns: 8 }, registers: null };
  const sources = featureSources(encoder, NAMES);
  const count = 2048;
  const random = stream(0, 'features');
  const features = Object.fromEntries(
    sources.map(({ name, width, tokens }) => [
      name,
      random.fillNormal(new Float32Array(count * width * (tokens ?? 1))),
    ]),
  );
  const labels = Int32Array.from({ length: count }, () => random.int(CLASSES));
  const options = { batch: BATCH, seed: 0 };
  const together = batchesInMemory(features, sources, labels, options);
  const stacks = await Promise.all(sources.map((source) => loadHeads(source, POINTS)));
  // Alone, a head's pass reads its own source only; one program stands for the thirty, which differ in numbers alone.
  const alone = await Promise.all(
    sources.map(async (source) => ({
      step: await loadHeads(source, 1),
      batches: batchesInMemory(features, [source], labels, options),
    })),
  );
  const STEPS = 2; // short rounds: both ways see the same load
  let at = 0;
  await compare(
    {
      name: `${STEPS} steps, 120 heads stacked`,
      ms: [],
      run: async () => {
        for (let i = 0; i < STEPS; i++, at++) {
          const batch = await together(at);
          for (const step of stacks) await step(batch);
        }
      },
    },
    {
      name: `${STEPS} steps, 120 heads one by one`,
      ms: [],
      run: async () => {
        for (const { step, batches } of alone) {
          for (let g = 0; g < POINTS; g++) for (let i = 0; i < STEPS; i++) await step(await batches(at + i));
        }
      },
    },
  );
}

async function official() {
  const encoder = await openFrozen('random:vit-s-14', { engine, batch: BATCH });
  const sources = featureSources(encoder, NAMES);
  const random = stream(0, 'images');
  const images = new Uint8Array(BATCH * encoder.size.height * encoder.size.width * 3).map(() =>
    random.int(256),
  );
  const labels = Int32Array.from({ length: BATCH }, () => random.int(CLASSES));
  const pass = async (heads) => {
    const features = sourceFeatures(encoder, await encoder.run(images), sources, BATCH);
    for (const step of heads) await step({ features, labels });
  };
  const one = await Promise.all(sources.map((source) => loadHeads(source, 1)));
  const all = await Promise.all(sources.map((source) => loadHeads(source, POINTS)));
  await compare(
    { name: 'a step, one head a source', ms: [], run: () => pass(one) },
    { name: 'a step, 120 heads', ms: [], run: () => pass(all) },
  );
  await encoder.close();
}

await (kind === 'quick' ? quick() : official());
