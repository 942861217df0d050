// Every kernel that the product uses gives, on every engine, what float64 arithmetic gives: forward and backward.

import { afterAll, describe, expect, it } from 'vitest';
import { EagerEngine } from '../../src/engine/eager.js';
import { kernels } from '../../src/engine/graph/kernels.js';
import { optimise } from '../../src/engine/graph/passes/index.js';
import { trace } from '../../src/engine/graph/trace.js';
import { lowerings } from '../../src/engine/onnx/lowerings.js';
import { referenceEngine } from '../../src/engine/reference.js';
import { recorded } from '../../src/engine/replay.js';
import { onEveryDevice } from '../support/engines.js';
import { productCases } from './configs.js';
import { kernelOf, kernelRows } from './rows/index.js';
import { checkRow, drawInputs, rowProgram } from './rows/row.js';

const tested = new Set(kernelRows.map(kernelOf));

describe('the table of kernels', () => {
  it('has a row for every kernel of every program of the product', () => {
    const used = new Set<string>();
    for (const { program } of productCases()) {
      const graph = trace(program);
      for (const node of [...graph.nodes, ...optimise(graph).nodes]) used.add(node.kernel);
    }
    expect([...used].filter((kernel) => !tested.has(kernel))).toEqual([]);
    expect(used.size).toBeGreaterThan(30); // the programs were really traced
  });

  it('has a lowering and a conformance row for every kernel, and none beside them', () => {
    const known = Object.keys(kernels).sort();
    expect(Object.keys(lowerings).sort()).toEqual(known);
    expect([...tested].sort()).toEqual(known);
  });

  it('names no row twice', () => {
    expect(new Set(kernelRows.map((row) => row.name)).size).toBe(kernelRows.length);
  });

  it.each(kernelRows)('$name reaches its kernel', (row) => {
    const graph = trace(rowProgram(row));
    // A kernel that a pass makes is in the graph after it, one that a pass removes in the graph before.
    const reached = [...graph.nodes, ...optimise(graph).nodes].map((node) => node.kernel);
    expect(reached).toContain(kernelOf(row));
  });
});

describe('replay', () => {
  const replaying = new EagerEngine('reference', 'cpu', '', 'cpu', undefined, true);

  it.each(kernelRows)('$name, to the bits of the program as it is written', async (row) => {
    const program = rowProgram(row);
    expect(recorded(program, 'cpu')).toBeDefined();
    const outputs = [];
    for (const engine of [referenceEngine(), replaying]) {
      const executable = await engine.load(program);
      outputs.push(await executable.run(drawInputs(row)));
      await executable.dispose();
    }
    expect(outputs[1]).toEqual(outputs[0]);
  });
});

onEveryDevice('kernels', (engine) => {
  // The tolerances of the rows hold on WebGPU too: its lowerings avoid what WGSL may compute coarsely (engine/onnx/webgpu.ts).
  const worst = { forward: 0, backward: 0 };
  it.each(kernelRows)('$name', async (row) => {
    const { forward, backward } = await checkRow(row, await engine.open());
    worst.forward = Math.max(worst.forward, forward);
    worst.backward = Math.max(worst.backward, backward);
  });
  afterAll(() => console.log(`kernels on ${engine.name}, largest error`, JSON.stringify(worst)));
});
