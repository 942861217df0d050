// What a graph holds at once: bytes of the values that are computed and still to be read, node after node.
import { bytesOf, type Graph, type Value } from './ir.js';

/** Kernels whose output is their input under another shape. */
const VIEWS = new Set(['Reshape', 'Identity']);
/** Kernels that write over an operand of the same size which nobody reads after them. */
const IN_PLACE = new Set(
  'Add Sub Multiply RealDiv Exp Log Sqrt Neg Erf Sin Cos Tanh Reciprocal Abs Softmax LogSoftmax'.split(' '),
);

/**
 * Values that nobody needs after node i, in the order of the nodes: last read there, or never. Inputs, constants and outputs of the
 * graph are not among them. A view counts as its own value, and reads what it shows.
 */
export function endedAfter(graph: Graph): Value[][] {
  const outside = new Set([...graph.inputs, ...graph.outputs].map(({ value }) => value));
  const last = new Map<Value, number>();
  graph.nodes.forEach((n, i) => {
    for (const v of [...n.outputs, ...n.inputs]) if (!v.data && !outside.has(v)) last.set(v, i);
  });
  const ended: Value[][] = graph.nodes.map(() => []);
  for (const [v, i] of last) ended[i]!.push(v);
  return ended;
}

/**
 * The most bytes that a run holds at once between inputs and outputs, taking the nodes in their order and letting go of each value
 * after its last reader. State, inputs and outputs have places of their own and do not count. What a kernel needs while it runs is not known here.
 */
export function activationBytes(graph: Graph): number {
  const shown = new Map<Value, Value>();
  const whole = (v: Value): Value => shown.get(v) ?? v;
  const readers = new Map<Value, number>();
  for (const n of graph.nodes) {
    if (VIEWS.has(n.kernel)) shown.set(n.outputs[0]!, whole(n.inputs[0]!));
    else for (const v of new Set(n.inputs.map(whole))) readers.set(v, (readers.get(v) ?? 0) + 1);
  }
  const outside = new Set([...graph.inputs, ...graph.outputs].map(({ value }) => whole(value)));
  let [held, most] = [0, 0];
  for (const n of graph.nodes) {
    if (VIEWS.has(n.kernel)) continue;
    const ended = new Set<Value>();
    for (const v of new Set(n.inputs.map(whole))) {
      readers.set(v, readers.get(v)! - 1);
      if (readers.get(v) === 0 && !v.data && !outside.has(v)) ended.add(v);
    }
    const made = n.outputs.filter((v) => !outside.has(v));
    const over = IN_PLACE.has(n.kernel) && [...ended].find((v) => made[0] && bytesOf(v) === bytesOf(made[0]));
    if (over) {
      held -= bytesOf(over);
      ended.delete(over);
    }
    for (const v of made) held += bytesOf(v);
    most = Math.max(most, held);
    for (const v of [...ended, ...made.filter((v) => !readers.has(v))]) held -= bytesOf(v);
  }
  return most;
}
