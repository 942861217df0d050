// The passes in the order in which they run, to a fixed point where one opens work for another.
import { stillBusy } from '../../../stops.js';
import type { Graph } from '../ir.js';
import { removeDeadNodes, shareEqualNodes } from './clean.js';
import { foldConstants } from './constants.js';
import { fuseProducts } from './products.js';
import { simplify } from './simplify.js';

export type Pass = (graph: Graph) => Graph;

export const passes: Record<string, Pass> = {
  foldConstants,
  simplify,
  shareEqualNodes,
  fuseProducts,
  removeDeadNodes,
};

/** All passes, twice: folding uncovers scales that the product pass then takes in. */
export function optimise(graph: Graph): Graph {
  let g = removeDeadNodes(graph);
  for (let round = 0; round < 2; round++) {
    for (const pass of Object.values(passes)) {
      stillBusy();
      g = pass(g);
    }
  }
  return g;
}
