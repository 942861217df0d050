// The distinct matrix products of a graph with their counts: what a benchmark times one by one.

import { elements } from '../program.js';
import { PRODUCTS } from './cost.js';
import type { Graph } from './ir.js';
import { type ProductFlags, productFlags, summedChannels } from './kernels.js';

/** One product as the graph asks for it; operands as they are stored. */
export interface ProductShape extends ProductFlags {
  /** Rows, summed channels, columns, and products in a batch. */
  m: number;
  k: number;
  n: number;
  batch: number;
  a: number[];
  b: number[];
  /** How often the graph has it. */
  count: number;
}

export const productFlopOf = (p: ProductShape): number => 2 * p.m * p.k * p.n * p.batch;

/** Products of the graph, the ones with the most operations first; addends and scales are left out. */
export function productShapes(graph: Graph): ProductShape[] {
  const found = new Map<string, ProductShape>();
  for (const node of graph.nodes) {
    if (!PRODUCTS.has(node.kernel)) continue;
    const [a, b] = node.inputs.map((v) => v.shape) as [number[], number[]];
    const flags = productFlags(node.attrs);
    const key = JSON.stringify([a, b, flags]);
    const known = found.get(key);
    if (known) {
      known.count++;
      continue;
    }
    const out = node.outputs[0]!.shape;
    const [m, n] = out.slice(-2) as [number, number];
    const k = summedChannels(node);
    found.set(key, { m, k, n, batch: elements(out.slice(0, -2)), a, b, ...flags, count: 1 });
  }
  return [...found.values()].sort((x, y) => y.count * productFlopOf(y) - x.count * productFlopOf(x));
}
