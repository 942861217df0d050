// Runs a recorded program kernel by kernel on a TensorFlow.js backend, and lets go of each tensor after its last reader.
import { EngineError } from '../errors.js';
import { type NamedTensorMap, type Tensor, tf } from '../tensor/tf.js';
import type { Graph, Value } from './graph/ir.js';
import { kernelOf } from './graph/kernels.js';
import { activationBytes, endedAfter } from './graph/memory.js';
import { removeDeadNodes } from './graph/passes/clean.js';
import { trace } from './graph/trace.js';
import type { Program } from './program.js';

/** The program as plain kernels of `backend`, or undefined where one of them cannot be recorded: then it is run as it is written. */
export function recorded(program: Program, backend: string): Graph | undefined {
  try {
    const graph = removeDeadNodes(trace(program, { composites: false }));
    return graph.nodes.every(({ kernel }) => tf.getKernel(kernel, backend)) ? graph : undefined;
  } catch (error) {
    if (error instanceof EngineError) return undefined;
    throw error;
  }
}

/**
 * Gradients by TensorFlow.js keep every intermediate result until all are done: of a step at width 192 five times the memory
 * that its values need. A recorded program knows who reads what; it runs the same kernels in the same order, to the same bits.
 */
export class Replay {
  readonly activationBytes: number;
  private readonly constants = new Map<Value, Tensor>();
  private readonly ended: Value[][];

  constructor(private readonly graph: Graph) {
    this.activationBytes = activationBytes(graph);
    this.ended = endedAfter(graph);
    for (const v of [...graph.nodes.flatMap((n) => n.inputs), ...graph.outputs.map((o) => o.value)]) {
      if (v.data && !this.constants.has(v)) this.constants.set(v, tf.keep(constant(v)));
    }
  }

  /** Outputs of the program. Runs inside tf.tidy. */
  run(inputs: NamedTensorMap): NamedTensorMap {
    const held = new Map(this.constants);
    for (const { name, value } of this.graph.inputs) held.set(value, inputs[name]!);
    for (const [i, node] of this.graph.nodes.entries()) {
      const given = node.inputs.map((v) => held.get(v)!);
      const names = kernelOf(node.kernel)!.inputs;
      const named = names ? Object.fromEntries(given.map((t, j) => [names[j]!, t])) : given;
      const made = tf.engine().runKernel(node.kernel, named as NamedTensorMap, node.attrs as never) as
        | Tensor
        | Tensor[];
      for (const [j, v] of node.outputs.entries()) held.set(v, Array.isArray(made) ? made[j]! : made);
      for (const v of this.ended[i]!) {
        held.get(v)!.dispose();
        held.delete(v);
      }
    }
    const result = (v: Value): Tensor => (v.data ? tf.clone(held.get(v)!) : held.get(v)!); // constants stay
    return Object.fromEntries(this.graph.outputs.map(({ name, value }) => [name, result(value)]));
  }

  dispose(): void {
    for (const t of this.constants.values()) t.dispose();
    this.constants.clear();
  }
}

function constant({ data, shape, dtype }: Value): Tensor {
  const types = { float32: Float32Array, int32: Int32Array, bool: Uint8Array, uint8: Int32Array };
  return tf.tensor(types[dtype].from(data!) as Float32Array, shape, dtype === 'uint8' ? 'int32' : dtype);
}
