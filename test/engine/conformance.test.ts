// Every kernel that the product uses gives, on every engine, what float64 arithmetic gives: forward and backward.

import { describe, expect, it } from 'vitest';
import { optimise } from '../../src/engine/onnx/passes/index.js';
import { knownKernels } from '../../src/engine/onnx/rules.js';
import { trace } from '../../src/engine/onnx/trace.js';
import { onEveryEngine } from '../support/engines.js';
import { productPrograms } from './configs.js';
import { kernelOf, kernelRows } from './kernel_rows.js';
import { checkRow, rowProgram } from './rows.js';

const tested = new Set(kernelRows.map(kernelOf));

describe('the table of kernels', () => {
  it('has a row for every kernel of every program of the product', () => {
    const used = new Set<string>();
    for (const program of productPrograms()) {
      const graph = trace(program);
      for (const node of [...graph.nodes, ...optimise(graph).nodes]) used.add(node.kernel);
    }
    expect([...used].filter((kernel) => !tested.has(kernel))).toEqual([]);
    expect(used.size).toBeGreaterThan(30); // the programs were really traced
  });

  it('has a row for every lowering rule, and no row without', () => {
    expect([...tested].sort()).toEqual(knownKernels());
  });

  it('names no row twice', () => {
    expect(new Set(kernelRows.map((row) => row.name)).size).toBe(kernelRows.length);
  });

  it.each(kernelRows)('$name reaches its kernel', (row) => {
    expect(trace(rowProgram(row)).nodes.map((node) => node.kernel)).toContain(kernelOf(row));
  });
});

onEveryEngine('kernels', (engine) => {
  it.each(kernelRows)('$name', async (row) => {
    await checkRow(row, await engine.open());
  });
});
