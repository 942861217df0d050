// Transposes, constant scales and addends around matrix products move into the product's own kernel.
import { elements } from '../../program.js';
import { type Graph, type Node, useCounts, type Value, withNodes } from '../ir.js';

const isMatmul = (n: Node): boolean => n.kernel === 'Product' || n.kernel === 'BatchMatMul';

/** A product in the composite form, so that both kinds carry the same flags. */
function asProduct(n: Node): Node {
  if (n.kernel === 'Product') return n;
  return {
    ...n,
    kernel: 'Product',
    attrs: { transA: Boolean(n.attrs.transposeA), transB: Boolean(n.attrs.transposeB), alpha: 1 },
  };
}

function scalarOf(v: Value): number | undefined {
  return v.data && elements(v.shape) === 1 ? Number(v.data[0]) : undefined;
}

export function fuseProducts(graph: Graph): Graph {
  const uses = useCounts(graph);
  const producer = new Map<Value, Node>();
  const nodes: Node[] = [];
  for (const original of graph.nodes) {
    let node = original;
    if (isMatmul(node)) {
      node = foldOperand(foldOperand(asProduct(node), 0, producer, uses), 1, producer, uses);
    } else if (node.kernel === 'Multiply') {
      node = foldScale(node, producer, uses);
    } else if (node.kernel === 'Add') {
      node = foldAddend(node, producer, uses);
    }
    for (const o of node.outputs) producer.set(o, node);
    nodes.push(node);
  }
  return withNodes(graph, nodes); // what became unread is removed as dead
}

/** Operand `i` read through a last-two transpose, a batch transpose or a scale that nobody else reads. */
function foldOperand(node: Node, i: 0 | 1, producer: Map<Value, Node>, uses: Map<Value, number>): Node {
  const from = producer.get(node.inputs[i]!);
  if (!from || uses.get(node.inputs[i]!) !== 1) return node;
  const trans = i === 0 ? 'transA' : 'transB';
  const batch = i === 0 ? 'batchA' : 'batchB';
  const withInput = (v: Value, attrs: Record<string, unknown>): Node => ({
    ...node,
    inputs: node.inputs.map((x, j) => (j === i ? v : x)),
    attrs: { ...node.attrs, ...attrs },
  });
  if (from.kernel === 'Transpose') {
    const perm = (from.attrs.perm as number[]).join();
    // A left operand keeps its 2-D transpose: onnxruntime's product of a transposed A is slower than transposing first.
    if ((perm === '1,0' && i === 1) || (perm === '0,2,1' && !node.attrs[batch])) {
      return withInput(from.inputs[0]!, { [trans]: !node.attrs[trans] });
    }
    if (perm === '1,0,2' && !node.attrs[batch]) return withInput(from.inputs[0]!, { [batch]: true });
  }
  if (from.kernel === 'Multiply') {
    for (const j of [0, 1] as const) {
      const scale = scalarOf(from.inputs[j]!);
      const other = from.inputs[1 - j]!;
      if (scale !== undefined && other.shape.join() === from.outputs[0]!.shape.join()) {
        return withInput(other, { alpha: ((node.attrs.alpha as number | undefined) ?? 1) * scale });
      }
    }
  }
  return node;
}

/** scale * product becomes the product with another alpha, if the product is read only here. */
function foldScale(node: Node, producer: Map<Value, Node>, uses: Map<Value, number>): Node {
  for (const j of [0, 1] as const) {
    const scale = scalarOf(node.inputs[j]!);
    const v = node.inputs[1 - j]!;
    const from = producer.get(v);
    if (scale === undefined || !from || !isMatmul(from) || uses.get(v) !== 1) continue;
    if (v.shape.join() !== node.outputs[0]!.shape.join()) continue;
    const p = asProduct(from);
    const alpha = ((p.attrs.alpha as number | undefined) ?? 1) * scale;
    return { ...p, outputs: node.outputs, attrs: { ...p.attrs, alpha } };
  }
  return node;
}

/** product + c becomes one kernel where the product is 2-D and read only here, and c is as large or one row. */
function foldAddend(node: Node, producer: Map<Value, Node>, uses: Map<Value, number>): Node {
  const out = node.outputs[0]!.shape;
  for (const j of [1, 0] as const) {
    const v = node.inputs[j]!;
    const c = node.inputs[1 - j]!;
    const from = producer.get(v);
    if (from?.kernel !== 'Product' || uses.get(v) !== 1) continue;
    if (out.length !== 2 || from.attrs.batchA || from.attrs.batchB) continue;
    if (v.shape.join() !== out.join() || (c.shape.join() !== out.join() && c.shape.join() !== `${out[1]}`))
      continue;
    const { transA, transB, alpha } = from.attrs;
    return {
      kernel: 'ProductAdd',
      inputs: [...from.inputs, c],
      outputs: node.outputs,
      attrs: { transA, transB, alpha },
    };
  }
  return node;
}
