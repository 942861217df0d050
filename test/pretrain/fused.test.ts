// Two hundred steps on the graph that runs and on the same program recorded op by op, with no fused kernel and no pass.
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { trace } from '../../src/engine/graph/trace.js';
import { OnnxEngine, type OnnxExecutable } from '../../src/engine/onnx/session.js';
import type { Program } from '../../src/engine/program.js';
import { deviation, metricsOf, smallRun, temporaryFolder } from './small_run.js';

const STEPS = 200;

// Every part of the step that has a fused form, at a rate that takes the losses well below their start.
const sets = [
  `train.steps=${STEPS}`,
  `checkpoint.every=${STEPS}`,
  'data.source=synthetic:scenes?size=32&difficulty=0',
  'model.image_size=32',
  'model.width=32',
  'model.depth=3',
  'model.drop_path=0.1',
  'model.predictor.depth=2',
  'train.batch=16',
  'engine.micro_batch=8',
];

class Unfused extends OnnxEngine {
  nodes = 0;

  override load(program: Program): Promise<OnnxExecutable> {
    const graph = trace(program, { composites: false });
    this.nodes = graph.nodes.length;
    return this.loadGraph(program, graph);
  }
}

it(`losses stay together for ${STEPS} steps`, async () => {
  const folder = temporaryFolder();
  const plain = new Unfused({ threads: 1 });
  const fused = metricsOf((await smallRun(join(folder, 'fused'), sets)).run);
  const unfused = metricsOf((await smallRun(join(folder, 'unfused'), sets, { engine: plain })).run);
  expect(fused).toHaveLength(STEPS);
  expect(plain.nodes).toBeGreaterThan(2000); // the other graph did run
  const deviations: Record<string, number> = {};
  for (const name of ['capi_loss', 'clustering_loss', 'target_entropy']) {
    deviations[name] = deviation(fused, unfused, name);
  }
  const losses = fused.map((line) => line.capi_loss!);
  console.log('fused against unfused, largest relative deviation', JSON.stringify(deviations), losses.at(-1));
  expect(losses.at(-1)!).toBeLessThan(0.95 * losses[0]!);
  expect(new Set(fused.map((l, i) => l.capi_loss === unfused[i]!.capi_loss))).toContain(false); // rounding differs
  for (const [name, found] of Object.entries(deviations)) expect(found, name).toBeLessThan(1e-3);
}, 600_000);
