// Algebra that needs no numbers: neutral elements, uniform operands as scalars, reshapes and transposes that cancel.
import { type Graph, type Node, newValue, substitute, type Value } from '../ir.js';

const sameShape = (a: number[], b: number[]): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i]);

/** The one number that a value holds everywhere, if that is known. */
function uniform(v: Value, producer: Map<Value, Node>): number | undefined {
  if (v.data) {
    const first = Number(v.data[0]);
    for (let i = 1; i < v.data.length; i++) if (Number(v.data[i]) !== first) return undefined;
    return first;
  }
  const node = producer.get(v);
  if (!node) return undefined;
  if (node.kernel === 'Fill') return node.attrs.value as number;
  if (node.kernel === 'ZerosLike') return 0;
  if (node.kernel === 'OnesLike') return 1;
  if (node.kernel === 'Reshape' || node.kernel === 'Tile') return uniform(node.inputs[0]!, producer);
  return undefined;
}

const BINARY = new Set(['Add', 'Sub', 'Multiply', 'RealDiv', 'Maximum', 'Minimum']);

export function simplify(graph: Graph): Graph {
  const producer = new Map<Value, Node>();
  const replaced = new Map<Value, Value>();
  const nodes: Node[] = [];
  const resolve = (v: Value): Value => {
    let r = v;
    for (let n = replaced.get(r); n; n = replaced.get(r)) r = n;
    return r;
  };
  for (const original of graph.nodes) {
    let node: Node = { ...original, inputs: original.inputs.map(resolve) };
    const out = node.outputs[0]!;
    const same = forwarded(node, producer);
    if (same) {
      replaced.set(out, same);
      continue;
    }
    node = mergedMove(node, producer);
    if (BINARY.has(node.kernel)) node = scalarOperand(graph, node, producer);
    for (const o of node.outputs) producer.set(o, node);
    nodes.push(node);
  }
  return substitute(graph, nodes, replaced);
}

/** The input that a node merely passes on, if it does. */
function forwarded(node: Node, producer: Map<Value, Node>): Value | undefined {
  const [a, b] = node.inputs as [Value, Value | undefined];
  const out = node.outputs[0]!;
  const keeps = (v: Value): boolean => sameShape(v.shape, out.shape) && v.dtype === out.dtype;
  switch (node.kernel) {
    case 'Identity':
      return a;
    case 'Reshape':
    case 'Cast':
      return keeps(a) ? a : undefined;
    case 'Transpose':
      return (node.attrs.perm as number[]).every((p, i) => p === i) ? a : undefined;
    case 'Slice':
    case 'Tile':
      return keeps(a) ? a : undefined;
    case 'AddN':
    case 'Concat':
      return node.inputs.length === 1 ? a : undefined;
    case 'Multiply':
      if (keeps(a) && uniform(b!, producer) === 1) return a;
      if (keeps(b!) && uniform(a, producer) === 1) return b;
      return undefined;
    case 'RealDiv':
      return keeps(a) && uniform(b!, producer) === 1 ? a : undefined;
    case 'Add':
      if (keeps(a) && uniform(b!, producer) === 0) return a;
      if (keeps(b!) && uniform(a, producer) === 0) return b;
      return undefined;
    case 'Sub':
      return keeps(a) && uniform(b!, producer) === 0 ? a : undefined;
    default:
      return undefined;
  }
}

/** Reshape of a reshape and transpose of a transpose become one. */
function mergedMove(node: Node, producer: Map<Value, Node>): Node {
  const before = producer.get(node.inputs[0] as Value);
  if (!before || before.kernel !== node.kernel) return node;
  if (node.kernel === 'Reshape') {
    return { ...node, inputs: [before.inputs[0]!], attrs: { shape: node.outputs[0]!.shape } };
  }
  if (node.kernel === 'Transpose') {
    const first = before.attrs.perm as number[];
    return {
      ...node,
      inputs: [before.inputs[0]!],
      attrs: { perm: (node.attrs.perm as number[]).map((p) => first[p]!) },
    };
  }
  return node;
}

/** A uniform operand that broadcasting can supply is read as a scalar instead of a full tensor. */
function scalarOperand(graph: Graph, node: Node, producer: Map<Value, Node>): Node {
  const out = node.outputs[0]!;
  for (const i of [0, 1] as const) {
    const [v, other] = [node.inputs[i]!, node.inputs[1 - i]!];
    if (v.shape.length === 0 || !sameShape(other.shape, out.shape)) continue;
    const value = uniform(v, producer);
    if (value === undefined) continue;
    // One operand only: the other gives the result its shape.
    const scalar = newValue(graph, [], v.dtype, [value]);
    return { ...node, inputs: i === 0 ? [scalar, other] : [other, scalar] };
  }
  return node;
}
