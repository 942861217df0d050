// What a graph costs: nodes, floating-point operations and bytes moved, by kernel.

import { elements } from '../program.js';
import { bytesOf, type Graph } from './ir.js';
import { kernelOf } from './kernels.js';

export interface KernelCost {
  kernel: string;
  nodes: number;
  flop: number;
  /** Bytes read and written, each operand counted once a node. */
  bytes: number;
}

export interface GraphCost {
  kernels: KernelCost[];
  nodes: number;
  flop: number;
  bytes: number;
  /** FLOP in matrix products alone. */
  productFlop: number;
}

/** Kernels that multiply matrices. */
export const PRODUCTS = new Set(['Product', 'ProductAdd', 'BatchMatMul']);

export function graphCost(graph: Graph): GraphCost {
  const byKernel = new Map<string, KernelCost>();
  for (const node of graph.nodes) {
    const c = byKernel.get(node.kernel) ?? { kernel: node.kernel, nodes: 0, flop: 0, bytes: 0 };
    byKernel.set(node.kernel, c);
    c.nodes++;
    c.flop += kernelOf(node.kernel)?.flop?.(node) ?? elements(node.outputs[0]!.shape);
    if (node.kernel !== 'Reshape' && node.kernel !== 'Identity') {
      for (const v of [...node.inputs, ...node.outputs]) c.bytes += bytesOf(v);
    }
  }
  const kernels = [...byKernel.values()].sort((a, b) => b.flop - a.flop || b.bytes - a.bytes);
  const sum = (f: (c: KernelCost) => number): number => kernels.reduce((s, c) => s + f(c), 0);
  return {
    kernels,
    nodes: sum((c) => c.nodes),
    flop: sum((c) => c.flop),
    bytes: sum((c) => c.bytes),
    productFlop: sum((c) => (PRODUCTS.has(c.kernel) ? c.flop : 0)),
  };
}
