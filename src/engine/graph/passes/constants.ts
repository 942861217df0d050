// Constant folding: nodes that read only constants are evaluated once, on the plain JavaScript backend.
import { type Tensor, tf } from '../../../tensor/tf.js';
import { elements } from '../../program.js';
import { type Graph, type Node, newValue, substitute, type Value } from '../ir.js';
import { kernelOf } from '../kernels.js';

const LARGEST = 1 << 20;

export function foldConstants(graph: Graph): Graph {
  const replaced = new Map<Value, Value>();
  const nodes: Node[] = [];
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((v) => replaced.get(v) ?? v);
    const out = node.outputs[0]!;
    const fold =
      node.outputs.length === 1 &&
      elements(out.shape) <= LARGEST &&
      inputs.every((v) => v.data !== undefined);
    if (fold && node.kernel === 'Fill' && elements(out.shape) === 1) {
      replaced.set(out, newValue(graph, out.shape, out.dtype, [node.attrs.value as number]));
    } else if (fold && inputs.length > 0 && kernelOf(node.kernel)?.foldable) {
      replaced.set(out, newValue(graph, out.shape, out.dtype, evaluate(node, inputs)));
    } else {
      nodes.push(node);
    }
  }
  return substitute(graph, nodes, replaced);
}

function evaluate(node: Node, inputs: Value[]): ArrayLike<number> {
  const before = tf.getBackend();
  tf.setBackend('cpu');
  try {
    const folded = tf.tidy(() => {
      const tensors = inputs.map((v) => tf.tensor(Array.from(v.data!), v.shape, v.dtype as 'float32'));
      const names = kernelOf(node.kernel)!.inputs;
      const record = names ? Object.fromEntries(tensors.map((t, i) => [names[i]!, t])) : tensors;
      return tf.engine().runKernel(node.kernel, record as never, node.attrs as never) as Tensor;
    });
    const values = folded.dataSync().slice();
    folded.dispose();
    return values;
  } finally {
    if (before) tf.setBackend(before);
  }
}
