// k-NN search beside scikit-learn and PyTorch, in one run: `npm run build && node benchmarks/speed/knn.js [PYTHON] [ROUNDS] [KEYS] [QUERIES]`.

import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { openEngine } from '../../dist/src/engine/select.js';
import { nearestNeighbours } from '../../dist/src/probes/neighbours.js';
import { stream } from '../../dist/src/tensor/random.js';

const [python = 'python3', ROUNDS = 3, KEYS = 200_000, QUERIES = 20_000] = process.argv
  .slice(2)
  .map((x, i) => (i === 0 ? x : Number(x)));
const WIDTH = 384;
const K = 20;
const THREADS = 2;

/** Features as encoders give them, roughly: groups around 1000 centres, a common offset. */
function features(count, key) {
  const random = stream(0, key);
  const centres = stream(0, 'centres').fillNormal(new Float32Array(1000 * WIDTH));
  const out = random.fillNormal(new Float32Array(count * WIDTH));
  for (let i = 0; i < count; i++) {
    const centre = random.int(1000) * WIDTH;
    for (let j = 0; j < WIDTH; j++) out[i * WIDTH + j] += centres[centre + j] + 0.5;
  }
  return out;
}

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

const folder = mkdtempSync(join(tmpdir(), 'capi-knn-'));
const write = (name, values) => {
  const file = openSync(join(folder, name), 'w');
  const bytes = new Uint8Array(values.buffer);
  for (let at = 0; at < bytes.length; )
    at += writeSync(file, bytes, at, Math.min(2 ** 26, bytes.length - at));
  closeSync(file);
  return join(folder, name);
};

const train = features(KEYS, 'keys');
const test = features(QUERIES, 'queries');
const answers = join(folder, 'answer.bin');
const child = spawn(
  python,
  [
    join(import.meta.dirname, 'knn.py'),
    write('keys.bin', train),
    write('queries.bin', test),
    ...[WIDTH, K, THREADS].map(String),
  ],
  { stdio: ['pipe', 'pipe', 'inherit'] },
);
const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
const answer = async () => {
  const { value, done } = await lines.next();
  if (done) throw new Error(`${python} ended: it needs torch, numpy and scikit-learn`);
  return JSON.parse(value);
};
const ask = (library, way, count) => {
  child.stdin.write(`${JSON.stringify([library, way, count, answers])}\n`);
  return answer();
};

try {
  const engine = await openEngine({ name: 'onnx', device: 'cpu', threads: THREADS });
  const own = async (count) => {
    const queries = test.subarray(0, count * WIDTH);
    const start = performance.now();
    const found = await nearestNeighbours({
      engine,
      train,
      test: queries,
      width: WIDTH,
      k: K,
      metric: 'cosine',
    });
    return { seconds: (performance.now() - start) / 1000, indices: found.indices };
  };
  const versions = await answer();

  // A tenth of the queries says which way is the quickest of each library.
  const few = Math.ceil(QUERIES / 10);
  const best = {};
  for (const library of Object.keys(versions)) {
    const seconds = {};
    for (const way of await ask(library, null, 0)) seconds[way] = await ask(library, way, few);
    best[library] = Object.keys(seconds).reduce((a, b) => (seconds[a] <= seconds[b] ? a : b));
    for (const [way, s] of Object.entries(seconds)) {
      console.log(`${library} ${versions[library]}, ${way}: ${s.toFixed(1)} s for ${few} queries`);
    }
  }
  await own(few);

  const rounds = { capi: [], ...Object.fromEntries(Object.keys(best).map((n) => [n, []])) };
  const agreement = {};
  for (let round = 0; round < ROUNDS; round++) {
    const mine = await own(QUERIES);
    rounds.capi.push(mine.seconds);
    for (const [library, way] of Object.entries(best)) {
      rounds[library].push(await ask(library, way, QUERIES));
      const bytes = readFileSync(answers);
      const theirs = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
      agreement[library] = mine.indices.filter((x, i) => x === theirs[i]).length / theirs.length;
    }
    console.log(
      `round ${round + 1}: ${Object.entries(rounds)
        .map(([n, s]) => `${n} ${s[round].toFixed(1)} s`)
        .join(', ')}`,
    );
  }
  const gflop = (2 * KEYS * QUERIES * WIDTH) / 1e9;
  console.log(`${KEYS} keys x ${QUERIES} queries, width ${WIDTH}, k ${K}, cosine, ${THREADS} threads each`);
  for (const [name, seconds] of Object.entries(rounds)) {
    const ratios = seconds.map((s, i) => s / rounds.capi[i]);
    const more =
      name === 'capi'
        ? ''
        : `, ${median(ratios).toFixed(2)} times ours (${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)}), ` +
          `same key at ${(100 * agreement[name]).toFixed(3)} % of places, ${best[name]}`;
    console.log(
      `${name.padEnd(12)} ${median(seconds).toFixed(1)} s, ${(gflop / median(seconds)).toFixed(0)} GFLOP/s${more}`,
    );
  }
} finally {
  child.stdin.end();
  child.kill();
  rmSync(folder, { recursive: true });
}
