// The intermediate representation: a flat list of kernel calls in static single assignment form.
import { elements } from '../program.js';

export type DType = 'float32' | 'int32' | 'bool' | 'uint8';
export type Attrs = Record<string, unknown>;

/** One tensor of the graph. Identity is the object; `id` only prints. */
export interface Value {
  id: number;
  shape: number[];
  dtype: DType;
  /** Present on constants: the flat row-major values. */
  data?: ArrayLike<number>;
}

export interface Node {
  kernel: string;
  inputs: Value[];
  outputs: Value[];
  attrs: Attrs;
}

export interface Graph {
  name: string;
  inputs: { name: string; value: Value }[];
  nodes: Node[];
  outputs: { name: string; value: Value }[];
  nextId: number;
}

/** A copy that shares values and nodes but not the lists: passes return a new graph and never edit nodes in place. */
export function withNodes(graph: Graph, nodes: Node[], outputs = graph.outputs): Graph {
  return { ...graph, nodes, outputs };
}

/** Rewrites inputs and graph outputs by a substitution of values (followed to its end). */
export function substitute(graph: Graph, nodes: Node[], replaced: Map<Value, Value>): Graph {
  if (replaced.size === 0) return withNodes(graph, nodes);
  const resolve = (v: Value): Value => {
    let r = v;
    for (let next = replaced.get(r); next; next = replaced.get(r)) r = next;
    return r;
  };
  return withNodes(
    graph,
    nodes.map((n) => (n.inputs.some((v) => replaced.has(v)) ? { ...n, inputs: n.inputs.map(resolve) } : n)),
    graph.outputs.map((o) => ({ name: o.name, value: resolve(o.value) })),
  );
}

/** How often each value is read, graph outputs included. */
export function useCounts(graph: Graph): Map<Value, number> {
  const uses = new Map<Value, number>();
  const use = (v: Value): void => void uses.set(v, (uses.get(v) ?? 0) + 1);
  for (const n of graph.nodes) n.inputs.forEach(use);
  for (const o of graph.outputs) use(o.value);
  return uses;
}

export function newValue(graph: Graph, shape: number[], dtype: DType, data?: ArrayLike<number>): Value {
  return { id: graph.nextId++, shape, dtype, ...(data ? { data } : {}) };
}

export const bytesOf = (v: Value): number =>
  elements(v.shape) * (v.dtype === 'bool' || v.dtype === 'uint8' ? 1 : 4);

const short: Record<DType, string> = { float32: 'f32', int32: 'i32', bool: 'bool', uint8: 'u8' };
const typeText = (v: Value): string => `${short[v.dtype]}[${v.shape.join(',')}]`;

/** The graph as readable text: one line a node, names stable under insertion (numbered in order of appearance). */
export function printGraph(graph: Graph): string {
  const names = new Map<Value, string>();
  for (const i of graph.inputs) names.set(i.value, `%${i.name}`);
  let next = 0;
  const nameOf = (v: Value): string => {
    const known = names.get(v);
    if (known) return known;
    if (v.data) {
      const n = elements(v.shape);
      return n === 1 ? `${Number(v.data[0])}` : `const ${typeText(v)}`;
    }
    const name = `%${next++}`;
    names.set(v, name);
    return name;
  };
  const lines = [`program ${graph.name}`];
  for (const i of graph.inputs) lines.push(`  input %${i.name}: ${typeText(i.value)}`);
  for (const n of graph.nodes) {
    const args = n.inputs.map(nameOf).join(', ');
    const attrs = Object.entries(n.attrs)
      .filter(([, v]) => v !== undefined && v !== false && v !== null)
      .map(([k, v]) => `${k}=${JSON.stringify(v)}`)
      .join(' ');
    const outs = n.outputs.map((o) => `${nameOf(o)}: ${typeText(o)}`).join(', ');
    lines.push(`  ${outs} = ${n.kernel}(${args})${attrs ? ` {${attrs}}` : ''}`);
  }
  for (const o of graph.outputs) lines.push(`  output ${o.name} = ${nameOf(o.value)}`);
  return `${lines.join('\n')}\n`;
}
