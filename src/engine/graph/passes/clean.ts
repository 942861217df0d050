// Dead-node removal and common-subexpression elimination.
import { type Graph, type Node, substitute, type Value, withNodes } from '../ir.js';

/** Drops nodes of which no output is read. */
export function removeDeadNodes(graph: Graph): Graph {
  const needed = new Set<Value>(graph.outputs.map((o) => o.value));
  const kept: Node[] = [];
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const n = graph.nodes[i]!;
    if (!n.outputs.some((o) => needed.has(o))) continue;
    kept.push(n);
    for (const v of n.inputs) needed.add(v);
  }
  return withNodes(graph, kept.reverse());
}

/** Attributes as text; JSON alone writes both infinities as null. */
const attrsText = (node: Node): string =>
  JSON.stringify(node.attrs, (_key, v) => (typeof v === 'number' && !Number.isFinite(v) ? String(v) : v));

/** Nodes with equal kernel, attributes and inputs are computed once; small equal constants count as one input. */
export function shareEqualNodes(graph: Graph): Graph {
  const seen = new Map<string, Node>();
  const replaced = new Map<Value, Value>();
  const keyOf = (v: Value): string => {
    const r = replaced.get(v) ?? v;
    if (r.data && r.data.length <= 64) return `c${r.dtype}[${r.shape}]${Array.from(r.data).join()}`;
    return `v${r.id}`;
  };
  const nodes: Node[] = [];
  for (const node of graph.nodes) {
    const key = `${node.kernel}(${node.inputs.map(keyOf).join(';')})${attrsText(node)}:${node.outputs.map((o) => `${o.dtype}[${o.shape}]`)}`;
    const known = seen.get(key);
    if (known) {
      node.outputs.forEach((o, i) => void replaced.set(o, known.outputs[i]!));
    } else {
      seen.set(key, node);
      nodes.push(node);
    }
  }
  return substitute(graph, nodes, replaced);
}
