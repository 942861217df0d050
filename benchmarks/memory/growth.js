// Whether the tensorflow engine holds on to anything: tensors, bytes and the size of the process after each of 1,000 steps of a small model:
// `npm run build && node benchmarks/memory/growth.js [STEPS]`. Needs scripts/build-tfjs-node.sh. Ends with code 1 where the count changes after step 2.

import { loadConfig } from '../../dist/src/config/index.js';
import { tensorflowEngine } from '../../dist/src/engine/tensorflow.js';
import { stepInputs } from '../../dist/src/pretrain/inputs.js';
import { startState } from '../../dist/src/pretrain/state.js';
import { stepProgram } from '../../dist/src/pretrain/step.js';
import { tf } from '../../dist/src/tensor/tf.js';

const STEPS = Number(process.argv[2] ?? 1000);
const { config } = loadConfig({
  sets: [
    ...['model.image_size=8', 'model.patch_size=4', 'model.width=16', 'model.heads=2', 'model.depth=1'],
    ...['model.registers=4', 'model.drop_path=0', 'model.predictor.depth=1', 'masking.predict=0.5'],
    ...['clustering.prototypes=8', 'train.batch=4', `train.steps=${STEPS}`],
  ],
});
const program = stepProgram(config, { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] });
const executable = await tensorflowEngine('auto', 1).load(program);
const state = startState(config);
executable.setState(Object.fromEntries(program.state.map((name) => [name, state[name]])));
const images = new Uint8Array(4 * 8 * 8 * 3).map((_, i) => (i * 2654435761) >>> 24);
let second;
let changed = 0;
for (let step = 1; step <= STEPS; step++) {
  await executable.run({ ...stepInputs(config, step - 1).inputs, images });
  const { numTensors, numBytes } = tf.memory();
  const now = `${numTensors} tensors, ${numBytes} bytes`;
  if (step === 2) second = now;
  if (step > 2 && now !== second) changed++;
  if (step === 2 || step === STEPS || step % 100 === 0) {
    console.log(
      `step ${step}: ${now}; process ${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB; ${changed} counts unlike that of step 2`,
    );
  }
}
process.exitCode = changed === 0 ? 0 : 1;
