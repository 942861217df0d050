// Turns an optimised graph into the bytes of an ONNX model.
import { EngineError } from '../../errors.js';
import type { Graph, Value } from '../graph/ir.js';
import type { ProgramDType } from '../program.js';
import { OnnxBuilder } from './builder.js';
import { type Lower, type Lowerings, lowerings } from './lowerings.js';

/** Graph outputs carry this prefix in the ONNX file, because a state tensor is both an input and an output. */
export const OUTPUT_PREFIX = 'out:';

/** An output of a graph: its name, and the tensor of the builder that holds it. */
export interface LoweredOutput {
  name: string;
  tensor: string;
  shape: number[];
  dtype: ProgramDType;
}

export interface LowerOptions {
  /** Holds onnxruntime to the order of the nodes (order.ts). */
  keepOrder?: boolean;
  /** Lowers some kernels in another way. */
  instead?: Lowerings;
}

/** The bytes of the model. @throws EngineError that names kernel and program where a kernel has no lowering. */
export function lower(graph: Graph, { keepOrder = false, instead = {} }: LowerOptions = {}): Uint8Array {
  const b = new OnnxBuilder();
  const outputs = lowerInto(b, graph, instead);
  return b.encode(
    graph.name,
    graph.inputs.map((i) => ({ name: i.name, shape: i.value.shape, dtype: i.value.dtype as ProgramDType })),
    outputs.map((o) => ({ ...o, name: OUTPUT_PREFIX + o.name })),
    { keepOrder },
  );
}

/** Emits the nodes of a graph; `instead` lowers some kernels in another way. @throws EngineError as `lower` */
export function lowerInto(b: OnnxBuilder, graph: Graph, instead: Lowerings = {}): LoweredOutput[] {
  const table: Record<string, Lower> = { ...lowerings, ...instead };
  const names = new Map<Value, string>();
  for (const i of graph.inputs) names.set(i.value, i.name);
  const nameOf = (v: Value): string => {
    let name = names.get(v);
    if (name === undefined && v.data) {
      name = b.constant(v.data, v.shape, v.dtype);
      names.set(v, name);
    }
    if (name === undefined) throw new Error(`value %${v.id} is read before it is computed in ${graph.name}`);
    return name;
  };
  for (const node of graph.nodes) {
    const { kernel } = node;
    const emit: Lower | undefined = table[kernel];
    if (!emit)
      throw new EngineError(`kernel ${kernel} of program ${graph.name} has no lowering on the onnx engine`, {
        kernel,
        program: graph.name,
      });
    const out = emit(b, node, node.inputs.map(nameOf));
    node.outputs.forEach((o, i) => void names.set(o, out[i]!));
  }
  return graph.outputs.map((o) => ({
    name: o.name,
    tensor: nameOf(o.value),
    shape: o.value.shape,
    dtype: o.value.dtype as ProgramDType,
  }));
}
