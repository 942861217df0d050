// Logistic regression to the same objective beside scikit-learn and PyTorch, in one run:
// `npm run build && node benchmarks/speed/logistic.js [PYTHON] [ROUNDS] [SAMPLES] [WIDTH] [CLASSES] [C] [SLACK]`.
//
// Ours is the fit of the segmentation head (preconditioned L-BFGS, products on the engine). The objective of all is computed by NumPy in
// float64; a library counts with the loosest tolerance that brings it within SLACK (1e-3) of the minimum, as a share, PyTorch with the pass that first gets there.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { openEngine } from '../../dist/src/engine/select.js';
import { rowsInMemory } from '../../dist/src/features/rows.js';
import { fitLogistic } from '../../dist/src/probes/logistic.js';
import { StreamedSoftmax } from '../../dist/src/probes/softmax_stream.js';
import { stream } from '../../dist/src/tensor/random.js';

const [python = 'python3', ROUNDS = 3, SAMPLES = 100_000, WIDTH = 384, CLASSES = 150, C = 0.1, SLACK = 1e-3] =
  process.argv.slice(2).map((x, i) => (i === 0 ? x : Number(x)));
const THREADS = 2;
const TOLERANCES = [1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9];

/** Correlated features of falling variance, as encoders give them, standardised; labels from a noisy linear rule. */
function samples() {
  const random = stream(0, 'samples');
  const factors = 64;
  const mix = random.fillNormal(new Float32Array(factors * WIDTH));
  const rule = random.fillNormal(new Float32Array(CLASSES * WIDTH));
  const hidden = new Float32Array(factors);
  const own = new Float32Array(WIDTH);
  const features = new Float32Array(SAMPLES * WIDTH);
  const labels = new Uint8Array(SAMPLES);
  for (let i = 0; i < SAMPLES; i++) {
    random.fillNormal(hidden);
    random.fillNormal(own);
    const x = features.subarray(i * WIDTH, (i + 1) * WIDTH);
    for (let j = 0; j < WIDTH; j++) {
      let sum = 0.5 * own[j];
      for (let f = 0; f < factors; f++) sum += (hidden[f] * mix[f * WIDTH + j]) / (1 + f / 4);
      x[j] = sum / 2.2;
    }
    let best = Number.NEGATIVE_INFINITY;
    for (let k = 0; k < CLASSES; k++) {
      let score = 20 * random.next();
      for (let j = 0; j < WIDTH; j++) score += 0.5 * rule[k * WIDTH + j] * x[j];
      if (score > best) [best, labels[i]] = [score, k];
    }
  }
  return { features, labels };
}

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

const folder = mkdtempSync(join(tmpdir(), 'capi-logistic-'));
const { features, labels } = samples();
writeFileSync(join(folder, 'features.bin'), features);
writeFileSync(join(folder, 'labels.bin'), labels);
const child = spawn(
  python,
  [join(import.meta.dirname, 'logistic.py'), folder, ...[WIDTH, CLASSES, C, THREADS].map(String)],
  { stdio: ['pipe', 'pipe', 'inherit'] },
);
const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
const answer = async () => {
  const { value, done } = await lines.next();
  if (done) throw new Error(`${python} ended: it needs torch, numpy and scikit-learn`);
  return JSON.parse(value);
};
const ask = (...command) => {
  child.stdin.write(`${JSON.stringify(command)}\n`);
  return answer();
};

try {
  const engine = await openEngine({ name: 'onnx', device: 'cpu', threads: THREADS });
  const versions = await answer();
  const own = async (tolerance) => {
    const start = performance.now();
    const loss = StreamedSoftmax.open(engine, { features: rowsInMemory(features, WIDTH), labels });
    const model = await fitLogistic(loss, C, { tolerance });
    const seconds = (performance.now() - start) / 1000;
    await loss.dispose();
    const file = join(folder, 'theta.bin');
    writeFileSync(file, model.parameters);
    return { seconds, objective: await ask('objective', file), passes: model.evaluations };
  };
  const ways = {
    capi: own,
    'scikit-learn': (tolerance) => ask('scikit-learn', tolerance),
    PyTorch: (_, target) => ask('PyTorch', target),
  };

  await own(1e-2);
  const minimum = (await own(1e-9)).objective;
  const target = minimum * (1 + SLACK);
  console.log(
    `${SAMPLES} x ${WIDTH}, ${CLASSES} classes, C ${C}, ${THREADS} threads each; minimum ${minimum.toFixed(3)}`,
  );
  const tolerances = { PyTorch: null };
  for (const name of ['capi', 'scikit-learn']) {
    for (const tolerance of TOLERANCES) {
      const found = await ways[name](tolerance, target);
      console.log(
        `${name} ${tolerance}: ${(found.objective / minimum - 1).toExponential(1)} above the minimum, ${found.passes} passes, ${found.seconds.toFixed(1)} s`,
      );
      tolerances[name] = tolerance;
      if (found.objective <= target) break;
    }
  }
  const rounds = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, way] of Object.entries(ways)) rounds[name].push(await way(tolerances[name], target));
    console.log(
      `round ${round + 1}: ${Object.entries(rounds)
        .map(([name, r]) => `${name} ${r[round].seconds.toFixed(1)} s`)
        .join(', ')}`,
    );
  }
  for (const [name, found] of Object.entries(rounds)) {
    const ratios = found.map(({ seconds }, i) => seconds / rounds.capi[i].seconds);
    const last = found.at(-1);
    console.log(
      `${name} ${versions[name] ?? ''}: ${median(found.map(({ seconds }) => seconds)).toFixed(1)} s, ${last.passes} passes, ` +
        `${(last.objective / minimum - 1).toExponential(1)} above the minimum` +
        (name === 'capi'
          ? ''
          : `, ${median(ratios).toFixed(2)} times ours (${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)})`),
    );
  }
} finally {
  child.stdin.end();
  child.kill();
  rmSync(folder, { recursive: true });
}
