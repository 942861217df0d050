// Keeps onnxruntime to the order of our nodes, in which a micro-batch ends before the next one begins.

/** A result that is read within so many nodes needs no help: it is computed on the way to its reader. */
const SOON = 8;

/**
 * Nodes to append to `nodes`, so that onnxruntime computes results about when we do. It takes a graph depth first, from the nodes that
 * nobody reads, the last of the list first; so a weight's gradient waits for its optimiser, and with it wait the activations of every
 * micro-batch that it is a sum over. Each appended node asks for one such result and gives nothing: the number of its elements.
 */
export function orderNodes(nodes: readonly { inputs: string[]; outputs: string[] }[]) {
  const [first, last] = [new Map<string, number>(), new Map<string, number>()];
  nodes.forEach((n, i) => {
    for (const x of n.inputs) {
      if (!first.has(x)) first.set(x, i);
      last.set(x, i);
    }
  });
  const made = new Set(nodes.flatMap((n) => n.outputs));
  const late = nodes.filter((n, i) => {
    const frees = n.inputs.some((x) => made.has(x) && last.get(x) === i);
    const read = Math.min(...n.outputs.map((o) => first.get(o) ?? nodes.length));
    return frees && read < nodes.length && read - i > SOON;
  });
  const asking = { op: 'Size', domain: '', attrs: {} };
  return late.map((n, i) => ({ ...asking, inputs: [n.outputs[0]!], outputs: [`order${i}`] })).reverse();
}
