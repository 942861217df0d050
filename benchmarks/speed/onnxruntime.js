// The training step through the C interface (src/engine/onnx) beside the same model through onnxruntime-node's own binding, in one process:
// `npm run build && node benchmarks/speed/onnxruntime.js [BATCH] [ROUNDS] [STEPS]`. One thread; CPU time, so that other work on the machine counts less.

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { stream } from '../../dist/src/base/random.js';
import { loadConfig } from '../../dist/src/config/index.js';
import { optimise } from '../../dist/src/engine/graph/passes/index.js';
import { trace } from '../../dist/src/engine/graph/trace.js';
import { lower } from '../../dist/src/engine/onnx/lower.js';
import { OnnxEngine } from '../../dist/src/engine/onnx/session.js';
import { initialParameters } from '../../dist/src/model/parameters.js';
import { modelSizes } from '../../dist/src/model/sizes.js';
import { stepInputs } from '../../dist/src/pretrain/inputs.js';
import { withMicroBatches } from '../../dist/src/pretrain/prepare.js';
import { stepProgram } from '../../dist/src/pretrain/step.js';

const ort = createRequire(import.meta.url)('onnxruntime-node');
const [BATCH = 64, ROUNDS = 5, STEPS = 4] = process.argv.slice(2).map(Number);

const { config: asked } = loadConfig({
  preset: join(import.meta.dirname, 'step.yaml'),
  sets: [`train.batch=${BATCH}`],
});
const config = withMicroBatches(asked, { name: 'onnx', device: 'cpu' });
const s = modelSizes(config);
const program = stepProgram(config, { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] });
const graph = optimise(trace(program));
const count = (shape) => shape.reduce((a, b) => a * b, 1);
const initial = initialParameters(s, 0);
const state = Object.fromEntries(
  program.state.map((n) => [n, initial[n] ?? new Float32Array(count(program.inputs[n].shape))]),
);
const random = stream(0, 'bench images');
const batches = Array.from({ length: 4 }, (_, i) => ({
  ...stepInputs(config, i).inputs,
  images: new Uint8Array(count(program.inputs.images.shape)).map(() => random.int(256)),
}));

/** State in two sets of preallocated tensors, as far as onnxruntime-node goes: it writes them in place, and copies them once more. */
async function binding() {
  const session = await ort.InferenceSession.create(lower(graph), {
    executionProviders: ['cpu'],
    graphOptimizationLevel: 'basic',
    intraOpNumThreads: 1,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
  const arrays = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
  const tensor = ({ shape, dtype }, data = new arrays[dtype](count(shape))) =>
    new ort.Tensor(dtype, data, shape);
  const results = Object.fromEntries(
    graph.outputs.map(({ name, value }) => [name, tensor({ shape: value.shape, dtype: value.dtype })]),
  );
  let current = Object.fromEntries(
    program.state.map((n) => [n, tensor(program.inputs[n], state[n].slice())]),
  );
  return async (inputs) => {
    const feeds = Object.fromEntries(
      Object.entries(program.inputs).map(([n, spec]) => [n, current[n] ?? tensor(spec, inputs[n])]),
    );
    await session.run(feeds, Object.fromEntries(Object.entries(results).map(([n, t]) => [`out:${n}`, t])));
    const next = { ...current };
    for (const n of program.state) {
      if (!results[n]) continue;
      next[n] = results[n];
      results[n] = current[n];
    }
    current = next;
    return results.capi_loss.data[0];
  };
}

async function ours() {
  const executable = await new OnnxEngine({ threads: 1 }).load(program);
  executable.setState(state);
  return async (inputs) => (await executable.run(inputs)).capi_loss[0];
}

const contenders = { 'onnxruntime-node': await binding(), 'C interface': await ours() };
const measured = Object.fromEntries(
  Object.keys(contenders).map((k) => [k, { cpu: [], gap: [], losses: [] }]),
);
for (let round = 0; round <= ROUNDS; round++) {
  for (const [name, run] of Object.entries(contenders)) {
    const m = measured[name];
    for (let i = 0; i < STEPS; i++) {
      let [last, gap] = [performance.now(), 0];
      const timer = setInterval(() => {
        gap = Math.max(gap, performance.now() - last);
        last = performance.now();
      }, 5);
      const before = process.cpuUsage();
      m.losses.push(await run(batches[i % batches.length]));
      const { user, system } = process.cpuUsage(before);
      gap = Math.max(gap, performance.now() - last);
      clearInterval(timer);
      if (round === 0) continue; // the first round warms up
      m.cpu.push((user + system) / 1000);
      m.gap.push(gap);
    }
  }
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const bytes = program.state.reduce((n, name) => n + 4 * count(program.inputs[name].shape), 0);
console.log(
  `${BATCH} images, ${program.state.length} state tensors of ${(bytes / 2 ** 20).toFixed(0)} MB, ${ROUNDS} rounds of ${STEPS} steps, one thread`,
);
for (const [name, { cpu, gap }] of Object.entries(measured)) {
  console.log(
    `${name}: CPU time of a step ${median(cpu).toFixed(0)} ms (${Math.min(...cpu).toFixed(0)}-${Math.max(...cpu).toFixed(0)}), longest stop of the event loop ${median(gap).toFixed(0)} ms`,
  );
}
const [a, b] = Object.values(measured);
console.log(
  a.losses.every((x, i) => x === b.losses[i]) ? 'the same losses, bit by bit' : 'the losses differ',
);
