// Twenty steps of the product's own loop on WebGPU, in software, against the same steps on the CPU.
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readCheckpoint } from '../../src/checkpoint/file.js';
import { OnnxEngine } from '../../src/engine/onnx/session.js';
import { useSwiftshader } from '../support/engines.js';
import { relativeError } from '../support/golden.js';
import { placement } from '../support/placement.js';
import { suiteNeeding } from '../support/suites.js';
import { deviation, metricsOf, smallRun, temporaryFolder } from './small_run.js';

const STEPS = 20;

// Drop path, registers on the edge, Sinkhorn by position, both optimisers and EMA, at the smallest sizes that have them all.
const sets = [`train.steps=${STEPS}`, 'model.drop_path=0.3', `checkpoint.every=${STEPS}`, 'engine.workers=1'];

// Both compute in float32 and differ by the order of their sums; SwiftShader came within 4e-7 of the losses and 3e-6 of the
// state. A thirtyfold margin, as a GPU's exp and division may be some units in the last place coarser.
const LOSS = 1e-5;
const STATE = 1e-4;

suiteNeeding('webgpu-swiftshader')('training on WebGPU', () => {
  const folder = temporaryFolder();
  const profile = join(folder, 'profile');

  it(`follows the CPU for ${STEPS} steps: losses and the whole state`, async () => {
    useSwiftshader();
    const cpu = await smallRun(join(folder, 'cpu'), sets);
    const engine = new OnnxEngine({ device: 'webgpu', threads: 1, profile });
    const gpu = await smallRun(join(folder, 'webgpu'), [...sets, 'engine.device=webgpu'], { engine });
    expect([gpu.engine, gpu.device]).toEqual(['onnx', 'webgpu']);

    const [wanted, found] = [metricsOf(cpu.run), metricsOf(gpu.run)];
    expect(found).toHaveLength(STEPS);
    const worst: Record<string, number> = {};
    for (const name of ['capi_loss', 'clustering_loss', 'target_entropy', 'gradient_norm']) {
      worst[name] = deviation(found!, wanted!, name);
    }
    const [a, b] = await Promise.all([cpu, gpu].map((run) => readCheckpoint(run.checkpoint)));
    worst.state = 0;
    for (const [name, { data }] of a!.tensors) {
      const other = b!.tensors.get(name)!.data as Float32Array;
      worst.state = Math.max(worst.state, relativeError(other, data as Float32Array));
    }
    expect(a!.tensors.size).toBeGreaterThan(90); // parameters, moments and EMA
    console.log(`webgpu against cpu, ${STEPS} steps, largest relative deviation`, JSON.stringify(worst));
    const { state, ...curves } = worst;
    for (const [name, error] of Object.entries(curves)) expect(error, name).toBeLessThan(LOSS);
    expect(state).toBeLessThan(STATE);

    const { CPUExecutionProvider: fallen = {}, WebGpuExecutionProvider: ran = {} } = placement(profile);
    console.log('operators of the step that fell back to the CPU:', JSON.stringify(fallen));
    expect(Object.values(ran).reduce((n, runs) => n + runs, 0)).toBeGreaterThan(STEPS * 500);
    // Slices of row numbers alone, which come from the host in any case: the provider slices no int32.
    expect(Object.keys(fallen).filter((operator) => !operator.startsWith('Slice(int32,'))).toEqual([]);
  }, 1_800_000); // 20 s of computing, mostly shaders being compiled; many times that beside other work
});
