// Memory of a training step, engine by engine and in micro-batches, each in a process of its own:
// `npm run build && node benchmarks/memory/step.js [BATCH] [ENGINE,...] [MICRO_BATCH,...]` (64; onnx,tensorflow; 64,16: the sizes of benchmarks/speed/step.yaml).
//
// Says what the graph says (activations), and by how much the process grew in three steps of one thread, from the loaded program on. The
// growth holds the next state too, which is first written in the first step (127 MiB at these sizes).

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const MIB = 2 ** 20;
const [batch = 64, names = 'onnx,tensorflow', sizes = `${batch},${batch / 4}`, child] = process.argv.slice(2);

if (child) await measure(names, Number(batch), Number(sizes));
else {
  for (const micro of `${sizes}`.split(',')) {
    for (const name of names.split(',')) {
      const args = [fileURLToPath(import.meta.url), `${batch}`, name, micro, 'child'];
      const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: 'utf8' });
      process.stdout.write(
        status === 0 ? stdout : `${name}, ${micro} at a time: ${stderr.trim().split('\n').at(-1)}\n`,
      );
    }
  }
}

/** VmHWM in bytes: the most that the process ever had in memory. */
function peak() {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
}

async function measure(name, batch, micro) {
  const from = (path) => import(new URL(`../../dist/src/${path}`, import.meta.url).href);
  const [{ loadConfig }, { openEngine }, { modelSizes }, { stepInputs }, { startState }, { stepProgram }] =
    await Promise.all(
      [
        'config/index.js',
        'engine/select.js',
        'model/sizes.js',
        'pretrain/inputs.js',
        'pretrain/state.js',
        'pretrain/step.js',
      ].map(from),
    );
  const preset = fileURLToPath(new URL('../speed/step.yaml', import.meta.url));
  const { config } = loadConfig({ preset, overrides: { 'train.batch': batch, 'engine.micro_batch': micro } });
  const s = modelSizes(config);
  const program = stepProgram(config, { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] });
  const engine = await openEngine({ name, device: 'cpu', threads: 1 });
  const executable = await engine.load(program);
  {
    const state = startState(config);
    executable.setState(Object.fromEntries(program.state.map((key) => [key, state[key]])));
  }
  const before = process.memoryUsage.rss();
  const images = new Uint8Array(batch * s.height * s.width * 3).map((_, i) => (i * 2654435761) >>> 24);
  let loss = 0;
  const { user: start } = process.cpuUsage();
  for (let step = 0; step < 3; step++) {
    const inputs = stepInputs(config, step).inputs;
    loss = (await executable.run({ ...inputs, images })).capi_loss[0];
  }
  const seconds = (process.cpuUsage().user - start) / 1e6;
  const mib = (bytes) => `${Math.round(bytes / MIB)} MiB`;
  console.log(
    `${name}, ${micro} of ${batch} images at a time: activations ${mib(executable.activationBytes ?? Number.NaN)} by the graph; ` +
      `grown by ${mib(peak() - before)} to ${mib(peak())}; loss ${loss.toFixed(6)}, ${seconds.toFixed(1)} s of CPU time for 3 steps`,
  );
  await executable.dispose();
}
